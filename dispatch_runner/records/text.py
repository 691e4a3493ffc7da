"""Any value as JSON text, whatever an agent made of it, and bounded for a trace."""

import hashlib
import json
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

import orjson

LARGEST_VALUE = 256 * 1024
"""Bytes of JSON text above which a value in a trace is cut."""

HEAD_CHARACTERS = 4_000

DEEPEST = 300
"""Levels of nesting that are recorded; more would endanger our own stack."""

TOO_DEEP = {"truncated": True, "reason": "nested too deeply"}
"""Stands for what is nested deeper, and for what cannot be searched for secrets therefore."""


def encode(value: Any) -> bytes:
    """JSON text of a value. Never raises for what the value holds.

    What the fast encoder refuses (integers beyond 64 bits, lone surrogates, deep nesting) goes
    through the slow one; what is no JSON at all is written as its `str`.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    return json.dumps(_plain(value, DEEPEST), separators=(",", ":")).encode()


def _plain(value: Any, levels: int) -> Any:
    """The same value in what the slow encoder knows. Numbers that JSON has not become null."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if levels == 0:
        return TOO_DEEP
    if isinstance(value, dict):
        return {str(key): _plain(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, levels - 1) for item in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), levels - 1) for f in fields(value)}
    return str(value)


def bounded(value: Any, text: bytes) -> tuple[bytes, bool]:
    """JSON text of a value with everything over 256 KiB in it cut, and whether anything was.

    Args:
        value: the value.
        text: its whole JSON text.
    """
    if len(text) <= LARGEST_VALUE:
        return text, False
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        parts = [encode(str(k)) + b":" + bounded(v, encode(v))[0] for k, v in value.items()]
        smaller = b"{%s}" % b",".join(parts)
    elif isinstance(value, list | tuple):
        smaller = b"[%s]" % b",".join(bounded(item, encode(item))[0] for item in value)
    else:
        smaller = text
    return (smaller if len(smaller) <= LARGEST_VALUE else _mark(value, text)), True


def _mark(value: Any, text: bytes) -> bytes:
    """What stands for a value that was cut. A string counts as its UTF-8, the rest as JSON text."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else text
    head = raw[: HEAD_CHARACTERS * 4].decode("utf-8", "replace")[:HEAD_CHARACTERS]
    return orjson.dumps(
        {
            "truncated": True,
            "length": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "head": head,
        }
    )
