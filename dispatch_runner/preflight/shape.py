"""Checks values against the request's models, and says in our words what does not fit.

Valid values go straight through pydantic. Only what it refuses is looked at again here, and what a
hostile document can hold by the million (unknown keys, items of a wrong type) is sifted before
pydantic can make a list of errors of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from typing import Any

from pydantic_core import ValidationError

from dispatch_runner.models import Config, JsonObject, Task
from dispatch_runner.models.validators import validator
from dispatch_runner.preflight.problems import Problems, describe, listed, quote

Location = tuple[str | int, ...]

MAX_UNSIFTED = 1_000
"""Lists and maps up to this length go to pydantic as they are."""

_validate_task = validator(Task).validate_python
_validate_config = validator(Config).validate_python
TASK_FIELDS = frozenset(field.name for field in fields_of(Task))
CONFIG_FIELDS = frozenset(field.name for field in fields_of(Config))
_TEXT_LISTS = ("dependencies", "modifies_files", "checks")

HABITS = {
    "id": "task_id",
    "name": "task_id",
    "taskId": "task_id",
    "type": "agent",
    "agent_type": "agent",
    "subagent_type": "agent",
    "input": "input_data",
    "inputs": "input_data",
    "args": "input_data",
    "arguments": "input_data",
    "params": "input_data",
    "parameters": "input_data",
    "needs": "dependencies",
    "requires": "dependencies",
    "deps": "dependencies",
    "after": "dependencies",
    "timeout": "timeout_seconds",
    "timeout_ms": "timeout_seconds",
    "files": "modifies_files",
    "when": "run_when",
    "workers": "max_workers",
    "concurrency": "max_workers",
    "parallelism": "max_workers",
    "max_parallel": "max_workers",
}
"""Names that planners write for a field: too far from it for a spelling check."""

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "dataclass_type": "an object",
    "string_unicode": "a string without lone surrogates",
}
_BOUNDS = {
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "string_too_short": "{min_length} or more characters long",
    "string_too_long": "at most {max_length} characters long",
    "finite_number": "a finite number",
}


def read_task(
    item: object, location: Location, problems: Problems
) -> tuple[Task | None, JsonObject]:
    """The task, or null after adding every problem; and its fields that have the right type.

    `depends_on` is read as `dependencies`; the fields then hold a `depends_on`, too.
    """
    if _is_plain(item):
        try:
            return _validate_task(item), item  # type: ignore[return-value]
        except ValidationError:
            pass
    if not isinstance(item, dict):
        what = f"a task is an object, not {describe(item)}"
        problems.add("invalid_type", location, what, 'write {"task_id", "agent", "input_data"}')
        return None, {}
    return _read_carefully(item, location, problems)


def read_config(item: object, problems: Problems) -> Config | None:
    """The configuration, or null after adding every problem."""
    if not isinstance(item, dict):
        problems.add(
            "invalid_type", ("config",), f"'config' must be an object, not {describe(item)}"
        )
        return None
    unknown = item.keys() - CONFIG_FIELDS
    report_unknown(unknown, ("config",), CONFIG_FIELDS, problems, None)
    known = {name: item[name] for name in item if name in CONFIG_FIELDS}
    config: Config | None = validate(_validate_config, known, ("config",), problems, None)
    return None if unknown else config


def validate(
    validator: Callable[[object], Any],
    fields: JsonObject,
    location: Location,
    problems: Problems,
    task_id: object,
) -> Any:
    """What the validator makes, or null after adding every problem. Fields that are wrong are removed from `fields`.

    The caller bounds the number of errors by sifting what may be long.
    """
    try:
        return validator(fields)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            _report(item, location, problems, task_id)
            fields.pop(str(item["loc"][0]), None)
        return None


def report_unknown(
    names: set[str],
    location: Location,
    known: frozenset[str],
    problems: Problems,
    task_id: object,
) -> None:
    """Adds a problem for each unknown field of an object."""
    for done, name in enumerate(sorted(names) if len(names) <= MAX_UNSIFTED else names):
        if problems.full:
            problems.left_out += len(names) - done
            return
        hint = _unknown_hint(name, location, known, problems)
        problems.add(
            "unknown_field", (*location, name), f"unknown field {quote(name)}", hint, task_id
        )


def _unknown_hint(name: str, location: Location, known: frozenset[str], problems: Problems) -> str:
    habit = HABITS.get(name)
    if habit in known:
        return f"did you mean '{habit}'?"
    if location != ("config",) and name in CONFIG_FIELDS:
        return "it belongs into the top level's 'config'"
    if not location and (name in TASK_FIELDS or habit in TASK_FIELDS):
        return 'it belongs into a task: {"tasks": [{...}]}'
    return problems.suggest(name, known) or f"known fields: {listed(sorted(known))}"


def _is_plain(item: object) -> bool:
    """Whether pydantic's list of errors would be short, whatever is wrong."""
    if type(item) is not dict or len(item) > len(TASK_FIELDS) + 1:
        return False
    dependencies = item.get("dependencies")
    if type(dependencies) is list and len(dependencies) > MAX_UNSIFTED:
        return all(type(name) is str for name in dependencies)
    files, resources = item.get("modifies_files", ()), item.get("resources", ())
    return not (
        (type(files) is list and len(files) > MAX_UNSIFTED)
        or (type(resources) is dict and len(resources) > MAX_UNSIFTED)
    )


def _read_carefully(
    item: JsonObject, location: Location, problems: Problems
) -> tuple[Task | None, JsonObject]:
    before = len(problems.found) + problems.left_out
    task_id = item.get("task_id")
    unknown = item.keys() - TASK_FIELDS - {"depends_on"}
    report_unknown(unknown, location, TASK_FIELDS, problems, task_id)
    fields = {name: item[name] for name in item if name in TASK_FIELDS}
    alias = "depends_on" in item and "dependencies" not in item
    if "depends_on" in item:
        _read_alias(item["depends_on"], fields, location, problems, task_id)
    where = {"dependencies": "depends_on"} if alias else {}
    for name in _TEXT_LISTS:
        if isinstance(fields.get(name), list):
            place = (*location, where.get(name, name))
            fields[name] = _only_text(fields[name], place, problems, task_id)
    if isinstance(fields.get("resources"), dict):
        fields["resources"] = _only_amounts(fields["resources"], location, problems, task_id)
    task: Task | None = validate(_validate_task, fields, location, problems, task_id)
    if alias:
        fields["depends_on"] = True
    return (None if len(problems.found) + problems.left_out > before else task), fields


def _read_alias(
    names: object, fields: JsonObject, location: Location, problems: Problems, task_id: object
) -> None:
    if "dependencies" in fields:
        message = "both 'dependencies' and 'depends_on' are given"
        hint = "keep 'dependencies'"
        problems.add("conflicting_fields", (*location, "depends_on"), message, hint, task_id)
    elif isinstance(names, list):
        fields["dependencies"] = names
    else:
        message = f"'depends_on' must be a list, not {describe(names)}"
        hint = "write a list of task ids"
        problems.add("invalid_type", (*location, "depends_on"), message, hint, task_id)


def _only_text(
    items: list[Any], location: Location, problems: Problems, task_id: object
) -> list[str]:
    text = [item for item in items if isinstance(item, str)]
    if len(text) == len(items):
        return items
    wrong = len(items) - len(text)
    for index, item in enumerate(items):
        if problems.full:
            problems.left_out += wrong
            break
        if not isinstance(item, str):
            wrong -= 1
            message = f"'{location[-1]}' must hold strings, not {describe(item)}"
            problems.add("invalid_type", (*location, index), message, None, task_id)
    return text


def _only_amounts(
    amounts: JsonObject, location: Location, problems: Problems, task_id: object
) -> dict[str, int]:
    good: dict[str, int] = {}
    for name, amount in amounts.items():
        if type(amount) is int and amount >= 1:
            good[name] = amount
            continue
        code = "out_of_range" if type(amount) is int else "invalid_type"
        message = f"amount of {quote(name)} must be an integer of 1 or more, not {describe(amount)}"
        problems.add(code, (*location, "resources", name), message, None, task_id)
    return good


def _report(
    error: Mapping[str, Any], location: Location, problems: Problems, task_id: object
) -> None:
    kind, path = error["type"], error["loc"]
    name = ".".join(map(str, path))
    if kind == "missing":
        message = f"field '{name}' is missing"
        problems.add("missing_field", location, message, _MISSING_HINTS.get(name), task_id)
        return
    found, place = describe(error["input"]), (*location, *path)
    if kind in _EXPECTED:
        message = f"'{name}' must be {_EXPECTED[kind]}, not {found}"
        hint = _type_hint(kind, error["input"])
        problems.add("invalid_type", place, message, hint, task_id)
    elif kind in _BOUNDS:
        bound = _BOUNDS[kind].format_map(error.get("ctx", {}))
        shown = f"it has {len(error['input'])}" if "long" in bound else f"not {found}"
        problems.add("out_of_range", place, f"'{name}' must be {bound}, {shown}", None, task_id)
    else:
        expected = error.get("ctx", {}).get("expected", error["msg"])
        message = f"'{name}' must be {expected}, not {found}"
        problems.add("invalid_value", place, message, None, task_id)


_MISSING_HINTS = {
    "task_id": "give each task a unique name",
    "agent": "name the agent that runs it, such as 'coder', 'debug' or 'echo'",
    "input_data": "give the agent's input, {} if it needs none",
}


def _type_hint(kind: str, value: object) -> str | None:
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}" if abs(value) < 1e15 else None
    if kind in {"int_type", "float_type"} and isinstance(value, str):
        return "write the number without quotes"
    if kind == "list_type" and isinstance(value, str):
        return "put it into a list: [...]"
    if kind == "dict_type" and isinstance(value, str) and value.lstrip().startswith("{"):
        return "write the object itself, not JSON in a string"
    if value is None:
        return "leave the field out"
    return None
