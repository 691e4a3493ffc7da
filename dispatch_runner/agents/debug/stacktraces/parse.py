"""From text to traces: one pass, line by line, driven by the languages' tables."""

from __future__ import annotations

import re

from dispatch_runner.agents.debug.stacktraces import (
    dart,
    dotnet,
    go,
    javascript,
    jvm,
    php,
    python,
    ruby,
    rust,
)
from dispatch_runner.agents.debug.stacktraces.reader import Family, RawTrace, Reader

FAMILIES: tuple[Family, ...] = (
    python.FAMILY,
    go.FAMILY,
    rust.FAMILY,
    ruby.FAMILY,
    php.FAMILY,
    jvm.FAMILY,
    dotnet.FAMILY,
    javascript.FAMILY,
    dart.FAMILY,
)
BY_NAME = {family.name: family for family in FAMILIES}

LONGEST_LINE = 2_000
"""Longer lines are cut before they are matched: no form of frame is that long."""

ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]{0,100}[ -/]{0,10}[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)?|[@-Z\\-_])"
)
BARE_ERROR = re.compile(
    r"^\s*(?:Uncaught )?(?P<type>[A-Za-z_][\w.$]{0,200}(?:Error|Exception|Exit|Interrupt))"
    r"(?:: (?P<message>.*))?$"
)


def parse(text: str) -> list[RawTrace]:
    """Every trace in the text, in the order of printing, the raising frame of each first.

    Any text is accepted; time grows linearly with its length. Colours are ignored, lines longer
    than 2,000 characters are cut, repeated chains are counted instead of listed again. A text with
    an error line but no frame gives a trace without frames.
    """
    reader = Reader()
    bare: tuple[str, str] | None = None
    for index, line in enumerate(_lines(text)):
        reader.index = index
        if not _read(reader, line) and (match := BARE_ERROR.match(line)) is not None:
            bare = (match["type"], match["message"] or "")
    traces = [_finished(trace) for trace in reader.traces if trace.frames or trace.error_type]
    if not traces:
        return _without_frames(reader, bare)
    return _distinct(traces)


def _lines(text: str) -> list[str]:
    if "\x1b" in text:
        text = ESCAPES.sub("", text)
    return [line[:LONGEST_LINE].rstrip() for line in text.split("\n")]


def _read(reader: Reader, line: str) -> bool:
    """Offer the line to the language being read, then to the others."""
    if not line:
        return False
    current = BY_NAME[reader.current.language] if reader.current is not None else None
    if current is not None and (
        _apply(reader, current, line) or (current.other is not None and current.other(reader, line))
    ):
        return True
    if any(_apply(reader, family, line) for family in FAMILIES if family is not current):
        return True
    if reader.closed and reader.index == reader.last + 1:
        reader.note(line)
        return True
    return False


def _apply(reader: Reader, family: Family, line: str) -> bool:
    if family.hint.search(line) is None:
        return False
    for rule in family.rules:
        match = rule.pattern.search(line)
        if match is not None and rule.action(reader, match):
            return True
    return False


def _finished(trace: RawTrace) -> RawTrace:
    if BY_NAME[trace.language].innermost_last:
        trace.frames.reverse()
    trace.complete = bool(trace.frames) and bool(trace.error_type)
    return trace


def _without_frames(reader: Reader, bare: tuple[str, str] | None) -> list[RawTrace]:
    if reader.header is not None and (reader.header.error_type or reader.header.message):
        known = reader.header.language if reader.header.language != "javascript" else ""
        return [RawTrace(known, reader.header.error_type, reader.header.message)]
    return [RawTrace("", bare[0], bare[1])] if bare is not None else []


def _distinct(traces: list[RawTrace]) -> list[RawTrace]:
    """One copy of each chain; further ones raise its count."""
    chains: dict[int, list[RawTrace]] = {}
    for trace in traces:
        chains.setdefault(trace.chain, []).append(trace)
    seen: dict[tuple[object, ...], list[RawTrace]] = {}
    for chain in chains.values():
        key = tuple(_key(trace) for trace in chain)
        first = seen.setdefault(key, chain)
        if first is not chain:
            for trace in first:
                trace.occurrences += 1
    return [trace for chain in seen.values() for trace in chain]


def _key(trace: RawTrace) -> tuple[object, ...]:
    frames = tuple((frame.file, frame.line, frame.function) for frame in trace.frames)
    return trace.error_type, trace.message, trace.relation, frames
