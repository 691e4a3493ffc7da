"""The state of reading one text, and the parts that every language's table uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Relation = Literal["raised", "cause", "context", "suppressed", "member", "thread"]

HEADER_REACH = 40
"""How many lines a message may span between its error line and the first frame."""
GAP = 3
"""How many foreign lines may stand between two frames of one trace."""
MAX_NOTES = 10


@dataclass(slots=True)
class RawFrame:
    """One frame as it was printed."""

    file: str
    line: int | None
    function: str
    column: int | None = None
    code: str = ""
    repeated: int = 1


@dataclass(slots=True)
class RawTrace:
    """One error and its frames."""

    language: str
    error_type: str = ""
    message: str = ""
    frames: list[RawFrame] = field(default_factory=list)
    """The raising frame first, callers after it, in every language."""
    relation: Relation = "raised"
    """What it is to the error that was reported: `raised` is that error itself."""
    chain: int = 0
    """Traces with one number were reported together."""
    notes: list[str] = field(default_factory=list)
    """Lines printed directly after the message."""
    complete: bool = False
    """Whether both the error and at least one frame were found."""
    occurrences: int = 1


@dataclass(slots=True)
class Header:
    """An error line whose frames, if any, are still to come."""

    language: str
    line: int
    error_type: str
    message: str
    relation: Relation


class Reader:
    """Collects traces from one text, line by line. What it is told is never taken back."""

    def __init__(self) -> None:
        self.traces: list[RawTrace] = []
        self.current: RawTrace | None = None
        self.header: Header | None = None
        self.index = 0
        self.last = -1
        """The last line that belonged to the current trace."""
        self.pending_function = ""
        self.next_relation: Relation | None = None
        """Set between an error and the one that it led to: what that one is."""
        self.closed = False
        self.scratch: dict[str, str] = {}
        """What one language's rules remember between lines."""
        self._chain = -1

    def remember(
        self, language: str, error_type: str, message: str, relation: Relation = "raised"
    ) -> None:
        """Keep an error line; it becomes a trace when frames follow."""
        self.header = Header(language, self.index, error_type, message.strip(), relation)

    def open(
        self,
        language: str,
        error_type: str = "",
        message: str = "",
        relation: Relation = "raised",
        *,
        same_chain: bool = False,
    ) -> RawTrace:
        """Begin a trace; with `same_chain` it belongs to the one before it."""
        if self.next_relation is not None:
            same_chain, relation = True, self.next_relation
        if not (self.traces and same_chain):
            self._chain += 1
        self.next_relation = None
        self.closed = False
        self.header = None
        self.pending_function = ""
        self.current = RawTrace(
            language, error_type, message.strip(), relation=relation, chain=max(self._chain, 0)
        )
        self.traces.append(self.current)
        self.last = self.index
        return self.current

    def frame(self, language: str, frame: RawFrame) -> None:
        """Add a frame to the trace that it belongs to, beginning one where necessary."""
        trace = self._trace_for_frame(language)
        trace.frames.append(frame)
        self.last = self.index

    def _trace_for_frame(self, language: str) -> RawTrace:
        header = self.header
        if (
            header is not None
            and header.language == language
            and self.index - header.line <= HEADER_REACH
        ):
            related = header.relation != "raised"
            return self.open(
                language,
                header.error_type,
                header.message,
                header.relation,
                same_chain=related,
            )
        current = self.current
        if (
            current is None
            or current.language != language
            or self.closed
            or self.index - self.last > GAP + 1
        ):
            return self.open(language)
        return current

    def link_previous(self, relation: Relation) -> None:
        """Say what the trace just read is to the one that follows."""
        if self.current is not None:
            self.next_relation = self.current.relation
            self.current.relation = relation
            self.last = self.index

    def touch(self) -> None:
        """The line belongs to the current trace but says nothing."""
        self.last = self.index

    def note(self, line: str) -> None:
        """Keep a line that was printed directly after the message; a ruler is none."""
        text = line.strip(" |")
        if text.strip("=-_+") and self.current is not None and len(self.current.notes) < MAX_NOTES:
            self.current.notes.append(text)
            self.last = self.index


Action = Callable[[Reader, "re.Match[str]"], bool]
"""What a matching line does. False: the line was not meant, try the next rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A line's form and what it means."""

    pattern: re.Pattern[str]
    action: Action


def rule(pattern: str, action: Action) -> Rule:
    return Rule(re.compile(pattern), action)


@dataclass(frozen=True, slots=True)
class Family:
    """One language family's table."""

    name: str
    hint: re.Pattern[str]
    """Cheap test that a line may be of this language; others are not looked at further."""
    rules: tuple[Rule, ...]
    innermost_last: bool = False
    """Whether the raising frame is printed last."""
    other: Callable[[Reader, str], bool] | None = None
    """Offered, while a trace of this language is being read, each line that no rule took."""


def number(match: re.Match[str], name: str) -> int | None:
    """A named group as a number; null when it is absent or absurdly long."""
    text = match.groupdict().get(name)
    return int(text) if text is not None and len(text) < 10 else None


def text(match: re.Match[str], name: str) -> str:
    """A named group as text; empty when it is absent."""
    return (match.groupdict().get(name) or "").strip()


def frame_of(match: re.Match[str]) -> RawFrame:
    """The frame in the groups `file`, `line`, `column` and `function`."""
    return RawFrame(
        file=text(match, "file"),
        line=number(match, "line"),
        column=number(match, "column"),
        function=text(match, "function"),
    )


def frame_rule(language: str, pattern: str) -> Rule:
    """A line that is a whole frame."""

    def action(reader: Reader, match: re.Match[str]) -> bool:
        reader.frame(language, frame_of(match))
        return True

    return rule(pattern, action)


def header_rule(language: str, pattern: str, relation: Relation = "raised") -> Rule:
    """A line that names the error before its frames."""

    def action(reader: Reader, match: re.Match[str]) -> bool:
        reader.remember(language, text(match, "type"), text(match, "message"), relation)
        return True

    return rule(pattern, action)


def skip(reader: Reader, match: re.Match[str]) -> bool:
    """A line inside a trace that says nothing of use."""
    reader.touch()
    return True
