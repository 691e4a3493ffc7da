"""The analysis from input to output: reads, parses, lints, judges, reports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.to_thread

from dispatch_runner.agents.debug import bfros, deep, dynamic, report
from dispatch_runner.agents.debug.candidates import Candidate, as_suspects
from dispatch_runner.agents.debug.history import last_changes
from dispatch_runner.agents.debug.hypothesis import judge
from dispatch_runner.agents.debug.lint import ToolProblem, run_mypy, run_ruff
from dispatch_runner.agents.debug.localise import (
    Material,
    add_description,
    add_findings,
    add_traces,
)
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.models import (
    Change,
    DebugInput,
    DebugOutput,
    Depth,
    Finding,
    NotAssessed,
)
from dispatch_runner.agents.debug.pycode import Broken, PyCode, parse_python
from dispatch_runner.agents.debug.sources import Source, read_source, unread_source
from dispatch_runner.agents.debug.stacktraces import RawFrame, RawTrace, parse
from dispatch_runner.agents.debug.structure import NoGrammar, structure
from dispatch_runner.agents.debug.suspicious import suspicious
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject

MOST_FILES = 500
MOST_TRACES = 100
LONGEST_TEXT = 20_000_000
"""Characters of one error text that are read; of a longer one head and tail."""
MOST_FINDINGS = 200
MOST_SYMPTOMS = 20
"""Different tracebacks of failing tests that are looked at."""
HISTORY_SUSPECTS = 3
UNCOMMITTED = 0.1
SYNTAX_ERROR = 0.9
NOT_UNDERSTOOD = 0.3
"""A grammar may be older than the code."""
ENOUGH = 0.2
"""The score from which a place that no trace passes is evidence by itself."""


@dataclass(slots=True)
class Job:
    """One analysis as it grows."""

    asked: DebugInput
    hurry: anyio.Event | None
    material: Material
    trace_sources: list[int | None]
    """For each trace of the material, the index of the text that it was read from."""
    running: deep.Running | None = None
    ran: deep.Deep | None = None
    findings: list[Finding] = field(default_factory=list)
    history: list[Change] = field(default_factory=list)
    not_assessed: list[NotAssessed] = field(default_factory=list)

    def omit(self, what: str, why: str) -> None:
        self.not_assessed.append(NotAssessed(what=what, why=why))

    @property
    def depth(self) -> Depth:
        return self.asked.analysis_depth


async def analyse(
    asked: DebugInput, hurry: anyio.Event | None, running: deep.Running | None = None
) -> tuple[JsonObject, list[str]]:
    """The analysis (a `DebugOutput` as JSON), and warnings about files that were not analysed.

    Processor-bound work is done in a thread, a file or a text at a time, so that a cancellation
    waits for one of them at most. Nothing of the affected files is run or imported, but by the named
    tests at depth `deep`, in child processes; `running` null: never.

    Raises:
        AgentError: `missing_file`, when none of the affected files, or a named test, does not exist.
    """
    job = await _gather(asked, hurry)
    job.running = running
    await _find(job)
    await _run_tests(job)
    ranked = await anyio.to_thread.run_sync(_rank, job)
    if job.depth != "quick":
        ranked = await _add_history(job, ranked)
    output = await anyio.to_thread.run_sync(_report, job, ranked)
    warnings = [
        f"affected file {source.path!r}: {source.note}"
        for source in job.material.sources.values()
        if source.status != "analysed"
    ]
    return output, warnings


async def _gather(asked: DebugInput, hurry: anyio.Event | None) -> Job:
    """Read everything, and leave out what is too much, saying so."""
    sources: dict[str, Source] = {}
    codes: dict[str, PyCode | Broken] = {}
    for number, path in enumerate(dict.fromkeys(asked.affected_files)):
        source, code = await anyio.to_thread.run_sync(_read, path, number)
        sources[path] = source
        if code is not None:
            codes[path] = code
    _require_one(list(sources.values()))
    traces: list[RawTrace] = []
    origins: list[int | None] = []
    omitted: list[NotAssessed] = []
    for index, text in enumerate(asked.error_traces):
        found = await anyio.to_thread.run_sync(_parse, text, len(traces))
        traces += found
        origins += [index] * len(found)
        if len(text) > LONGEST_TEXT:
            why = f"of {len(text):,} characters the first and last {LONGEST_TEXT // 2:,} are read"
            omitted.append(NotAssessed(what=f"the middle of error_traces[{index}]", why=why))
    material = Material(sources, codes, traces[:MOST_TRACES], Mapper(list(sources.values())))
    job = Job(asked, hurry, material, origins[:MOST_TRACES], not_assessed=omitted)
    if len(traces) > MOST_TRACES:
        further = f"{len(traces) - MOST_TRACES} further stack traces"
        job.omit(further, f"only the first {MOST_TRACES} are analysed")
    _omissions(job)
    return job


def _read(path: str, number: int) -> tuple[Source, PyCode | Broken | None]:
    if number >= MOST_FILES:
        return unread_source(path, f"only the first {MOST_FILES} files are analysed"), None
    source = read_source(path)
    if source.status == "analysed" and source.language == "python":
        return source, parse_python(source)
    return source, None


def _parse(text: str, first_chain: int) -> list[RawTrace]:
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


async def _run_tests(job: Job) -> None:
    """The named tests, where the depth and the operator allow it; why not, where not."""
    named = bool(job.asked.test_paths or job.asked.test_command)
    if job.depth != "deep" or not named or job.running is None:
        if job.depth == "deep" or named:
            why = "no tests are named in `test_paths` or `test_command`"
            if named:
                why = f"depth is `{job.depth}`" if job.depth != "deep" else "nothing may be run"
            job.omit("running tests", why)
        return
    ran = await deep.run_tests(job.asked, job.material, job.running, job.hurry)
    if isinstance(ran, str):
        job.omit("running tests", ran)
        return
    job.ran = ran
    job.not_assessed += ran.not_assessed
    job.material.is_test = partial(deep.is_test_file, test_paths=job.asked.test_paths)
    await anyio.to_thread.run_sync(_add_symptoms, job, ran)


def _add_symptoms(job: Job, ran: deep.Deep) -> None:
    """The tracebacks of failing tests and of what could not be imported, each kind once."""
    texts = [test.text for test in ran.observed.failing if test.outcome == "failed"]
    texts += ran.observed.problems
    if not ran.observed.tests:
        texts.append(ran.observed.printed)
    seen: set[tuple[object, ...]] = set()
    for text in texts:
        first = max((trace.chain for trace in job.material.traces), default=-1) + 1
        found = _parse(text, first)
        kind = tuple((trace.error_type, *map(_place, trace.frames)) for trace in found)
        if not found or kind in seen or len(seen) >= MOST_SYMPTOMS:
            continue
        seen.add(kind)
        job.material.symptoms |= {trace.chain for trace in found}
        job.material.traces = [*job.material.traces, *found]
        job.trace_sources += [None] * len(found)


def _place(frame: RawFrame) -> tuple[str, int | None]:
    return frame.file, frame.line


async def _find(job: Job) -> None:
    """Static findings: our own, ruff's and, beyond `quick`, mypy's, at once."""
    codes = job.material.codes
    for source in job.material.sources.values():
        if source.status == "analysed" and source.language != "python":
            await anyio.to_thread.run_sync(_structure, job, source)
    if not codes:
        return
    async with anyio.create_task_group() as group:
        group.start_soon(_ruff, job, list(codes))
        parsed = [path for path, code in codes.items() if isinstance(code, PyCode)]
        if job.depth != "quick" and parsed:
            group.start_soon(_mypy, job, parsed)
        for code in codes.values():
            if isinstance(code, PyCode):
                job.findings += await anyio.to_thread.run_sync(suspicious, code)


def _structure(job: Job, source: Source) -> None:
    """Functions, classes and what does not parse in a file of another language."""
    try:
        found = structure(source)
    except NoGrammar as problem:
        job.omit(f"structure of {source.path}", str(problem))
        return
    job.material.structures[source.path] = found
    job.omit(f"lint of {source.path}", "lint and type checks cover Python")
    for line in found.broken[:1]:
        job.findings.append(
            Finding(
                file=source.path,
                line=line,
                column=None,
                source="tree-sitter",
                rule="syntax-error",
                message="the grammar does not understand the code here",
                function=found.scope_at(line),
                weight=NOT_UNDERSTOOD,
            )
        )


def _add_broken(job: Job, accepted: frozenset[str]) -> None:
    """Files that do not parse. What ruff accepts is newer than the Python that we run on."""
    for path, code in job.material.codes.items():
        if isinstance(code, PyCode):
            continue
        if path in accepted or not code.syntax:
            version = ".".join(map(str, sys.version_info[:2]))
            job.omit(f"structure of {path}", f"Python {version} does not parse it: {code.message}")
            continue
        job.findings.append(
            Finding(
                file=path,
                line=code.line,
                column=code.column,
                source="ast",
                rule="syntax-error",
                message=code.message,
                function="",
                weight=SYNTAX_ERROR,
            )
        )


async def _ruff(job: Job, paths: list[str]) -> None:
    try:
        found = await run_ruff(paths, job.depth, job.material.scope_of, job.hurry)
    except ToolProblem as problem:
        job.omit("lint", str(problem))
        _add_broken(job, frozenset())
        return
    broken = {path for path, code in job.material.codes.items() if isinstance(code, Broken)}
    refused = {item.file for item in found if item.rule == "invalid-syntax"}
    _add_broken(job, frozenset(broken - refused))
    job.findings += [
        item for item in found if not (item.rule == "invalid-syntax" and item.file in broken)
    ]


async def _mypy(job: Job, paths: list[str]) -> None:
    try:
        job.findings += await run_mypy(paths, job.material.scope_of, job.hurry)
    except ToolProblem as problem:
        job.omit("types", str(problem))


def _rank(job: Job) -> list[Candidate]:
    job.findings.sort(
        key=lambda item: (-item.weight, item.file, item.line, item.rule, item.message)
    )
    add_traces(job.material)
    add_findings(job.material, job.findings)
    add_description(job.material, job.asked.problem_description)
    if job.ran is not None and job.ran.observed.failing:
        dynamic.add_spectrum(job.material, job.ran.observed)
        if job.ran.trials is not None and job.ran.trials.failing:
            dynamic.add_trials(job.material, job.ran.trials)
    return job.material.candidates.ranked()


async def _add_history(job: Job, ranked: list[Candidate]) -> list[Candidate]:
    sources = job.material.sources
    known = [item for item in ranked if item.file in sources and sources[item.file].lines]
    for item in known[:HISTORY_SUSPECTS]:
        try:
            changes = await last_changes(
                sources[item.file], item.line_start, item.line_end, job.hurry
            )
        except ToolProblem as problem:
            job.omit(f"history of {item.file}", str(problem))
            break
        job.history += changes
        if any(not change.commit for change in changes):
            item.speak_for(
                "these lines, or lines near them, differ from the last commit", UNCOMMITTED
            )
    return job.material.candidates.ranked()


def _report(job: Job, ranked: list[Candidate]) -> JsonObject:
    material, asked = job.material, job.asked
    evidence = any(item.traced or item.score >= ENOUGH for item in ranked)
    if len(job.findings) > MOST_FINDINGS:
        job.omit(f"{len(job.findings) - MOST_FINDINGS} findings", f"{MOST_FINDINGS} are listed")
    tests = deep.report(job.ran) if job.ran is not None else None
    analysis = bfros.analysis(asked.problem_description, ranked, material, job.findings, tests)
    output = DebugOutput(
        summary=report.summary(ranked, analysis, material),
        evidence_found=evidence,
        depth=job.depth,
        bfros=analysis,
        suspects=as_suspects(ranked, material.sources, material.function_lines),
        hypothesis=judge(asked.hypothesis, ranked, material, job.ran)
        if asked.hypothesis.strip()
        else None,
        confidence=bfros.confidence(ranked),
        traces=report.traces(material, job.trace_sources),
        findings=job.findings[:MOST_FINDINGS],
        history=job.history,
        tests=tests,
        files=report.files(material, job.depth),
        not_assessed=job.not_assessed,
    )
    return output.model_dump(mode="json")
