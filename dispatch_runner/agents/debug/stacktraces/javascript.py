"""JavaScript and TypeScript: V8 (Node, Chrome, Deno), Firefox and Safari."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    frame_rule,
    header_rule,
    rule,
    skip,
)

NAME = "javascript"

_PLACE = r"(?P<file>[^\s()][^()\n]{0,1000}?):(?P<line>\d+):(?P<column>\d+)"
_SCRIPT = r"(?:\.[cm]?[jt]sx?|\.vue|\.svelte|\.html?|/|node:[\w/]+|<anonymous>)"

FAMILY = Family(
    name=NAME,
    hint=re.compile(r"\bat \S|@|(?:Error|Exception)\b|\[cause\]"),
    rules=(
        header_rule(
            NAME,
            r"\[cause\]: (?P<type>[A-Za-z_$][\w$.]{0,100})(?: \[\w+\])?(?:: (?P<message>.*))?",
            "cause",
        ),
        rule(r"^\s+at (?:async )?[\w.$<> ]{1,200} \((?:index \d+|<anonymous>|native)\)$", skip),
        frame_rule(
            NAME,
            r"^\s*at (?:async )?(?P<function>\S.{0,300}?) \(eval at .{0,600}?\("
            rf"{_PLACE}\)",
        ),
        frame_rule(NAME, rf"^\s*at (?:async )?(?P<function>[^\s(].{{0,300}}?) \({_PLACE}\)"),
        frame_rule(
            NAME,
            r"^\s*at (?:async )?(?P<file>(?:[a-z-]+:/{0,3}|[A-Za-z]:[\\/]|/|\.{0,2}/)[^()\n]{1,1000}?)"
            r":(?P<line>\d+):(?P<column>\d+)(?: \{)?$",
        ),
        frame_rule(
            NAME,
            r"^\s*(?P<function>[^@\s]{0,300}|(?:global|eval|module) code)@"
            rf"(?P<file>[^\s@]{{0,1000}}{_SCRIPT}[^\s@:]{{0,300}}):(?P<line>\d+)"
            r"(?::(?P<column>\d+))?$",
        ),
        rule(r"^\s*(?:[^@\s]{0,300}@)?\[native code\]$", skip),
        header_rule(
            NAME,
            r"^(?:\s*Unhandled Promise Rejection: |.{0,80}\bUncaught (?:\(in promise\) )?)?"
            r"(?:error: )?(?P<type>(?:[A-Z][\w$]{0,100})?(?:Error|Exception|Rejection))"
            r"(?: \[\w+\])?: (?P<message>.*)$",
        ),
        header_rule(NAME, r"^(?P<type>[A-Z][\w$]{0,100}Error|Error)(?P<message>)$"),
    ),
)
