"""Go: panics, fatal errors and goroutine dumps."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces.reader import (
    Family,
    RawFrame,
    Reader,
    Relation,
    number,
    rule,
    skip,
    text,
)

NAME = "go"


def _panic(reader: Reader, match: re.Match[str]) -> bool:
    reader.remember(NAME, text(match, "type"), text(match, "message"))
    return True


def _goroutine(reader: Reader, match: re.Match[str]) -> bool:
    """The first goroutine after a panic is the one that died; the others are bystanders."""
    header = reader.header
    if header is not None and header.language == NAME:
        reader.open(NAME, header.error_type, header.message)
    else:
        known = reader.current is not None and reader.current.language == NAME
        relation: Relation = "thread" if known else "raised"
        reader.open(
            NAME, "", f"goroutine {match['id']} [{match['state']}]", relation, same_chain=known
        )
    return True


def _function(reader: Reader, match: re.Match[str]) -> bool:
    if reader.current is None or reader.current.language != NAME:
        return False
    reader.pending_function = text(match, "function")
    reader.touch()
    return True


def _location(reader: Reader, match: re.Match[str]) -> bool:
    reader.frame(
        NAME, RawFrame(text(match, "file"), number(match, "line"), reader.pending_function)
    )
    reader.pending_function = ""
    return True


FAMILY = Family(
    name=NAME,
    hint=re.compile(r"^panic: |^fatal error: |goroutine |\.go:\d|\)$|^created by |\[signal "),
    rules=(
        rule(r"^(?P<type>panic|fatal error): (?P<message>.*?)(?: \[recovered\].*)?$", _panic),
        rule(r"^\[signal .*\]$", skip),
        rule(r"^goroutine (?P<id>\d+)(?: gp=\S+.*?)? \[(?P<state>[^\]]{1,200})\]:", _goroutine),
        rule(r"^\s+(?P<file>\S.{0,1000}?\.(?:go|s)):(?P<line>\d+)(?: \+0x[0-9a-f]+)?$", _location),
        rule(r"^created by (?P<function>\S+)", _function),
        rule(r"^(?P<function>[^\s()]+(?:\(\*?[^\s()]+\)[^\s()]*)?)\([^()]*\)$", _function),
    ),
)
