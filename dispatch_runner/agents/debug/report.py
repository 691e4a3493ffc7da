"""The parts of the output that only list what was seen."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_runner.agents.debug import bfros
from dispatch_runner.agents.debug.candidates import Candidate
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.models import (
    Bfros,
    Depth,
    FileReport,
    Frame,
    FunctionSize,
    StackTrace,
)
from dispatch_runner.agents.debug.ownership import is_own
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.stacktraces import RawFrame, RawTrace
from dispatch_runner.agents.debug.structure import Structure, outline

MOST_TRACES = 50
FIRST_FRAMES = 40
LAST_FRAMES = 20
MOST_COMPLEX = 5
TEXT_SHOWN = 2_000


def summary(ranked: Sequence[Candidate], analysis: Bfros, material: Material) -> str:
    """One or two sentences for a person in a hurry."""
    if not ranked:
        files = len(material.sources)
        return (
            f"no evidence of a fault was found: no trace or finding points into the {files} files"
        )
    cause = analysis.root_cause
    kind = "cause" if cause.determined or not cause.kind else "likely cause, not proven"
    return f"most suspect: {bfros.place_of(ranked[0])}; {kind}: {cause.statement}"


def traces(material: Material, origins: Sequence[int | None]) -> list[StackTrace]:
    """What was read, bounded: 50 traces of 60 frames."""
    pairs = list(zip(material.traces, origins, strict=True))[:MOST_TRACES]
    return [_trace(trace, source, material.mapper) for trace, source in pairs]


def _trace(trace: RawTrace, source: int | None, mapper: Mapper) -> StackTrace:
    frames = trace.frames
    omitted = max(len(frames) - FIRST_FRAMES - LAST_FRAMES, 0)
    if omitted:
        frames = frames[:FIRST_FRAMES] + frames[-LAST_FRAMES:]
    return StackTrace(
        source=source,
        chain=trace.chain,
        relation=trace.relation,
        language=trace.language,
        error_type=trace.error_type,
        message=trace.message[:TEXT_SHOWN],
        notes=trace.notes,
        frames=[_frame(frame, trace.language, mapper) for frame in frames],
        frames_omitted=omitted,
        occurrences=trace.occurrences,
    )


def _frame(frame: RawFrame, language: str, mapper: Mapper) -> Frame:
    place = mapper.place(frame)
    return Frame(
        file=frame.file,
        line=frame.line,
        column=frame.column,
        function=frame.function,
        code=frame.code,
        own=place is not None or is_own(language, frame),
        affected_file=place.source.path if place is not None else None,
        affected_line=place.line if place is not None else None,
        repeated=frame.repeated,
    )


def files(material: Material, depth: Depth) -> list[FileReport]:
    """What is known of each affected file, in the order given."""
    return [_file(source, material, depth) for source in material.sources.values()]


def _file(source: Source, material: Material, depth: Depth) -> FileReport:
    code = material.code(source.path)
    known = material.structures.get(source.path)
    if code is not None:
        known = outline(code, sized=depth != "quick")
    return FileReport(
        file=source.path,
        status=source.status,
        language=source.language,
        lines=len(source.lines) if source.status == "analysed" else None,
        note=source.note,
        functions=len(known.functions) if known is not None else None,
        most_complex=_most_complex(known) if depth != "quick" else [],
    )


def _most_complex(known: Structure | None) -> list[FunctionSize]:
    parts = known.functions if known is not None else []
    largest = sorted(parts, key=lambda item: (-item.complexity, item.line_start))[:MOST_COMPLEX]
    return [
        FunctionSize(
            name=item.name,
            line_start=item.line_start,
            line_end=item.line_end,
            complexity=item.complexity,
        )
        for item in largest
    ]
