"""From what was read and asked to what is written: names settled, fields complete."""

import builtins
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from dispatch_runner.agents.coder.naming import name_of_fields, snake, strip_name
from dispatch_runner.agents.coder.profiles import Profile
from dispatch_runner.agents.coder.spec import (
    OBJECT,
    FieldSpec,
    NodeType,
    OpenPoint,
    Operation,
    Reading,
)
from dispatch_runner.agents.coder.types import type_of_name
from dispatch_runner.agents.coder.words import words_of

FILE_NAME = re.compile(r"node_\w+|\w+_(?:effect|compute|reducer|orchestrator)")
"""Stems of file names that say what the node is called."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the writers need."""

    reading: Reading
    node_type: NodeType
    profile: Profile
    name: str
    class_name: str
    input_model: str
    output_model: str
    inputs: tuple[FieldSpec, ...]
    outputs: tuple[FieldSpec, ...]
    operations: tuple[Operation, ...]

    @property
    def error(self) -> str:
        """The node's error class: not the name of one that is there already."""
        named = f"{self.name}Error"
        taken = named == "ValidationError" or hasattr(builtins, named)
        return f"{self.name}{self.node_type}Error" if taken else named

    @property
    def codes(self) -> str:
        return f"Enum{self.name}ErrorCode"

    @property
    def method(self) -> str:
        return self.profile.methods[self.node_type]


def make_plan(
    reading: Reading, node_type: NodeType, output_path: str, node_name: str | None, profile: Profile
) -> Plan:
    """Settles the names and completes the fields; adds to the reading's warnings and open points."""
    if reading.node_type not in {None, node_type}:
        reading.warnings.append(
            f"the contract says {reading.node_type}, the task asks for {node_type}: {node_type} was made"
        )
    name, class_name = _name(reading, node_type, output_path, node_name)
    if len(words_of(reading.description)) < 2:
        reading.description = reading.summary = f"The {node_type.lower()} node {name}"
    operations = reading.operations if node_type == "Effect" else []
    inputs, outputs = _fields(reading, operations, node_type)
    input_model, output_model = _models(reading, name)
    _check_file_name(reading, name, node_type, output_path)
    _say_renamed([*inputs, *outputs], reading)
    return Plan(
        reading,
        node_type,
        profile,
        name,
        class_name,
        input_model,
        output_model,
        inputs,
        outputs,
        tuple(operations),
    )


def _name(
    reading: Reading, node_type: NodeType, output_path: str, node_name: str | None
) -> tuple[str, str]:
    """The text's own name, else the one asked for, else the file's, else one from what it does."""
    stem = PurePosixPath(output_path).stem
    of_file = strip_name(stem) if FILE_NAME.fullmatch(stem) else ""
    spelled = bool(reading.named)
    chosen = (
        (reading.name if spelled else "") or strip_name(node_name or "") or of_file or reading.name
    )
    if len(chosen) < 2:
        told = reading.output_fields or reading.state_fields or reading.input_fields
        of_stem = strip_name(stem) if stem != "node" else ""
        chosen = name_of_fields([field.name for field in told]) or of_stem or "Unnamed"
        chosen = chosen if len(chosen) > 1 else f"Unnamed{chosen}"
        reading.warnings.append(f"the description names no node: it is called {chosen!r}")
    if reading.class_name.endswith(node_type) and spelled:
        return reading.class_name.removeprefix("Node").removesuffix(node_type), reading.class_name
    return chosen, f"Node{chosen}{node_type}"


def _models(reading: Reading, name: str) -> tuple[str, str]:
    """The contract's names for input and output, where they are free."""
    taken = {
        f"Model{name}{part}"
        for part in ("State", "Event", "Intent", "Lease", "Action", "StepResult")
    }
    taken.add("ModelRetryPolicy")
    given = reading.input_model if reading.input_model not in taken else ""
    made = reading.output_model if reading.output_model not in {*taken, given} else ""
    return given or f"Model{name}Input", made or f"Model{name}Output"


def _fields(
    reading: Reading, operations: list[Operation], node_type: NodeType
) -> tuple[tuple[FieldSpec, ...], tuple[FieldSpec, ...]]:
    inputs, outputs = list(reading.input_fields), list(reading.output_fields)
    # A node that is no effect has one work method, so its operations only name fields.
    listed = operations or reading.operations
    if operations or not inputs:
        inputs += _merged([op.input_fields for op in listed], inputs)
    if (operations or not outputs) and node_type != "Reducer":
        outputs += _merged([op.output_fields for op in listed], outputs)
    if node_type == "Reducer":
        return tuple(inputs), tuple(outputs)
    outputs = [_typed_by_words(field, inputs) for field in outputs]
    if not inputs:
        inputs.append(FieldSpec("payload", OBJECT, "what the node works on"))
        reading.open_points.append(
            OpenPoint("payload", "the contract names no input field; the input is any JSON object")
        )
    if not outputs:
        outputs.append(FieldSpec("result", OBJECT, "what the node gives back"))
        reading.open_points.append(
            OpenPoint("result", "the contract names no output field; the output is any JSON object")
        )
    return tuple(inputs), tuple(outputs)


OF_TWO = re.compile(
    r"\b(?:union|intersection|concatenation|larger|smaller|maximum|minimum|later|earlier|sum|difference|product) "
    r"(?:of|between) (?:the )?`?(\w+)`? and (?:the )?`?(\w+)`?"
)


def _typed_by_words(field: FieldSpec, inputs: list[FieldSpec]) -> FieldSpec:
    """A field that is made of two inputs of one type has their type, where only its name told one."""
    found = OF_TWO.search(field.description.lower())
    types = [f.type for name in (found.groups() if found else ()) for f in inputs if f.name == name]
    if len(types) == 2 and types[0] == types[1] and field.type == type_of_name(field.name):
        return replace(field, type=types[0].plain())
    return field


def _merged(groups: list[tuple[FieldSpec, ...]], known: list[FieldSpec]) -> list[FieldSpec]:
    """The fields of all operations; one that not every operation has is optional."""
    fields: dict[str, FieldSpec] = {}
    for group in groups:
        for field in group:
            if field.name != "correlation_id":
                fields.setdefault(field.name, field)
    merged = []
    for name, field in fields.items():
        everywhere = all(any(f.name == name for f in group) for group in groups)
        partly = not everywhere and not field.has_default
        type_ = replace(field.type, optional=field.type.optional or partly)
        merged.append(replace(field, type=type_, has_default=field.has_default or partly))
    return [field for field in merged if all(field.name != other.name for other in known)]


def _check_file_name(reading: Reading, name: str, node_type: NodeType, output_path: str) -> None:
    expected = f"node_{snake(name)}_{node_type.lower()}.py"
    actual = PurePosixPath(output_path).name
    if actual != expected and actual != "node.py":
        reading.warnings.append(
            f"by the naming rules the file would be {expected!r}, not {actual!r}"
        )


def _say_renamed(fields: list[FieldSpec], reading: Reading) -> None:
    for field in fields:
        if field.original and field.original.lower() != field.name:
            reading.warnings.append(
                f"field {field.original!r} is named {field.name!r}, which is safe in Python"
            )
