"""Rust: panics with and without a backtrace."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    RawFrame,
    Reader,
    frame_of,
    number,
    rule,
    skip,
    text,
)

NAME = "rust"


def _panic(reader: Reader, match: re.Match[str]) -> bool:
    """The panic names its place itself; that place is the raising frame."""
    trace = reader.open(NAME, "panic", text(match, "message"))
    trace.frames.append(frame_of(match))
    return True


def _function(reader: Reader, match: re.Match[str]) -> bool:
    trace = reader.current
    if trace is None or trace.language != NAME:
        return False
    trace.frames.append(RawFrame("", None, text(match, "function")))
    reader.touch()
    return True


def _location(reader: Reader, match: re.Match[str]) -> bool:
    trace = reader.current
    if trace is None or trace.language != NAME or not trace.frames or trace.frames[-1].file:
        return False
    frame = trace.frames[-1]
    frame.file, frame.line = text(match, "file"), number(match, "line")
    frame.column = number(match, "column")
    first = trace.frames[0]
    if first.file.removeprefix("./") == frame.file.removeprefix("./") and first.line == frame.line:
        first.function = first.function or frame.function
    reader.touch()
    return True


def _other(reader: Reader, line: str) -> bool:
    """Since 1.73 the message stands on the line after the place."""
    trace = reader.current
    if trace is None or trace.message or reader.index != reader.last + 1:
        return False
    trace.message = line.strip()
    reader.touch()
    return True


_PLACE = r"(?P<file>[^\s:'\"](?:[^:\n]|:\\){0,500}?\.rs):(?P<line>\d+):(?P<column>\d+)"

FAMILY = Family(
    name=NAME,
    hint=re.compile(r"panicked at|^\s+\d+: |^\s+at \S+\.rs:|stack backtrace"),
    rules=(
        rule(rf"^\s*thread '[^'\n]{{0,200}}'(?: \(\d+\))? panicked at {_PLACE}:?$", _panic),
        rule(
            r"^\s*thread '[^'\n]{0,200}'(?: \(\d+\))? panicked at '(?P<message>.{0,1000})', "
            rf"{_PLACE}$",
            _panic,
        ),
        rule(r"^stack backtrace:", skip),
        rule(rf"^\s+at {_PLACE}$", _location),
        rule(r"^\s+\d+:\s+(?:0x[0-9a-f]+ - )?(?P<function>\S.{0,500})$", _function),
    ),
    other=_other,
)
