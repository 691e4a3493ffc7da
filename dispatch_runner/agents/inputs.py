"""Checks of an agent's input that every role shares: its model, and its paths."""

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from dispatch_runner.models import JsonObject
from dispatch_runner.models.base import Model
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import InputProblem

Location = tuple[str | int, ...]

MODEL_TYPE_ERRORS = frozenset({"model_type", "model_attributes_type", "dict_type"})
BOUND_ERRORS = frozenset(
    {
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "too_long",
        "too_short",
        "string_too_long",
        "string_too_short",
        "finite_number",
    }
)
SHOWN_CHARACTERS = 80


def check_model(model: type[Model], value: JsonObject) -> list[InputProblem]:
    """Everything that is wrong with a value for a model, in the order of the fields.

    Codes: `missing_field`, `unknown_field`, `invalid_type`, `out_of_range`, `invalid_value`.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        names = list(model.model_fields)
        return [
            _problem(item["type"], item["loc"], item["msg"], item["input"], names)
            for item in error.errors(include_url=False, include_context=False)
        ]
    return []


def check_paths(pairs: Iterable[tuple[Location, str]], roots: AllowedRoots) -> list[InputProblem]:
    """What is wrong with the paths found at the given locations; never touches a file's content."""
    problems = []
    for location, path in pairs:
        found = roots.problem(path)
        if found is not None:
            problems.append(InputProblem(location, *found))
    return problems


def text_paths(value: JsonObject, field: str) -> list[tuple[Location, str]]:
    """The paths in a field that holds one path or a list of them; what is not text is left out."""
    held = value.get(field)
    if isinstance(held, str):
        return [((field,), held)]
    if isinstance(held, list):
        return [((field, index), item) for index, item in enumerate(held) if isinstance(item, str)]
    return []


def _problem(
    kind: str, location: Location, message: str, value: object, names: Sequence[str]
) -> InputProblem:
    field = _spelled(location)
    if kind == "missing":
        return InputProblem(
            location, "missing_field", f"field {field} is required", f"add {field} to the input"
        )
    if kind == "extra_forbidden":
        return _unknown(location, names)
    text = message[:1].lower() + message[1:]
    if kind in MODEL_TYPE_ERRORS or kind.endswith("_type"):
        return InputProblem(location, "invalid_type", f"field {field}: {text}, not {_shown(value)}")
    code = "out_of_range" if kind in BOUND_ERRORS else "invalid_value"
    said = f"field {field}: {text}, not {_shown(value)}"
    return InputProblem(location, code, said, _alternative(value, message))


def _unknown(location: Location, names: Sequence[str]) -> InputProblem:
    import difflib

    name = str(location[-1])
    close = difflib.get_close_matches(name[:SHOWN_CHARACTERS], names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known fields: {', '.join(names)}"
    return InputProblem(location, "unknown_field", f"field {_spelled(location)} is not known", hint)


def _alternative(value: object, message: str) -> str | None:
    """The permitted value that was probably meant: pydantic quotes them in its message."""
    import difflib
    import re

    permitted = {name.lower(): name for name in re.findall(r"'([^']*)'", message)}
    word = value.lower()[:SHOWN_CHARACTERS] if isinstance(value, str) else ""
    close = difflib.get_close_matches(word, permitted, n=1)
    return f"did you mean {permitted[close[0]]!r}?" if close else None


def _spelled(location: Location) -> str:
    """`'context_files[2]'`, or `input_data` for the whole."""
    if not location:
        return "'input_data'"
    first, *rest = location
    text = str(first) + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest
    )
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")


def _shown(value: object) -> str:
    """A value as JSON would call it, cut to what a person reads."""
    kinds = {dict: "an object", list: "a list", type(None): "null"}
    if type(value) in kinds:
        return kinds[type(value)]
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
