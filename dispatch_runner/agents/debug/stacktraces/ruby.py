"""Ruby: backtraces in both orders and both quote styles."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    Reader,
    frame_of,
    header_rule,
    rule,
    text,
)

NAME = "ruby"

_PLACE = (
    r"(?P<file>(?:[A-Za-z]:)?[^\s:][^:\n]{0,500}):(?P<line>\d+):in [`'](?P<function>[^'\n]{1,300})'"
)


def _raised(reader: Reader, match: re.Match[str]) -> bool:
    """The raising line comes first, or last when the callers were printed above it."""
    waiting = reader.scratch.pop("ruby_reversed", "")
    reader.scratch.clear()
    if waiting and reader.current is not None and reader.current.language == NAME:
        trace = reader.current
        trace.frames.reverse()
        trace.frames.insert(0, frame_of(match))
        trace.error_type, trace.message = text(match, "type"), text(match, "message")
        reader.closed = True
        reader.touch()
        return True
    trace = reader.open(NAME, text(match, "type"), text(match, "message"))
    trace.frames.append(frame_of(match))
    return True


def _numbered(reader: Reader, match: re.Match[str]) -> bool:
    if not reader.scratch.get("ruby_reversed"):
        reader.open(NAME)
        reader.scratch["ruby_reversed"] = "1"
    reader.frame(NAME, frame_of(match))
    return True


def _frame(reader: Reader, match: re.Match[str]) -> bool:
    reader.frame(NAME, frame_of(match))
    return True


FAMILY = Family(
    name=NAME,
    hint=re.compile(r":\d+:in [`']|^[A-Z][\w:]+ \("),
    rules=(
        rule(rf"^\s*\d+: from {_PLACE}$", _numbered),
        rule(rf"^\s*(?:from )?{_PLACE}$", _frame),
        rule(rf"^\s*{_PLACE}: (?P<message>.*?)(?: \((?P<type>[A-Z][\w:]*)\))?$", _raised),
        header_rule(NAME, r"^(?P<type>[A-Z]\w*(?:::\w+)*) \((?P<message>.*)\):?$"),
    ),
)
