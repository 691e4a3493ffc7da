"""JSON Schemas (2020-12) of every document, generated from the models.

Descriptions are the docstrings of classes and attributes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from dispatch_runner.models import JsonObject, Rejection, Request, Result
from dispatch_runner.models.attribute_docs import attribute_docs, one_line
from dispatch_runner.models.constraints import adapter
from dispatch_runner.models.envelope import Envelope
from dispatch_runner.models.live import DispatchState, PartialResult, ResultSummary, Started
from dispatch_runner.models.trace import Index, Trace
from dispatch_runner.protocols import Agents

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_OURS: dict[str, tuple[str, Any, JsonSchemaMode]] = {
    "request": ("Request", Request, "validation"),
    "result": ("Result", Result | Rejection, "serialization"),
    "trace": ("Trace", Trace, "serialization"),
    "index": ("Index", Index, "serialization"),
    "summary": ("ResultSummary", ResultSummary, "serialization"),
    "started": ("Started", Started, "serialization"),
    "status": ("DispatchState", DispatchState, "serialization"),
    "partial-result": ("PartialResult", PartialResult, "serialization"),
    "envelope": ("Envelope", Envelope, "serialization"),
}


def schemas(agents: Agents, others: Mapping[str, object] | None = None) -> dict[str, JsonObject]:
    """Every schema by name; a schema's file is `<name>.schema.json`.

    Agents whose role has an `input_model` or `output_model` (a pydantic model or null) add
    `<agent>-input` and `<agent>-output`; so do other roles that have no agent of their own.
    """
    found = {name: _schema(*document) for name, document in _OURS.items()}
    made = {name: agent.role for name in agents.names() if (agent := agents.get(name))}
    for name, model, mode in _of_roles({**made, **(others or {})}):
        found[name] = _schema(name, model, mode)
    return found


def render(schema: JsonObject) -> bytes:
    """The bytes of a schema's file: the same for the same schema."""
    import orjson

    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _of_roles(roles: Mapping[str, object]) -> Iterator[tuple[str, Any, JsonSchemaMode]]:
    for name, role in roles.items():
        for attribute, suffix, mode in (
            ("input_model", "input", "validation"),
            ("output_model", "output", "serialization"),
        ):
            model = getattr(role, attribute, None)
            if model is not None:
                yield f"{name}-{suffix}", model, mode  # type: ignore[misc]


def _schema(title: str, kind: Any, mode: JsonSchemaMode) -> JsonObject:
    body = adapter(kind).json_schema(mode=mode, schema_generator=_Generator)
    if kind is Request:
        where = {"type": "string", "description": "Of this schema, so that editors can validate."}
        body["properties"] = {**body["properties"], "$schema": where}
    return {"$schema": DIALECT, "title": title, **{k: v for k, v in body.items() if k != "title"}}


class _Generator(GenerateJsonSchema):
    """Adds attribute docstrings; what we write always has all of its fields."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return _documented(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        body = _documented(super().dataclass_schema(schema), schema["cls"])
        for item in fields(schema["cls"]):
            if self.mode == "validation" and item.default_factory is not MISSING:
                body["properties"][item.name]["default"] = item.default_factory()
        return body

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Titles that only repeat the field's name are noise."""
        return False


def _documented(body: JsonSchemaValue, cls: type) -> JsonSchemaValue:
    if "description" in body:
        body["description"] = one_line(body["description"])
    for name, text in attribute_docs(cls).items():
        if name in body.get("properties", {}):
            body["properties"][name].setdefault("description", text)
    return body
