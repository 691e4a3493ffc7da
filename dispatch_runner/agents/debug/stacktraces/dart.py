"""Dart and Flutter: the VM's numbered frames and the terse style of package:stack_trace."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    Reader,
    frame_rule,
    rule,
    skip,
)

NAME = "dart"


def _unhandled(reader: Reader, match: re.Match[str]) -> bool:
    error_type, message = _split(match.groupdict().get("message") or "")
    reader.open(NAME, error_type, message)
    return True


def _split(line: str) -> tuple[str, str]:
    """Dart prints an error's `toString`, which begins with its kind for the common ones."""
    match = re.match(r"([A-Za-z_]\w*(?: \w+){0,2})(?: \([^()]*\))?: (.*)", line)
    return (match[1], match[2]) if match is not None else ("", line)


def _other(reader: Reader, line: str) -> bool:
    """The line after `Unhandled [Ee]xception:` is the error's text."""
    trace = reader.current
    if trace is None or trace.error_type or trace.message or trace.frames or not line.strip():
        return False
    trace.error_type, trace.message = _split(line.strip())
    reader.touch()
    return True


_SOURCE = r"(?P<file>(?:[a-z-]+:)?[^\s()][^()\n]{0,500}?)"

FAMILY = Family(
    name=NAME,
    hint=re.compile(r"^#\d+ {2,}|nhandled [Ee]xception|asynchronous suspension|\.dart"),
    rules=(
        rule(r"Unhandled exception:$", _unhandled),
        rule(r"\[ERROR:flutter.*\] Unhandled Exception: (?P<message>.*)$", _unhandled),
        frame_rule(
            NAME,
            rf"^#\d+ {{2,}}(?P<function>\S.{{0,300}}?) \({_SOURCE}(?::(?P<line>\d+))?(?::(?P<column>\d+))?\)$",
        ),
        rule(r"^<asynchronous suspension>", skip),
        frame_rule(
            NAME,
            r"^(?P<file>(?:package:|dart:)\S{1,500}|\S{1,500}\.dart) (?P<line>\d+):(?P<column>\d+) +(?P<function>\S.{0,300})$",
        ),
    ),
    other=_other,
)
