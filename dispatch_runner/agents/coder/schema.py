"""The fields of a contract, in any of the usual spellings: JSON Schema, name to type, lists of either.

What was loaded from YAML or JSON is walked with these readers, which take any value and never raise.
"""

import re
from dataclasses import replace

from dispatch_runner.agents.coder.fields import convert_default, parse_field
from dispatch_runner.agents.coder.spec import (
    BOOLEAN,
    INTEGER,
    JSON,
    NUMBER,
    OBJECT,
    TEXT,
    FieldSpec,
    FieldType,
    OpenPoint,
    Reading,
    list_of,
)
from dispatch_runner.agents.coder.types import type_of_name, type_of_phrase
from dispatch_runner.agents.coder.words import identifier, printable

MAX_ITEMS = 64
MODEL_NAME = re.compile(r"Model[A-Z][A-Za-z0-9]*")
JSON_TYPES = {
    "string": TEXT, "integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN, "object": OBJECT, "array": list_of(JSON),
}  # fmt: skip
FORMATS = {"uuid": FieldType("UUID"), "date-time": FieldType("datetime"), "date": FieldType("date")}
SCHEMA_BOUNDS = {
    "minimum": "ge", "ge": "ge", "min": "ge", "exclusiveMinimum": "gt", "gt": "gt", "maximum": "le", "le": "le",
    "max": "le", "exclusiveMaximum": "lt", "lt": "lt", "minLength": "min_length", "min_length": "min_length",
    "maxLength": "max_length", "max_length": "max_length", "minItems": "min_length", "maxItems": "max_length",
}  # fmt: skip
Mapping = dict[str, object]


def at(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def mappings(value: object) -> list[Mapping]:
    """The objects of a list, or of a mapping by name (`{start: {...}}` gets `name: start`)."""
    if isinstance(value, dict):
        value = [
            {"name": key, **(item if isinstance(item, dict) else {"description": item})}
            for key, item in value.items()
        ]
    return (
        [item for item in value[:MAX_ITEMS] if isinstance(item, dict)]
        if isinstance(value, list)
        else []
    )


def texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return (
        [item for item in value[:MAX_ITEMS] if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )


def first_text(value: Mapping, *keys: str) -> str:
    return next((text for key in keys if (text := text_of(value.get(key)).strip())), "")


def defined_fields(contract: Mapping, model: str, reading: Reading) -> list[FieldSpec]:
    """The fields of a model under `definitions`."""
    if not model:
        return []
    for path in (
        ("definitions", "models", model),
        ("definitions", "schemas", model),
        ("definitions", model),
    ):
        found = at(contract, *path)
        if isinstance(found, dict):
            return fields_of(found.get("fields") or found, reading)
    return []


def fields_of(value: object, reading: Reading) -> list[FieldSpec]:
    """Fields in any of the usual spellings: JSON Schema, name to type, lists of either."""
    if isinstance(value, dict):
        return _fields_of_mapping(value, reading)
    fields: list[FieldSpec] = []
    for item in value[:MAX_ITEMS] if isinstance(value, list) else []:
        if isinstance(item, str):
            parsed = parse_field(item)
            fields += [parsed] if parsed else []
        elif isinstance(item, dict):
            named = first_text(item, "name", "field", "field_name")
            pairs = [(named, item)] if named else list(item.items())[:MAX_ITEMS]
            fields += [field_of(str(key), entry, reading) for key, entry in pairs]
    return fields


def _fields_of_mapping(value: Mapping, reading: Reading) -> list[FieldSpec]:
    properties = value.get("properties")
    required = texts(value.get("required"))
    listed = [*required, *texts(value.get("optional"))]
    if isinstance(properties, dict):
        named = [
            field_of(str(key), entry, reading)
            for key, entry in list(properties.items())[:MAX_ITEMS]
        ]
        return [
            _optional(field)
            if required and (field.original or field.name) not in required
            else field
            for field in named
        ]
    if listed:
        named = [field_of(key, None, reading) for key in listed]
        return [
            _optional(field) if index >= len(required) else field
            for index, field in enumerate(named)
        ]
    if "fields" in value:
        return fields_of(value["fields"], reading)
    skipped = {"type", "object_type", "description", "module", "name"}
    return [
        field_of(str(key), entry, reading)
        for key, entry in list(value.items())[:MAX_ITEMS]
        if key not in skipped
    ]


def _optional(field: FieldSpec) -> FieldSpec:
    if field.has_default:
        return field
    return replace(field, type=replace(field.type, optional=True), default=None, has_default=True)


def field_of(key: str, entry: object, reading: Reading) -> FieldSpec:
    optional = key.endswith("?")
    name = identifier(key)
    if isinstance(entry, dict):
        field = _field_of_schema(name, entry, reading)
    else:
        spelled = text_of(entry)
        if MODEL_NAME.search(spelled):
            reading.open_points.append(
                OpenPoint(
                    name,
                    f"the type {printable(spelled, 80)} is defined elsewhere; the field takes any JSON object",
                )
            )
        parsed = parse_field(f"{key.rstrip('?')}: {spelled}") if spelled else None
        if MODEL_NAME.search(spelled):
            type_ = FieldType(
                "dict", JSON, optional="None" in spelled or spelled.startswith("Optional")
            )
            parsed = FieldSpec(name, type_, has_default=type_.optional)
        field = replace(parsed, name=name) if parsed else FieldSpec(name, type_of_name(name))
    field = replace(
        field, original=key if key != name and re.fullmatch(r"[A-Za-z_]\w*", key) else ""
    )
    return _optional(field) if optional else field


def _field_of_schema(name: str, entry: Mapping, reading: Reading) -> FieldSpec:
    type_ = _schema_type(name, entry)
    if (
        entry.get("required") is False
        or entry.get("optional") is True
        or entry.get("nullable") is True
    ):
        type_ = replace(type_, optional=True)
    default, has_default = None, False
    if "default" in entry:
        spelled = entry["default"]
        default, has_default = convert_default(
            "empty" if spelled in ([], {}) else str(spelled), type_
        )
    if entry.get("default_factory") in {"list", "dict"} and type_.base in {"list", "dict"}:
        default, has_default = (), True
    if type_.optional and not has_default:
        default, has_default = None, True
    described = printable(text_of(entry.get("description")), 200)
    return FieldSpec(name, type_, described, default, has_default, _schema_bounds(entry, type_))


def _schema_type(name: str, entry: Mapping) -> FieldType:
    values = entry.get("enum") or entry.get("values")
    if (
        isinstance(values, list)
        and len(values) > 1
        and all(isinstance(v, str) and v.isprintable() for v in values)
    ):
        return FieldType("enum", values=tuple(dict.fromkeys(v[:40] for v in values[:MAX_ITEMS])))
    spelled = entry.get("type")
    if isinstance(spelled, list):
        kinds = [kind for kind in texts(spelled) if kind != "null"]
        inner = _schema_type(name, {**entry, "type": kinds[0]}) if kinds else JSON
        return replace(inner, optional="null" in spelled)
    if entry.get("format") in FORMATS:
        return FORMATS[str(entry["format"])]
    held = entry.get("item_type")
    if spelled in {"array", "list"} and isinstance(held, str):
        return list_of(_schema_type("item", {"type": held}).plain())
    if spelled == "array" and isinstance(entry.get("items"), dict):
        items = entry["items"]
        return list_of(_schema_type("item", items).plain() if isinstance(items, dict) else JSON)
    kind = text_of(spelled)
    return JSON_TYPES.get(kind) or type_of_phrase(kind) or (JSON if kind else type_of_name(name))


def _schema_bounds(entry: Mapping, type_: FieldType) -> tuple[tuple[str, float], ...]:
    lengths = {"min_length", "max_length"}
    found = {
        keyword: float(number)
        for key, keyword in SCHEMA_BOUNDS.items()
        if isinstance(number := entry.get(key), int | float)
        and not isinstance(number, bool)
        and abs(number) < 1e15
    }
    sized = type_.base in {"str", "list"}
    kept = {
        k: int(v) if sized else v
        for k, v in found.items()
        if (k in lengths) == sized and (sized or type_.numeric)
    }
    low = max(kept.get("ge", -1e308), kept.get("gt", -1e308), kept.get("min_length", -1))
    high = min(kept.get("le", 1e308), kept.get("lt", 1e308), kept.get("max_length", 1e308))
    return tuple(kept.items()) if low < high or (sized and low <= high) else ()
