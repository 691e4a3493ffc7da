"""Bytes to one JSON object, strictly: what other parsers accept in silence is refused here."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dispatch_runner.models import JsonObject
from dispatch_runner.preflight.problems import Problems, collector_paused, describe, quote

MAX_BYTES = 256 << 20
MAX_DEPTH = 200
"""Objects and lists inside each other. Writing JSON again works up to 254, and a result nests further."""
MAX_VALUES = 5_000_000
"""A bound on memory: a value can cost a hundred times its bytes."""
MAX_INTEGER_DIGITS = 19

_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")

Location = tuple[Any, str | int] | None
"""A linked list, last key first: cheap to extend while walking."""


@dataclass(slots=True)
class Document:
    """A JSON object, and what is wrong with its text although it could be read.

    Where there was a problem the value is mended (the last of duplicate keys, 1 for a number that
    is none, U+FFFD for a lone surrogate), so that the request can be checked for more.
    """

    value: JsonObject
    problems: Problems


class _Duplicated(dict[str, Any]):
    """An object in which keys were written twice."""

    keys_again: list[str]


@dataclass(slots=True)
class _BadNumber:
    """A number that is no JSON number, or that cannot be kept exactly."""

    text: str


def parse(raw: bytes) -> Document:
    """The document, with the problems that leave it readable: duplicate keys, bad numbers.

    Raises:
        RequestRejected: there is no JSON object: not UTF-8, a syntax error, too large, too deep.
            Exactly one problem, with line, column and the place in the text.
    """
    problems = Problems()
    text = _text(raw, problems)
    with collector_paused():
        value, suspicious = _value(text, problems)
        if not isinstance(value, dict):
            _refuse_other(value, problems)
        _check_depth(value, text, problems)
        if suspicious:
            value = _mend(value, problems)
    return Document(value, problems)


def from_object(value: object) -> Document:
    """A caller's Python object, judged as the text that it would be; nothing of it is shared.

    Raises:
        RequestRejected: it is no JSON object.
    """
    import json

    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        problems = Problems()
        message = f"the request is not JSON: {error}"
        _refuse(problems, "not_json", message, "use dicts, lists, text, numbers, True, False, None")
        raise
    return parse(text.encode())


def _refuse(problems: Problems, code: str, message: str, hint: str | None) -> None:
    problems.add(code, (), message, hint)
    problems.raise_if_any()


def _text(raw: bytes, problems: Problems) -> str:
    if len(raw) > MAX_BYTES:
        message = f"the document has {len(raw)} bytes; at most {MAX_BYTES} are read"
        _refuse(problems, "document_too_large", message, "pass paths of files, not their content")
    values = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if values > MAX_VALUES:
        message = f"the document has {values} commas and opening brackets; limit {MAX_VALUES}"
        _refuse(problems, "document_too_large", message, "split it into several dispatches")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(problems, "not_utf8", *_encoding(raw, error))
        raise
    if not text or text.isspace():
        what = "empty" if not text else "only white space"
        hint = 'pipe a request in: {"tasks": [...]}; `dispatch-runner --help` shows how'
        _refuse(problems, "empty_document", f"the document is {what}", hint)
    return text


def _encoding(raw: bytes, error: UnicodeDecodeError) -> tuple[str, str]:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "the document is UTF-16, not UTF-8", "write it as UTF-8"
    offset = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
    message = f"the document is not UTF-8: byte 0x{raw[offset]:02x} at offset {offset}"
    return message, "write it as UTF-8"


def _value(text: str, problems: Problems) -> tuple[Any, bool]:
    """The parsed value, and whether it has something for `_mend`."""
    import json

    odd: list[object] = []
    decoder = json.JSONDecoder(
        object_pairs_hook=_object_hook(odd),
        parse_constant=_constant_hook(odd),
        parse_int=_integer_hook(odd),
        parse_float=_float_hook(odd),
    )
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        from dispatch_runner.preflight import syntax

        _refuse(problems, "invalid_json", *syntax.explain(text, error.pos, error.msg))
        raise
    except RecursionError:
        _refuse_depth(text, problems)
        raise
    # Lone surrogates can only have come in as escapes: the bytes were UTF-8.
    surrogates = "\\u" in text and _SURROGATE_ESCAPE.search(text) is not None
    return value, bool(odd) or surrogates


def _object_hook(odd: list[object]) -> Callable[[list[tuple[str, Any]]], JsonObject]:
    def build(pairs: list[tuple[str, Any]]) -> JsonObject:
        built = dict(pairs)
        if len(built) == len(pairs):
            return built
        seen: set[str] = set()
        twice = _Duplicated(built)
        twice.keys_again = list(
            dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        )
        odd.append(twice)
        return twice

    return build


def _constant_hook(odd: list[object]) -> Callable[[str], _BadNumber]:
    def build(text: str) -> _BadNumber:
        odd.append(text)
        return _BadNumber(text)

    return build


def _integer_hook(odd: list[object]) -> Callable[[str], int | _BadNumber]:
    def build(text: str) -> int | _BadNumber:
        if len(text) < MAX_INTEGER_DIGITS:
            return int(text)
        if len(text) <= MAX_INTEGER_DIGITS + 1 and -(1 << 63) <= int(text) < 1 << 64:
            return int(text)
        odd.append(text)
        return _BadNumber(text)

    return build


def _float_hook(odd: list[object]) -> Callable[[str], float | _BadNumber]:
    infinities = (float("inf"), float("-inf"))

    def build(text: str) -> float | _BadNumber:
        number = float(text)
        if number not in infinities:
            return number
        odd.append(text)
        return _BadNumber(text)

    return build


def _refuse_other(value: object, problems: Problems) -> None:
    if isinstance(value, list):
        message, hint = "the document is a list, not an object", None
        if value and isinstance(value[0], dict):
            hint = 'put the tasks into an object: {"tasks": [...]}'
    else:
        shown = "not a number" if isinstance(value, _BadNumber) else describe(value)
        message, hint = f"the document is {shown}, not an object", 'write {"tasks": [...]}'
        if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
            hint = "the JSON was encoded twice: pipe the text inside the string"
    _refuse(problems, "not_an_object", message, hint)


def _check_depth(value: JsonObject, text: str, problems: Problems) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    _refuse_depth(text, problems)


def _refuse_depth(text: str, problems: Problems) -> None:
    from dispatch_runner.preflight import syntax

    where = syntax.too_deep_at(text, MAX_DEPTH)
    line, column, shown = syntax.place(text, where)
    message = f"line {line}, column {column}: nested deeper than {MAX_DEPTH} levels\n{shown}"
    _refuse(problems, "nested_too_deeply", message, "flatten it, or pass it as a file")


def _mend(value: JsonObject, problems: Problems) -> JsonObject:
    """A copy without oddities; each becomes a problem with a pointer."""
    top: list[Any] = [value]
    stack: list[tuple[list[Any] | JsonObject, Location]] = [(top, None)]
    while stack:
        parent, place = stack.pop()
        found: list[tuple[list[Any] | JsonObject, Location]] = []
        for key, child in parent.items() if isinstance(parent, dict) else enumerate(parent):
            here: Location = (place, key) if parent is not top else None
            if isinstance(child, _BadNumber):
                _report_number(child, here, problems)
                parent[key] = 1  # type: ignore[index]
            elif isinstance(child, str):
                if not child.isascii() and _SURROGATE.search(child):
                    _report_surrogate(here, problems)
                    parent[key] = _SURROGATE.sub("\ufffd", child)  # type: ignore[index]
            elif isinstance(child, (dict, list)):
                copy = _mend_keys(child, here, problems) if isinstance(child, dict) else child
                parent[key] = copy  # type: ignore[index]
                found.append((copy, here))
        stack.extend(reversed(found))
    mended: JsonObject = top[0]
    return mended


def _mend_keys(child: JsonObject, place: Location, problems: Problems) -> JsonObject:
    if isinstance(child, _Duplicated):
        for key in child.keys_again:
            if not _SURROGATE.search(key):
                location = (*_unlinked(place), key)
                message = f"key {quote(key)} is written more than once in one object"
                problems.add("duplicate_key", location, message, "keep one of them")
    if not any(_SURROGATE.search(key) for key in child):
        return dict(child)
    _report_surrogate(place, problems)
    return {_SURROGATE.sub("\ufffd", key): item for key, item in child.items()}


def _report_number(number: _BadNumber, place: Location, problems: Problems) -> None:
    text = number.text
    shown = text if len(text) <= 24 else f"{text[:12]}... ({len(text)} characters)"
    if text.lstrip("-").isdigit():
        message, hint = f"integer {shown} does not fit in 64 bits", "write it as a string"
    elif text.lstrip("-").isalpha():
        message, hint = f"{shown} is not JSON", "write null, or leave the field out"
    else:
        message, hint = f"number {shown} is too large", "write it as a string"
    problems.add("invalid_number", _unlinked(place), message, hint)


def _report_surrogate(place: Location, problems: Problems) -> None:
    hint = "write the character itself, or both halves of the pair"
    problems.add("lone_surrogate", _unlinked(place), "half of a surrogate pair (\\uD8..)", hint)


def _unlinked(place: Location) -> list[str | int]:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    keys.reverse()
    return keys
