"""PHP: uncaught errors with their stack, and plain warnings."""

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

NAME = "php"


def _uncaught(reader: Reader, match: re.Match[str]) -> bool:
    trace = reader.open(NAME, text(match, "type"), text(match, "message"))
    trace.frames.append(frame_of(match))
    return True


def _next(reader: Reader, match: re.Match[str]) -> bool:
    """`Next` introduces the error that was thrown because of the one before."""
    if reader.current is None or reader.current.language != NAME:
        return False
    reader.link_previous("cause")
    return _uncaught(reader, match)


def _call(reader: Reader, match: re.Match[str]) -> bool:
    """`#0 file(line): f()` says where `f` was called: `f` is the function of the frame before."""
    trace = reader.current
    if trace is None or trace.language != NAME:
        trace = reader.open(NAME)
    function = text(match, "function")
    if trace.frames and function:
        trace.frames[-1].function = trace.frames[-1].function or function
    file = text(match, "file")
    if file:
        trace.frames.append(RawFrame(file, number(match, "line"), ""))
    reader.touch()
    return True


def _main(reader: Reader, match: re.Match[str]) -> bool:
    trace = reader.current
    if trace is None or trace.language != NAME:
        return False
    if trace.frames:
        trace.frames[-1].function = trace.frames[-1].function or "{main}"
    reader.touch()
    return True


_WHERE = r"(?P<file>(?:[A-Za-z]:)?[^:\n]{1,1000}?\.\w{1,8})"

FAMILY = Family(
    name=NAME,
    hint=re.compile(r"^#\d+ |\.php|Stack trace:|^Next "),
    rules=(
        rule(
            r"(?:PHP )?(?:Fatal error|Error):\s+Uncaught (?P<type>[\w\\]+)(?:: (?P<message>.*?))? in "
            rf"{_WHERE}:(?P<line>\d+)$",
            _uncaught,
        ),
        rule(rf"^Next (?P<type>[\w\\]+)(?:: (?P<message>.*?))? in {_WHERE}:(?P<line>\d+)$", _next),
        rule(
            r"(?:PHP )?(?P<type>Fatal error|Parse error|Warning|Notice|Deprecated):\s+(?P<message>.*?) in "
            rf"{_WHERE}(?:\(\d+\) : eval\(\)'d code)? on line (?P<line>\d+)",
            _uncaught,
        ),
        rule(r"^\s*(?:PHP )?Stack trace:", skip),
        rule(
            r"^\s*#\d+ (?P<file>(?:[A-Za-z]:)?[^:()\n]{1,1000}\.\w{1,8})\((?P<line>\d+)\): (?P<function>[^(\n]{1,300})",
            _call,
        ),
        rule(r"^\s*#\d+ \[internal function\]: (?P<function>[^(\n]{1,300})", _call),
        rule(r"^\s*#\d+ \{main\}", _main),
        rule(r"^\s*thrown in ", skip),
    ),
)
