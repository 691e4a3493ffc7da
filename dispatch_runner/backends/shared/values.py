"""Values in the JSON of others, which may be of any type or not there."""

from typing import Any

from dispatch_runner.models import JsonObject


def object_in(value: Any, *keys: str) -> JsonObject:
    """The value, or what lies below those keys in it; an empty object where that is no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def objects_in(values: Any) -> list[JsonObject]:
    """The objects in a list, or none where it is no list."""
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def number_in(value: Any) -> float | None:
    """A finite number that is not negative, or null."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < float("inf") else None
