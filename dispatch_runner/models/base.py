"""What every request model shares, and the one alias for JSON payloads."""

from typing import Any

from pydantic import BaseModel, ConfigDict

JsonObject = dict[str, Any]
"""An agent's input or output: any JSON object. The only `Any` on our interfaces."""


class Model(BaseModel):
    """Base of the request models: immutable, unknown fields refused, built when first used.

    Attribute docstrings are the fields' descriptions. They are read when the JSON Schemas are
    generated (`dispatch_runner.schemas`), not at start-up, where they would cost milliseconds.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
