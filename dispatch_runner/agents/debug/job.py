"""One analysis as it grows: what was asked, read, found, and left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from dispatch_runner.agents.debug.deep import Deep
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.models import (
    Change,
    DebugInput,
    Depth,
    Finding,
    NotAssessed,
)
from dispatch_runner.agents.debug.sources import Source, read_source, unread_source
from dispatch_runner.agents.debug.stacktraces import RawTrace, parse
from dispatch_runner.agents.debug.threads import each_in_thread, in_thread
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType

MOST_FILES = 500
MOST_TRACES = 100
LONGEST_TEXT = 20_000_000
"""Characters of one error text that are read; of a longer one head and tail."""


@dataclass(slots=True)
class Job:
    """One analysis."""

    asked: DebugInput
    hurry: anyio.Event | None
    material: Material
    trace_sources: list[int | None]
    """For each trace of the material, the index of the text that it was read from."""
    ran: Deep | None = None
    findings: list[Finding] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    not_assessed: list[NotAssessed] = field(default_factory=list)

    def omit(self, what: str, why: str) -> None:
        self.not_assessed.append(NotAssessed(what=what, why=why))

    def warnings(self) -> list[str]:
        """About files that were not analysed."""
        return [
            f"affected file {source.path!r}: {source.note}"
            for source in self.material.sources.values()
            if source.status != "analysed"
        ]

    @property
    def depth(self) -> Depth:
        return self.asked.analysis_depth

    @property
    def python(self) -> list[Source]:
        """The Python files that could be read."""
        return [
            source
            for source in self.material.sources.values()
            if source.status == "analysed" and source.language == "python"
        ]


async def gather(asked: DebugInput, hurry: anyio.Event | None) -> Job:
    """Reads every file and every trace, and leaves out what is too much, saying so.

    Raises:
        AgentError: `missing_file`, when none of the affected files exists.
    """
    numbered = enumerate(dict.fromkeys(asked.affected_files))
    sources = await each_in_thread(_read, numbered)
    _require_one(sources)
    traces: list[RawTrace] = []
    origins: list[int | None] = []
    omitted: list[NotAssessed] = []
    for index, text in enumerate(asked.error_traces):
        found = await in_thread(parse_text, text, len(traces))
        traces += found
        origins += [index] * len(found)
        if len(text) > LONGEST_TEXT:
            why = f"of {len(text):,} characters the first and last {LONGEST_TEXT // 2:,} are read"
            omitted.append(NotAssessed(what=f"the middle of error_traces[{index}]", why=why))
    by_path = {source.path: source for source in sources}
    material = Material(by_path, {}, traces[:MOST_TRACES], Mapper(sources))
    job = Job(asked, hurry, material, origins[:MOST_TRACES], not_assessed=omitted)
    if len(traces) > MOST_TRACES:
        further = f"{len(traces) - MOST_TRACES} further stack traces"
        job.omit(further, f"only the first {MOST_TRACES} are analysed")
    _omissions(job)
    return job


def _read(numbered: tuple[int, str]) -> Source:
    number, path = numbered
    if number >= MOST_FILES:
        return unread_source(path, f"only the first {MOST_FILES} files are analysed")
    return read_source(path)


def parse_text(text: str, first_chain: int) -> list[RawTrace]:
    """The traces of one text, with chain numbers that no earlier text has."""
    if len(text) > LONGEST_TEXT:
        half = LONGEST_TEXT // 2
        text = f"{text[:half]}\n\n{text[-half:]}"
    found = parse(text)
    for trace in found:
        trace.chain += first_chain
    return found


def _require_one(sources: Sequence[Source]) -> None:
    missing = [source.path for source in sources if source.status == "missing"]
    if len(missing) == len(sources):
        shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise AgentError(
            ErrorType.MISSING_FILE,
            f"none of the affected files exists: {shown}",
            hint="give absolute paths of existing files, or depend on the task that makes them",
            details={"missing": missing[:100]},
        )


def _omissions(job: Job) -> None:
    """What no part of the analysis looks at, for this input."""
    read = {trace.chain for trace in job.material.traces}
    if job.asked.error_traces and not read:
        job.omit(
            "error_traces", "no stack trace or error line of a known language was found in them"
        )
    for source in job.material.sources.values():
        if source.status != "analysed":
            job.omit(source.path, source.note or source.status)
    if job.depth == "quick":
        job.omit("complexity, security, types and history", "depth is `quick`")
