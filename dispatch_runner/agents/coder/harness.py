"""Runs in a child process of its own: imports one module, builds its models, tries its node.

    python -I harness.py MODULE.py CLASS_NAME NODE_TYPE METHODS imports|self_test

Prints one JSON document on the original standard output: a list of findings by check. Standard
library and pydantic only; nothing of this package is imported, so that the module under test gets
a clean interpreter.
"""

import asyncio
import enum
import importlib.util
import inspect
import json
import os
import resource
import sys
import typing
from pathlib import Path

CPU_SECONDS = 20
MEMORY_BYTES = 2 << 30
FILE_BYTES = 1 << 20
MAX_SAMPLES = 24
TEXTS = ("sample", '{"key": 1}', "1", "someone@example.com", "2025-01-01", "https://example.com")
"""What a text is, in turn: a node may take only text of a certain form."""

Findings = list[str]


def main(arguments: list[str]) -> None:
    """Runs the checks and prints the report."""
    report_to = os.dup(1)
    os.dup2(2, 1)
    for kind, limit in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    report = check(*arguments)
    with os.fdopen(report_to, "w") as out:
        json.dump(report, out)


def check(
    path: str, class_name: str, node_type: str, methods: str, depth: str
) -> dict[str, Findings]:
    """Findings of each check that was made; a check without findings passed."""
    module, missing = _import(path)
    if module is None:
        return missing
    report: dict[str, Findings] = {"import": [], "models": []}
    models = _own(module, _is_model)
    for model in models:
        report["models"] += _check_model(model)
    if depth == "self_test":
        node = getattr(module, class_name, None)
        report["self_test"] = (
            _check_node(module, node, node_type, methods.split(","))
            if inspect.isclass(node)
            else [f"there is no class {class_name!r}"]
        )
    return report


def _import(path: str) -> tuple[typing.Any, dict[str, Findings]]:
    """The module, or null and why not."""
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return None, {"import": ["not a Python module"]}
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        return None, {"missing_module": [str(error.name)]}
    except BaseException as error:  # noqa: BLE001 - whatever a module does, it is a finding
        return None, {"import": [f"{type(error).__name__}: {error}"]}
    return module, {}


def _own(module: typing.Any, test: typing.Callable[[type], bool]) -> list[type]:
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and test(value)
    ]


def _is_model(value: type) -> bool:
    from pydantic import BaseModel

    return issubclass(value, BaseModel)


def _check_model(model: typing.Any) -> Findings:
    """A model has a schema, can be made, survives JSON, and refuses an unknown field."""
    from pydantic import ValidationError

    try:
        model.model_json_schema()
        samples = list(_samples(model))
    except Exception as error:  # noqa: BLE001 - a finding
        return [f"{model.__name__}: {type(error).__name__}: {error}"]
    if not samples:
        return [f"{model.__name__}: no valid instance could be made"]
    findings = []
    if model.model_validate_json(samples[0].model_dump_json()) != samples[0]:
        findings.append(f"{model.__name__}: an instance does not survive JSON")
    try:
        model.model_validate({**samples[0].model_dump(), "a_field_that_is_not_there": 1})
        findings.append(f"{model.__name__}: an unknown field is not refused (set extra='forbid')")
    except ValidationError:
        pass
    return findings


class Choices:
    """Picks alternatives so that successive turns go through all their combinations."""

    def __init__(self, turn: int, text: str) -> None:
        self.left = turn
        self.text = text

    def pick(self, options: typing.Sequence[typing.Any]) -> typing.Any:
        self.left, index = divmod(self.left, len(options))
        return options[index]


def _samples(model: typing.Any, text: str = TEXTS[0]) -> typing.Iterator[typing.Any]:
    """Instances of a model, without and with its optional fields, through its enumerations."""
    from pydantic import ValidationError

    last: Exception | None = None
    made = 0
    for turn in range(MAX_SAMPLES):
        for optional in (False, True):
            try:
                yield _sample(model, Choices(turn, text), optional=optional)
                made += 1
            except ValidationError as error:
                last = error
    if not made and last is not None:
        raise last


def _sample(model: typing.Any, choices: Choices, *, optional: bool) -> typing.Any:
    """One instance; enumerations are always chosen, other defaults only replaced when `optional`."""
    values = {
        field.alias or name: _value(field.annotation, field.metadata, choices, optional=optional)
        for name, field in model.model_fields.items()
        if optional or field.is_required() or _chooses(field.annotation)
    }
    return model.model_validate(values)


def _chooses(annotation: typing.Any) -> bool:
    """Whether a type is an enumeration, or a model that holds one."""
    if not inspect.isclass(annotation):
        return False
    return issubclass(annotation, enum.Enum) or (
        _is_model(annotation)
        and any(
            _chooses(field.annotation)
            for field in typing.cast("typing.Any", annotation).model_fields.values()
        )
    )


def _value(
    annotation: typing.Any,
    metadata: typing.Sequence[typing.Any],
    choices: Choices,
    *,
    optional: bool,
) -> typing.Any:
    """A plain value of a type, within its limits."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _value(inner[0], [*inner[1:], *metadata], choices, optional=optional)
    if origin is typing.Literal:
        return choices.pick(inner)
    if origin in {list, set, frozenset, tuple}:
        size = max([1, *(int(getattr(m, "min_length", 0) or 0) for m in metadata)])
        return [
            _value(inner[0] if inner else str, (), choices, optional=optional) for _ in range(size)
        ]
    if origin is dict:
        return {"key": _value(inner[1] if inner else str, (), choices, optional=optional)}
    if inner and origin is not None:
        kinds = [kind for kind in inner if kind is not type(None)]
        return _value(kinds[0], metadata, choices, optional=optional)
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return choices.pick(list(annotation))
    if inspect.isclass(annotation) and _is_model(annotation):
        return _sample(annotation, choices, optional=optional)
    return _scalar(annotation, metadata, choices.text)


def _scalar(annotation: typing.Any, metadata: typing.Sequence[typing.Any], text: str) -> typing.Any:
    if annotation is bool:
        return True
    if annotation in {int, float}:
        return _number(annotation, metadata)
    plain = {
        "datetime": "2025-01-01T00:00:00Z", "date": "2025-01-01", "time": "12:00:00", "timedelta": 1,
        "UUID": "00000000-0000-4000-8000-000000000000", "bytes": b"sample", "Decimal": "1", "Path": "sample",
    }  # fmt: skip
    shortest = max([0, *_limits(metadata, "min_length")])
    longest = min([200.0, *_limits(metadata, "max_length")])
    text = text.ljust(int(shortest), "x")[: int(longest)]
    return plain.get(getattr(annotation, "__name__", ""), text)


def _limits(metadata: typing.Sequence[typing.Any], key: str) -> list[float]:
    return [float(limit) for item in metadata if (limit := getattr(item, key, None)) is not None]


def _number(kind: type, metadata: typing.Sequence[typing.Any]) -> float:
    """A number within the limits."""
    above, below = _limits(metadata, "gt"), _limits(metadata, "lt")
    low = max([*_limits(metadata, "ge"), *above], default=None)
    high = min([*_limits(metadata, "le"), *below], default=None)
    if low is not None and high is not None:
        return float((low + high) / 2) if kind is float else int((low + high) // 2 + (low in above))
    if low is not None:
        return typing.cast("float", kind(low + 1))
    return typing.cast("float", kind(1 if high is None else high - 1))


def _check_node(module: typing.Any, node: type, node_type: str, methods: list[str]) -> Findings:
    """The node's work method takes its input and gives its output; pure nodes do so twice alike."""
    name = next((name for name in methods if callable(getattr(node, name, None))), "")
    if not name:
        return [f"{node.__name__} has none of the work methods {', '.join(methods)}"]
    hints = typing.get_type_hints(getattr(node, name))
    result = hints.pop("return", None)
    if len(hints) != 1 or not all(
        inspect.isclass(kind) and _is_model(kind) for kind in (*hints.values(), result)
    ):
        return [f"{name} has to take one model and return one, both annotated"]
    try:
        made = node(**_fakes(node, result))
    except Exception as error:  # noqa: BLE001 - a finding
        return [f"{node.__name__} could not be made: {type(error).__name__}: {error}"]
    return _try(module, made, name, next(iter(hints.values())), result, node_type)


def _try(
    module: typing.Any,
    made: typing.Any,
    method: str,
    takes: typing.Any,
    gives: typing.Any,
    node_type: str,
) -> Findings:
    refused: list[str] = []
    for sample in (each for text in TEXTS for each in _samples(takes, text)):
        before = sample.model_dump_json()
        try:
            output = asyncio.run(_call(made, method, sample))
            again = (
                asyncio.run(_call(made, method, sample))
                if node_type in {"Compute", "Reducer"}
                else output
            )
        except NotImplementedError as error:
            return [f"open: {error}"]
        except Exception as error:  # noqa: BLE001 - a finding
            if type(error).__module__ != module.__name__:
                return [f"{method} raised {type(error).__name__}: {error}"]
            refused.append(str(error))
            continue
        if not isinstance(output, gives):
            return [f"{method} returned {type(output).__name__}, not {gives.__name__}"]
        if output != again:
            return [f"{method} is not deterministic: two results for one input"]
        if sample.model_dump_json() != before:
            return [f"{method} changed its input"]
        return []
    return [f"{method} refused every sample: {refused[-1] if refused else 'there was none'}"]


async def _call(made: typing.Any, method: str, sample: typing.Any) -> typing.Any:
    return await asyncio.wait_for(getattr(made, method)(sample), timeout=10)


def _fakes(node: type, gives: typing.Any) -> dict[str, typing.Any]:
    """A stand-in for each parameter of the constructor that has no default."""
    hints = typing.get_type_hints(vars(node).get("__init__", object.__init__))
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {
        name: _fake(hints.get(name, object), gives)
        for name, parameter in inspect.signature(node).parameters.items()
        if parameter.default is parameter.empty and parameter.kind not in several
    }


def _fake(kind: typing.Any, gives: typing.Any) -> typing.Any:
    """A sample of a model, or an object whose methods return samples of what they promise."""
    if inspect.isclass(kind) and _is_model(kind):
        return next(_samples(kind))

    class Fake:
        def __getattr__(self, name: str) -> typing.Any:
            method = getattr(kind, name)
            returned = typing.get_type_hints(method).get("return", type(None))
            if not inspect.iscoroutinefunction(method):
                return lambda *_, **__: _promised(returned, gives)

            async def later(*_: typing.Any, **__: typing.Any) -> typing.Any:
                return _promised(returned, gives)

            return later

    return Fake()


def _promised(returned: typing.Any, gives: typing.Any) -> typing.Any:
    """A value of a return type; a mapping holds every field of the node's output."""
    if returned is type(None):
        return None
    if typing.get_origin(returned) is dict:
        return next(_samples(gives)).model_dump(mode="json")
    return _value(returned, (), Choices(0, TEXTS[0]), optional=False)


if __name__ == "__main__":
    main(sys.argv[1:])
