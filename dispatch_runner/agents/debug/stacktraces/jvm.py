"""Java and Kotlin: causes, suppressed errors, frames in common."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    RawFrame,
    Reader,
    header_rule,
    number,
    rule,
    skip,
    text,
)

NAME = "java"

_TYPE = r"(?P<type>(?:[a-zA-Z_$][\w$]*\.)*[A-Z][\w$]*)"


def _frame(reader: Reader, match: re.Match[str]) -> bool:
    """The class's package is the file's folder: `a.b.C` in `C.java` is `a/b/C.java`."""
    function = text(match, "function")
    file = text(match, "file")
    package = function.split(".")[:-2]
    folder = "/".join(part for part in package if part[:1].islower())
    path = f"{folder}/{file}" if folder and file else file
    reader.frame(NAME, RawFrame(path, number(match, "line"), function))
    return True


FAMILY = Family(
    name=NAME,
    hint=re.compile(
        r"\bat [\w$./@<>-]+\(|Caused by: |Suppressed: |\.\.\. \d+ |\w\.\w+(?:: |$)|in thread"
    ),
    rules=(
        rule(
            r"^\s*at (?:[\w.@$-]{0,200}/{1,2}){0,2}(?P<function>(?:[\w$-]+\.)+(?:[\w$-]+|<\w+>))"
            r"\((?:(?P<file>[\w$-]+\.(?:java|kt|kts|scala|groovy|clj))(?::(?P<line>\d+))?"
            r"|Native Method|Unknown Source)\)",
            _frame,
        ),
        rule(r"^\s*\.\.\. \d+ (?:more|common frames omitted)", skip),
        header_rule(NAME, rf"^\s*Caused by: {_TYPE}(?:: (?P<message>.*))?$", "cause"),
        header_rule(NAME, rf"^\s*Suppressed: {_TYPE}(?:: (?P<message>.*))?$", "suppressed"),
        header_rule(
            NAME, rf"Exception in thread \"[^\"]{{0,200}}\" {_TYPE}(?:: (?P<message>.*))?$"
        ),
        header_rule(
            NAME,
            r"^\s*(?P<type>(?:[a-z_][\w$]*\.){1,20}[A-Z][\w$]*)(?:: (?P<message>.*))?$",
        ),
    ),
)
