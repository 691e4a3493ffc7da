"""The analysis from input to output: reads, parses, lints, runs tests, judges, reports."""

from __future__ import annotations

from functools import partial

import anyio

from dispatch_runner.agents.debug import bfros, deep, dynamic, report
from dispatch_runner.agents.debug.candidates import Candidate, as_suspects
from dispatch_runner.agents.debug.history import last_changes
from dispatch_runner.agents.debug.hypothesis import judge
from dispatch_runner.agents.debug.job import Job, gather, parse_text
from dispatch_runner.agents.debug.localise import add_description, add_findings, add_traces
from dispatch_runner.agents.debug.models import DebugInput, DebugOutput
from dispatch_runner.agents.debug.stacktraces import RawFrame
from dispatch_runner.agents.debug.static import find
from dispatch_runner.agents.debug.threads import in_thread
from dispatch_runner.analysis.tools import ToolProblem
from dispatch_runner.models import JsonObject

MOST_FINDINGS = 200
MOST_SYMPTOMS = 20
"""Different tracebacks of failing tests that are looked at."""
HISTORY_SUSPECTS = 3
UNCOMMITTED = 0.1
ENOUGH = 0.2
"""The score from which a place that no trace passes is evidence by itself."""


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
    job, ranked = await examine(asked, hurry, running)
    return await in_thread(report_of, job, ranked), job.warnings()


async def examine(
    asked: DebugInput, hurry: anyio.Event | None, running: deep.Running | None = None
) -> tuple[Job, list[Candidate]]:
    """What was read and found, and the places under suspicion, the most suspect first. See `analyse`."""
    job = await gather(asked, hurry)
    await find(job)
    await _run_tests(job, running)
    ranked = await in_thread(_rank, job)
    if job.depth != "quick":
        ranked = await _add_history(job, ranked)
    return job, ranked


async def _run_tests(job: Job, running: deep.Running | None) -> None:
    """The named tests, where the depth and the operator allow it; why not, where not."""
    named = bool(job.asked.test_paths or job.asked.test_command)
    if job.depth != "deep" or not named or running is None:
        if job.depth == "deep" or named:
            why = "no tests are named in `test_paths` or `test_command`"
            if named:
                why = f"depth is `{job.depth}`" if job.depth != "deep" else "nothing may be run"
            job.omit("running tests", why)
        return
    ran = await deep.run_tests(job.asked, job.material, running, job.hurry)
    if isinstance(ran, str):
        job.omit("running tests", ran)
        return
    job.ran = ran
    job.not_assessed += ran.not_assessed
    job.material.is_test = partial(deep.is_test_file, test_paths=job.asked.test_paths)
    await in_thread(_add_symptoms, job, ran)


def _add_symptoms(job: Job, ran: deep.Deep) -> None:
    """The tracebacks of failing tests and of what could not be imported, each kind once."""
    texts = [test.text for test in ran.observed.failing if test.outcome == "failed"]
    texts += ran.observed.problems
    if not ran.observed.tests:
        texts.append(ran.observed.printed)
    seen: set[tuple[object, ...]] = set()
    for text in texts:
        first = max((trace.chain for trace in job.material.traces), default=-1) + 1
        found = parse_text(text, first)
        kind = tuple((trace.error_type, *map(_place, trace.frames)) for trace in found)
        if not found or kind in seen or len(seen) >= MOST_SYMPTOMS:
            continue
        seen.add(kind)
        job.material.symptoms |= {trace.chain for trace in found}
        job.material.traces = [*job.material.traces, *found]
        job.trace_sources += [None] * len(found)


def _place(frame: RawFrame) -> tuple[str, int | None]:
    return frame.file, frame.line


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


def report_of(job: Job, ranked: list[Candidate]) -> JsonObject:
    """The `DebugOutput` as JSON."""
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
