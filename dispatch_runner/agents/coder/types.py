"""Which type a phrase or a name means."""

import re

from dispatch_runner.agents.coder.spec import (
    BOOLEAN,
    INTEGER,
    JSON,
    NUMBER,
    OBJECT,
    TEXT,
    FieldType,
    list_of,
)
from dispatch_runner.agents.coder.words import is_plural, singular

NAMED: dict[str, FieldType] = {
    **dict.fromkeys(("str", "string", "text", "char", "url", "uri", "path", "email"), TEXT),
    **dict.fromkeys(("int", "integer", "whole number", "long"), INTEGER),
    **dict.fromkeys(("float", "number", "double", "decimal", "numeric", "real"), NUMBER),
    **dict.fromkeys(("bool", "boolean", "flag", "true/false"), BOOLEAN),
    **dict.fromkeys(("bytes", "binary", "blob"), FieldType("bytes")),
    **dict.fromkeys(("datetime", "timestamp", "date-time", "instant"), FieldType("datetime")),
    "date": FieldType("date"),
    **dict.fromkeys(("uuid", "guid"), FieldType("UUID")),
    **dict.fromkeys(("any", "json", "jsonvalue", "value"), JSON),
    **dict.fromkeys(("object", "dict", "map", "mapping", "dictionary", "record", "row"), OBJECT),
    **dict.fromkeys(("list", "array", "sequence", "set", "tuple"), list_of(JSON)),
}
"""Spelled types, of Python, of JSON Schema and of English."""

COLLECTION = re.compile(
    r"^(?:list|array|sequence|set|tuple|batch|collection|iterable)s?(?: of |\[)"
)
MAPPING = re.compile(
    r"^(?:dict|dictionary|map|mapping)(?:\[\s*\w+\s*,| of [\w ]+? to | from [\w ]+? to )"
)
ENUM = re.compile(r"^(?:one of|either|enum(?:eration)?(?: of)?|literal)\s*[:\[(]?\s*(.+?)[\])]?$")

BY_NAME: tuple[tuple[str, FieldType], ...] = (
    (r"(?:added|removed|changed|unchanged|modified)(?:_(?:keys|fields|paths))?", list_of(TEXT)),
    (r"(?:is|are|has|should|can|was|include|use|allow|enable|needs)_\w+|\w*_?(?:enabled|flag|only)", BOOLEAN),
    ((r"success|succeeded|valid|found|passed|ok|enabled|dry_run|overwrite|strict|verbose|equal|"
     r"healthy|active|completed|changed|inserted|created|deleted|case_sensitive|lowercase|uppercase|"
     r"delivered|acknowledged|approved|matches|exists"), BOOLEAN),
    (r"(?:average|mean|median|avg|stdev|variance)_\w+|\w+_(?:average|mean|median|avg)", NUMBER),
    (r"(?:\w+_)?headers|labels|environment|env", FieldType("dict", TEXT)),
    (r"(?:counts?|totals?)_(?:by|per)_\w+", FieldType("dict", INTEGER)),
    ((r"(?:calls|requests|events|sessions|errors|failures|successes|hits|visits|runs|messages|orders|items)_(?:by|per)_"
      r"\w+"), FieldType("dict", INTEGER)),
    (r"\w+_by_\w+", FieldType("dict", JSON)),
    (r"embeddings|vectors", list_of(list_of(NUMBER))),
    (r"(?:\w+_)?(?:embedding|vector)", list_of(NUMBER)),
    ((r"numbers|values|scores|weights|samples|measurements|amounts|prices|durations|latencies|\w+_scores|"
     r"readings"), list_of(NUMBER)),
    ((r"items|rows|records|results|documents|points|entries|events|messages_list|users|orders|matches_list|"
     r"chunks|hits|findings|violations"), list_of(OBJECT)),
    ((r"(?:\w+_)?(?:payload|metadata|settings|config|configuration|options|object|filters?|attributes|"
     r"properties|context|details|parameters|params|data|document|record|row|profile|schema|before|after|"
     r"extra|state|differences|diff)"), OBJECT),
    (r"json|result|response|parsed", JSON),
    ((r"(?:\w+_)?(?:count|limit|offset|page|page_size|size|length|port|attempts?|retries|index|rank|priority|"
     r"epoch|year|quantity|dimensions?|age|level|k|affected|seq|sequence|depth|bytes|ms|milliseconds|"
     r"line|column|width|height|days|hours|minutes)"), INTEGER),
    (r"status_code|exit_code|bytes_\w+|(?:rows|items|records)_\w+ed|(?:num|n|max|number_of|total)_\w+(?:s|count)|\w+_number|\w+_affected", INTEGER),
    ((r"(?:\w+_)?(?:seconds|timeout|score|ratio|rate|mean|average|avg|median|variance|stdev|deviation|percent|"
     r"percentage|threshold|price|amount|cost|total|sum|minimum|maximum|min|max|weight|temperature|"
     r"confidence|probability|latency|duration|similarity|distance|balance|number|latitude|longitude|"
     r"celsius|fahrenheit|kelvin|product|quotient|difference|sub_?total|discount|tax|fee|revenue|profit|interest|factor|speed|utilisation|utilization)"), NUMBER),
    (r"(?:average|mean|median|minimum|maximum|min|max|total|sum|highest|lowest|best|worst)_\w+", NUMBER),
    (r"(?:\w+_)?(?:at|timestamp|datetime|time)", FieldType("datetime")),
    (r"(?:\w+_)?(?:date|day)", FieldType("date")),
    (r"(?:\w+_)?(?:uuid)|correlation_id|lease_id", FieldType("UUID")),
)  # fmt: skip
"""Types by a field's name, first match wins; what is in no line is text."""

_PATTERNS: tuple[tuple[re.Pattern[str], FieldType], ...] = tuple(
    (re.compile(f"(?:{pattern})_?"), type_) for pattern, type_ in BY_NAME
)


def type_of_name(name: str) -> FieldType:
    """The type that a field of this name usually has; text when nothing says otherwise."""
    for pattern, type_ in _PATTERNS:
        if pattern.fullmatch(name):
            return type_
    head, _, last = name.rpartition("_")
    if is_plural(last):
        one = f"{head}_{singular(last)}" if head else singular(last)
        return list_of(type_of_name(one).plain()) if len(one) > 1 else TEXT
    return TEXT


def type_of_phrase(phrase: str) -> FieldType | None:
    """The type that a phrase spells, in Python's, JSON Schema's or plain words; null: none.

    `list[str]`, `dict[str, int]`, `UUID | None`, `list of integers`, `optional string`,
    `one of low, medium, high`.
    """
    text = phrase.strip().strip("`'\"").strip()
    lower = text.lower()
    for prefix in ("an ", "a ", "the "):
        if lower.startswith(prefix):
            return type_of_phrase(text[len(prefix) :])
    optional = _optional(text, lower)
    if optional is not None:
        inner = type_of_phrase(optional)
        return None if inner is None else FieldType(inner.base, inner.item, inner.values, True)
    return _enum(text, lower) or _collection(text, lower) or _named(lower)


def _optional(text: str, lower: str) -> str | None:
    """What an optional type is about, or null when it is not optional."""
    for prefix in ("optional ", "nullable ", "optional["):
        if lower.startswith(prefix):
            return text[len(prefix) :].removesuffix("]" if prefix.endswith("[") else "")
    for suffix in ("| none", "|none", " or none", " or null", "| null"):
        if lower.endswith(suffix):
            return text[: -len(suffix)]
    return text[:-1] if lower.endswith("?") and len(lower) > 1 else None


def _enum(text: str, lower: str) -> FieldType | None:
    found = ENUM.match(lower)
    if not found:
        return None
    values = enum_values(text[found.start(1) : found.end(1)])
    return FieldType("enum", values=values) if len(values) > 1 else None


def enum_values(text: str) -> tuple[str, ...]:
    """The alternatives in `a, b or c`, `a | b`, `'a', 'b'`; each at most once."""
    parts = re.split(r"\s*(?:,|\||/|\bor\b|\band\b)\s*", text)
    cleaned = (part.strip().strip("`'\"").strip() for part in parts)
    kept = [part for part in cleaned if re.fullmatch(r"[\w][\w .:+-]{0,39}", part, re.ASCII)]
    return tuple(dict.fromkeys(kept))[:64]


def _collection(text: str, lower: str) -> FieldType | None:
    found = COLLECTION.match(lower)
    if found:
        inside = text[found.end() :].removesuffix("]").split(",")[0]
        return list_of((type_of_phrase(inside) or _plural_noun(inside)).plain())
    found = MAPPING.match(lower)
    if found:
        return FieldType(
            "dict", (type_of_phrase(text[found.end() :].removesuffix("]")) or JSON).plain()
        )
    return None


def _named(lower: str) -> FieldType | None:
    """A type that is one word or two, also in the plural."""
    bare = lower.split("(")[0].strip()
    if bare in NAMED:
        return NAMED[bare]
    if re.match(r"(?:dict|map)\b", bare):
        return OBJECT
    last = bare.split()[-1] if bare else ""
    return NAMED.get(singular(bare)) or (NAMED.get(last) if len(bare.split()) == 2 else None)


def _plural_noun(words: str) -> FieldType:
    """What `list of quality scores` holds, by the noun's usual type."""
    listed = type_of_name("_".join(words.lower().split()[-2:]))
    return listed.item if listed.base == "list" and listed.item is not None else TEXT
