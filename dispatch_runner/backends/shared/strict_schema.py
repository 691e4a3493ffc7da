"""Which JSON Schemas a provider takes that holds its model to a schema: the strict subset of OpenAI."""

from typing import Any

_TAKEN = frozenset(
    {
        "$defs", "$ref", "additionalProperties", "anyOf", "const", "description", "enum", "items",
        "maxItems", "maximum", "minItems", "minimum", "pattern", "properties", "required", "title",
        "type",
    }
)  # fmt: skip


def is_strict(schema: Any) -> bool:
    """Whether a schema is taken: an object, in which every object lists all its properties as required
    and allows no others. A schema that only might be taken is not."""
    return isinstance(schema, dict) and schema.get("type") == "object" and _taken(schema)


def _taken(schema: Any) -> bool:
    if not isinstance(schema, dict) or not schema or schema.keys() - _TAKEN:
        return False
    properties = schema.get("properties", {})
    if schema.get("type") == "object" and not _closed(schema, properties):
        return False
    parts = [*properties.values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", [])]
    parts += [schema["items"]] if "items" in schema else []
    return all(_taken(part) for part in parts)


def _closed(schema: dict[str, Any], properties: dict[str, Any]) -> bool:
    closed = schema.get("additionalProperties") is False
    return closed and set(schema.get("required", ())) == set(properties)
