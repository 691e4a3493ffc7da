"""The base of pydantic models: agents' inputs and outputs, and the settings file."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Immutable, strict, unknown fields refused, built when first used.

    Attribute docstrings are the fields' descriptions. They are read when the JSON Schemas are
    generated, not at start-up, where they would cost milliseconds.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
