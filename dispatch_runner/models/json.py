"""The one alias for JSON payloads."""

from typing import Any

JsonObject = dict[str, Any]
"""An agent's input or output: any JSON object. The only `Any` on our interfaces."""
