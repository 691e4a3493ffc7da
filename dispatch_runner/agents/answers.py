"""The form of an answer as a JSON Schema that every provider's structured output takes."""

from functools import cache
from typing import Any

from dispatch_runner.models import JsonObject
from dispatch_runner.models.attribute_docs import attribute_docs, one_line
from dispatch_runner.models.base import Model

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
}
"""Keywords that some providers refuse: said in words instead, and held to by the role."""


@cache
def answer_schema(model: type[Model]) -> JsonObject:
    """The schema of a model without references, defaults and limits: every object lists all its fields
    as required and admits no others, as structured outputs demand.

    Made once, in tens of milliseconds, since descriptions are read from the source: not to be changed.
    """
    whole = model.model_json_schema()
    models = {model.__name__: model, **_held(model)}
    schema: JsonObject = _plain(whole, whole.get("$defs", {}), models)
    return schema


def _held(model: type[Model]) -> dict[str, type[Model]]:
    """The models that a model's fields hold, by name."""
    found: dict[str, type[Model]] = {}
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, Model) and kind.__name__ not in found:
            found[kind.__name__] = kind
            waiting += [field.annotation for field in kind.model_fields.values()]
        waiting += getattr(kind, "__args__", ())
    return found


def _plain(schema: JsonObject, defs: JsonObject, models: dict[str, type[Model]]) -> Any:
    if "$ref" in schema:
        body = _plain(defs[schema["$ref"].rpartition("/")[2]], defs, models)
        return {
            **body,
            **({"description": schema["description"]} if "description" in schema else {}),
        }
    kept: JsonObject = {key: schema[key] for key in ("type", "enum") if key in schema}
    if "const" in schema:
        kept = {"type": "string", "enum": [schema["const"]]}
    if "anyOf" in schema:
        kept["anyOf"] = [_plain(each, defs, models) for each in schema["anyOf"]]
    if "items" in schema:
        kept["items"] = _plain(schema["items"], defs, models)
    if "properties" in schema:
        kept |= _fields(schema, defs, models)
    limits = [words.format(schema[key]) for key, words in _LIMITS.items() if key in schema]
    told = one_line(schema.get("description", ""))
    if limits:
        told = f"{told} ({', '.join(limits)})".strip()
    return {**kept, "description": told} if told else kept


def _fields(schema: JsonObject, defs: JsonObject, models: dict[str, type[Model]]) -> JsonObject:
    docs = attribute_docs(models[schema["title"]])
    fields = {
        name: _plain({**body, "description": docs[name]} if name in docs else body, defs, models)
        for name, body in schema["properties"].items()
    }
    return {"properties": fields, "required": list(fields), "additionalProperties": False}
