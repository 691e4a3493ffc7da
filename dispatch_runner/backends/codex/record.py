"""What Codex writes down of a session while it runs: its events leave out what was consumed until the
end, and commands that end at once."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from dispatch_runner.backends.shared.following import Tail
from dispatch_runner.models import JsonObject

_OF_INTEREST = re.compile(
    rb'"type":"(?:token_usage_record|turn_context|task_complete|(?:function|custom_tool|local_shell)_call'
    rb'(?:_output)?)"'
)
_REFUSED = re.compile(
    r"(?i)(?:patch rejected|approval policy is|rejected by user|sandbox denied|exec_command failed.*denied)"
)
_READ_ONLY = re.compile(r"(?m)Read-only file system")
_FAILED = re.compile(r"(?m)^Process exited with code [1-9]")


class Tokens(NamedTuple):
    """Of one request. The input is without what was read from a cache."""

    input: int
    output: int
    cached: int


class Called(NamedTuple):
    """The model asked for a tool."""

    name: str
    input: Any


class Returned(NamedTuple):
    """A tool gave its result."""

    denied: str | None
    """What was refused, in words, or null."""


class Model(NamedTuple):
    """Which model answers."""

    name: str


class Ended(NamedTuple):
    """The turn ended with an error."""

    info: Any
    """The kind of error, as Codex names it."""


Entry = Tokens | Called | Returned | Model | Ended


class SessionRecord:
    """The file of one session, read while it grows. There is none when Codex writes no such files."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._tail: Tail | None = None

    def __bool__(self) -> bool:
        """Whether the file was found."""
        return self._tail is not None

    def find(self, session: str, *, from_end: bool = False) -> None:
        """Looks for the file of a session, unless it was found.

        Args:
            from_end: what is in it is of earlier turns.
        """
        if self._tail is not None:
            return
        for day in _days(session):
            found = next((self._home / "sessions" / day).glob(f"rollout-*{session}.jsonl"), None)
            if found is not None:
                self._tail = Tail(found, from_end=from_end)
                return

    def entries(self) -> Iterator[Entry]:
        """What was added since the last time."""
        import orjson

        for line in self._tail.lines() if self._tail else ():
            if not _OF_INTEREST.search(line):
                continue
            try:
                value = orjson.loads(line)
                yield from _entries(value["type"], value["payload"])
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
                continue  # of another version


def _days(session: str) -> Iterator[str]:
    """Where the file may be: the identifier holds the time at which the session was made."""
    try:
        seconds = int(session.replace("-", "")[:12], 16) / 1000
        local = datetime.fromtimestamp(seconds, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return
    yield from dict.fromkeys((f"{local:%Y/%m/%d}", f"{local.astimezone(UTC):%Y/%m/%d}"))


def tokens_of(usage: JsonObject) -> Tokens:
    """As Codex counts them: its input includes what was read from a cache. Raises `KeyError`."""
    cached = usage.get("cached_input_tokens", 0)
    return Tokens(usage["input_tokens"] - cached, usage["output_tokens"], cached)


def _entries(kind: str, payload: JsonObject) -> Iterator[Entry]:
    if kind == "token_usage_record":
        yield tokens_of(payload["usage"])
    elif kind == "turn_context":
        yield Model(str(payload["model"]))
    elif kind == "event_msg" and payload.get("error"):
        yield Ended(payload["error"].get("codex_error_info"))
    elif kind == "response_item":
        of = str(payload["type"])
        if of.endswith("_output"):
            yield Returned(_denied(str(payload.get("output", ""))))
        elif of.endswith("_call"):
            yield Called(str(payload.get("name", of)), _input(payload))


def _input(payload: JsonObject) -> Any:
    return payload.get("arguments", payload.get("input", payload.get("action")))


def _denied(output: str) -> str | None:
    """What was refused. A command that read those words in a file and ended well is not meant."""
    if _REFUSED.match(output):
        return output
    if _FAILED.search(output) and (found := _READ_ONLY.search(output)):
        start = output.rfind("\n", 0, found.start()) + 1
        return output[start:].partition("\n")[0]
    return None
