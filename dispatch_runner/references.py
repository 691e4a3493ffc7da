"""References between tasks: `${tasks.ID.output.PATH}` in the strings of an input.

    ${tasks.a.output}                  the whole output of task `a`
    ${tasks.a.output.files.0.name}     keys and list indexes, dotted
    ${tasks.a.output.files[0].name}    the same
    ${tasks.a.output["a.b"]}           a key in quotes may hold anything (a JSON string)
    ${tasks["any } id"].output.x}      so may a task's id

A string that is one reference becomes the value, with its JSON type. Inside a longer string a value
is rendered as text: strings as they are, anything else as compact JSON. `$${` is a literal `${`, and
any other `${...}` (a shell's, a template's) is left alone, unless it looks like a misspelt reference.
Only values are looked at, never keys. What was put in is data: it is not scanned again.

Without quotes, an id ends at a `.output`; when ids hold dots, the longest id that exists wins. An id
that holds `"`, `}` or `${` needs the quotes.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject

MAX_RESOLVED_BYTES = 64 << 20
"""What references may add to one input, as JSON: copies of copies grow exponentially otherwise."""

Location = tuple[str | int, ...]

_MARK = re.compile(r"\$\$\{|\$\{(?=\s*tasks?\b)", re.IGNORECASE)
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_BODY = re.compile(rf'\$\{{tasks((?:[^"}}$]|\$(?!\{{)|{_QUOTED})*+)\}}', re.DOTALL)
_QUOTED_ID = re.compile(rf"\[({_QUOTED})\]\.output(?=[.\[]|$)", re.DOTALL)
_OUTPUT = re.compile(r"\.output(?=[.\[]|$)")
_STEP = re.compile(rf'\.([^.\[\]"]+)|\[([0-9]+)\]|\[({_QUOTED})\]', re.DOTALL)
_MAX_LENGTH = 1_000
_MAX_ID = 200
_SHOWN = 80
FORM = "write ${tasks.ID.output.PATH}, or $${ for a literal ${"


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference in an input."""

    location: Location
    """Keys and indexes of the string that holds it, below the value that was searched."""
    text: str
    """As written, with `${` and `}`; bounded when it is malformed."""
    readings: tuple[tuple[str, str], ...]
    """What it may mean: task id and unread path, longest id first. Empty when it is malformed."""
    whole: bool = False
    """Whether it is the whole string."""

    def target(self, known: Container[str]) -> tuple[str, tuple[str, ...]] | None:
        """The id and path that it means among the known ids; null if there is no such task.

        Raises:
            ValueError: the reference is malformed; the message says so.
        """
        task_id, path = next((it for it in self.readings if it[0] in known), (None, ""))
        steps = _steps(path)
        if not self.readings or steps is None:
            raise ValueError(f"reference {_short(self.text)!r} is malformed")
        return None if task_id is None else (task_id, steps)


def has_references(value: object) -> bool:
    """Whether `resolve` could change anything. Cheap: no pattern is matched."""
    stack = [value]
    while stack:
        current = stack.pop()
        if type(current) is str:
            if "${" in current:
                return True
        elif isinstance(current, dict):
            stack.extend(current.values())
        elif isinstance(current, list):
            stack.extend(current)
    return False


def find(value: object) -> list[Reference]:
    """All references in the strings of a value, in the value's order.

    A string is read up to its first malformed reference.
    """
    return [
        part
        for location, text in _strings(value)
        for part in _parts(text, location)
        if isinstance(part, Reference)
    ]


def resolve(value: Any, outputs: Mapping[str, JsonObject | None]) -> Any:
    """A copy of the value with its references replaced by copies of what they name.

    Raises:
        AgentError: of type `dependency`, when a task has no output, has nothing at the path, or
            when the result would be larger than `MAX_RESOLVED_BYTES`; of type `invalid_input` for
            a malformed reference, which the checks before a run refuse.
    """
    resolver = _Resolver(outputs)
    top = [value]
    stack: list[list[Any] | JsonObject] = [top]
    while stack:
        copy = stack.pop()
        for key, child in copy.items() if isinstance(copy, dict) else enumerate(copy):
            if type(child) is str:
                if "${" in child:
                    copy[key] = resolver.text(child)  # type: ignore[index]
            elif isinstance(child, (dict, list)):
                fresh = child.copy()
                copy[key] = fresh  # type: ignore[index]
                stack.append(fresh)
    return top[0]


class _Resolver:
    """Replaces references in one input, within one budget."""

    def __init__(self, outputs: Mapping[str, JsonObject | None]) -> None:
        self._outputs = outputs
        self._left = MAX_RESOLVED_BYTES

    def text(self, text: str) -> Any:
        parts = list(_parts(text, ()))
        if len(parts) == 1 and isinstance(parts[0], Reference) and parts[0].whole:
            return orjson.loads(self._json(parts[0]))
        return "".join(part if isinstance(part, str) else self._rendered(part) for part in parts)

    def _rendered(self, reference: Reference) -> str:
        raw = self._json(reference)
        return str(orjson.loads(raw)) if raw.startswith(b'"') else raw.decode()

    def _json(self, reference: Reference) -> bytes:
        value = self._value(reference)
        try:
            raw = orjson.dumps(value)
        except TypeError as error:  # nested too deeply, or not JSON at all
            raise _unresolved(f"what {reference.text!r} names cannot be copied: {error}") from None
        self._left -= len(raw)
        if self._left < 0:
            raise _unresolved(
                f"references make the input larger than {MAX_RESOLVED_BYTES} bytes",
                hint="pass a path of a file instead of its content",
            )
        return raw

    def _value(self, reference: Reference) -> Any:
        try:
            target = reference.target(self._outputs)
        except ValueError as error:
            raise AgentError(ErrorType.INVALID_INPUT, str(error), hint=FORM) from None
        if target is None:
            raise _unresolved(f"{reference.text!r} names no task that this one depends on")
        task_id, path = target
        output = self._outputs[task_id]
        if output is None:
            raise _unresolved(f"{reference.text!r}: task {task_id!r} has no output")
        return _walk(output, path, task_id)


def _walk(output: JsonObject, path: Sequence[str], task_id: str) -> Any:
    value: Any = output
    for depth, step in enumerate(path):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _is_index(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            raise _nothing_there(value, step, path[:depth], task_id)
    return value


def _is_index(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) < 10


def _nothing_there(value: Any, step: str, before: Sequence[str], task_id: str) -> AgentError:
    place = f"output of {task_id!r}" + (f" at {'.'.join(before)!r}" if before else "")
    hint = None
    details: JsonObject = {}
    if isinstance(value, dict):
        keys = [_short(key) for key in list(value)[:20]]
        more = f" and {len(value) - 20} more" if len(value) > 20 else ""
        there = f"it has {', '.join(map(repr, keys))}{more}" if keys else "it is empty"
        details = {"keys": keys}
        hint = _did_you_mean(step, keys)
    elif isinstance(value, list):
        there = f"it is a list of {len(value)}"
    else:
        there = "it is text, a number, true, false or null"
    return _unresolved(f"{place} has no {_short(step)!r}; {there}", hint=hint, details=details)


def _did_you_mean(step: str, keys: list[str]) -> str | None:
    import difflib

    close = difflib.get_close_matches(step[:_SHOWN], keys, n=1)
    return f"did you mean {close[0]!r}?" if close else None


def _unresolved(
    message: str, *, hint: str | None = None, details: JsonObject | None = None
) -> AgentError:
    return AgentError(ErrorType.INVALID_INPUT, message, hint=hint, details=details)


def _strings(value: object) -> Iterator[tuple[Location, str]]:
    """Every string that has a `${`, with its place, in the value's order."""
    # A place is a linked list until it is asked for: as tuples, deep nesting would be quadratic.
    stack: list[tuple[_Place, object]] = [(None, value)]
    while stack:
        place, current = stack.pop()
        if isinstance(current, str):
            if "${" in current:
                yield _location(place), current
        elif isinstance(current, dict):
            stack.extend(reversed([((place, key), child) for key, child in current.items()]))
        elif isinstance(current, list):
            stack.extend(reversed([((place, at), child) for at, child in enumerate(current)]))


_Place = tuple[Any, str | int] | None


def _location(place: _Place) -> Location:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    return tuple(reversed(keys))


def _parts(text: str, location: Location) -> Iterator[str | Reference]:
    """The text cut into literals and references; ends with the first malformed reference."""
    position = 0
    while mark := _MARK.search(text, position):
        if position < mark.start():
            yield text[position : mark.start()]
        if mark.group() == "$${":
            yield "${"
            position = mark.end()
            continue
        body = _BODY.match(text, mark.start())
        readings = _readings(body[1]) if body else ()
        if body is None or not readings:
            yield Reference(location, text[mark.start() : mark.start() + _SHOWN], ())
            return
        position = body.end()
        yield Reference(location, body[0], readings, whole=body[0] == text)
    if position < len(text):
        yield text[position:]


def _readings(body: str) -> tuple[tuple[str, str], ...]:
    """Every way to cut `.ID.output.PATH` or `["ID"].output.PATH` into id and path."""
    if len(body) > _MAX_LENGTH:
        return ()
    if quoted := _QUOTED_ID.match(body):
        task_id = _unquoted(quoted[1])
        return ((task_id, body[quoted.end() :]),) if task_id else ()
    if not body.startswith("."):
        return ()
    cuts = [(body[1 : cut.start()], body[cut.end() :]) for cut in _OUTPUT.finditer(body, 2)]
    return tuple(cut for cut in reversed(cuts) if len(cut[0]) <= _MAX_ID)


def _steps(path: str) -> tuple[str, ...] | None:
    """The keys and indexes of a path; null when it is malformed."""
    steps: list[str] = []
    position = 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            return None
        name = _unquoted(step[3]) if step[3] else step[1] or step[2]
        if name is None:
            return None
        steps.append(name)
        position = step.end()
    return tuple(steps)


def _unquoted(text: str) -> str | None:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
