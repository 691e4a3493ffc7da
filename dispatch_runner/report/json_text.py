"""JSON text of whatever a report holds: lone surrogates and huge numbers included."""

import json

import orjson

from dispatch_runner.models import JsonObject


def json_line(value: object) -> str:
    """On one line, also for those who take U+0085 or U+2028 for a line end; safe on a terminal."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # rare, and slower; a lone surrogate stays an escape
        return json.dumps(value, default=_fields)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def json_document(value: JsonObject) -> str:
    """Indented by two."""
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:
        return json.dumps(value, indent=2, default=_fields)


def _fields(value: object) -> object:
    """Of a dataclass of the models."""
    return {name: getattr(value, name) for name in type(value).__slots__}  # type: ignore[attr-defined]
