"""Ages and sizes as people write them."""

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def age(text: str) -> float:
    """Seconds in `30d`, `12h`, `45m`. Raises `ValueError`."""
    return _number(text, _SECONDS, "30d, 12h, 45m")


def size(text: str) -> int:
    """Bytes in `500M`, `2G`. Raises `ValueError`."""
    return int(_number(text, _BYTES, "500M, 2G"))


def _number(text: str, units: dict[str, int], examples: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]?)", text.strip())
    unit = match[2] if match else None
    if match is None or (unit not in units and match[2].upper() not in units):
        raise ValueError(f"'{text}' is not of the form {examples}")
    return float(match[1]) * units.get(match[2], units.get(match[2].upper(), 1))
