"""C#: .NET exceptions with inner exceptions."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    RawFrame,
    Reader,
    number,
    rule,
    skip,
    text,
)

NAME = "csharp"

_TYPE = r"(?P<type>(?:[A-Za-z_][\w`]*\.){1,20}[A-Z][\w`+]*|[A-Z]\w*Exception)"


def _error(reader: Reader, match: re.Match[str]) -> bool:
    reader.remember(NAME, text(match, "type"), text(match, "message"))
    return True


def _inner(reader: Reader, match: re.Match[str]) -> bool:
    """An inner exception's frames are printed before those of the outer one."""
    header = reader.header
    if header is not None and header.language == NAME:
        reader.open(NAME, header.error_type, header.message)
    reader.open(NAME, text(match, "type"), text(match, "message"), "cause", same_chain=True)
    return True


def _end_of_inner(reader: Reader, match: re.Match[str]) -> bool:
    """Go back to the nearest outer exception of this chain that has no frames yet."""
    current = reader.current
    if current is None or current.language != NAME:
        return False
    for trace in reversed(reader.traces):
        if trace.chain != current.chain:
            break
        if not trace.frames and trace is not current:
            reader.current = trace
            break
    reader.touch()
    return True


def _frame(reader: Reader, match: re.Match[str]) -> bool:
    frame = RawFrame(text(match, "file"), number(match, "line"), text(match, "function"))
    reader.frame(NAME, frame)
    return True


FAMILY = Family(
    name=NAME,
    hint=re.compile(r"\bat \S+\(|---|:line \d|[Ee]xception"),
    rules=(
        rule(rf"^\s*---> (?:\(Inner Exception #\d+\) )?{_TYPE}(?:: (?P<message>.*))?$", _inner),
        rule(r"^\s*--- End of inner exception stack trace ---", _end_of_inner),
        rule(r"^\s*--- End of stack trace from previous location", skip),
        rule(
            r"^\s*at (?P<function>[\w.<>`+|\[\], $&*]{1,500}\([^()]{0,500}\)(?:\.\w+\(\))?)"
            r"(?: in (?P<file>.{1,1000}?):line (?P<line>\d+))$",
            _frame,
        ),
        rule(
            r"^   at (?P<function>[\w.<>`+|\[\],$&*]{1,500}\((?:[\w.<>`\[\]&*]+ \w+(?:, )?)*\))$",
            _frame,
        ),
        rule(
            rf"^\s*(?:Unhandled exception\. |.{{0,80}}Unhandled Exception: ){_TYPE}(?:: (?P<message>.*))?$",
            _error,
        ),
        rule(
            r"^(?P<type>(?:[A-Z]\w*\.){1,20}[A-Z]\w*Exception)(?: \(0x[0-9A-F]+\))?(?:: (?P<message>.*))?$",
            _error,
        ),
    ),
)
