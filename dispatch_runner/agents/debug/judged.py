"""An analysis from an agent's judgement: its places are looked up, and tools fill in the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dispatch_runner.agents.debug import bfros
from dispatch_runner.agents.debug.analyse import ENOUGH, report_of
from dispatch_runner.agents.debug.candidates import (
    LOWEST_SCORE,
    MOST_SUSPECTS,
    Candidate,
    as_suspects,
)
from dispatch_runner.agents.debug.job import Job
from dispatch_runner.agents.debug.judgement import JudgedSuspect, Judgement
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.models import Bfros, DebugInput, HypothesisResult
from dispatch_runner.agents.debug.sources import Source, read_source
from dispatch_runner.agents.reading import check_roots
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots

QUOTED = 120


@dataclass(frozen=True, slots=True)
class Located:
    """A suspect whose place was looked up."""

    suspect: JudgedSuspect
    source: Source


def locate(judgement: Judgement, asked: DebugInput, roots: AllowedRoots) -> list[Located]:
    """The suspects with the files that they name.

    Raises `AgentError` (`bad_output`) with every place that is not there, or where other code stands;
    and for a hypothesis that was given and not judged.
    """
    sources = {path: read_source(path) for path in dict.fromkeys(asked.affected_files)}
    mapper = Mapper(list(sources.values()))
    located, problems = [], []
    for number, suspect in enumerate(judgement.suspects[:MOST_SUSPECTS], 1):
        source = _source(suspect.file, sources, mapper, roots)
        problem = _problem(suspect, source)
        if source is None or problem:
            problems.append(f"suspect {number}: {problem}")
        else:
            located.append(Located(suspect, source))
    if asked.hypothesis.strip() and judgement.hypothesis is None:
        problems.append("the hypothesis was not judged: 'hypothesis' is null")
    if problems:
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            problems[0] + (f" (and {len(problems) - 1} more)" if problems[1:] else ""),
            hint="name files by their absolute paths and lines by their numbers; copy the code exactly",
            details={"problems": problems},
        )
    return located


def _source(
    file: str, sources: Mapping[str, Source], mapper: Mapper, roots: AllowedRoots
) -> Source | None:
    """The file that is meant: an affected one, else one in the allowed folders; or null."""
    known = sources.get(file) or mapper.source(file)
    if known is not None or not file.startswith("/"):
        return known
    try:
        check_roots(file, roots)
    except AgentError:
        return None
    return read_source(file)


def _problem(suspect: JudgedSuspect, source: Source | None) -> str:
    """Why it is not a place; or empty."""
    if source is None or source.status != "analysed":
        why = source.note if source is not None else "it is not among the affected files"
        return f"file {suspect.file!r} cannot be looked at: {why}"
    first, last = suspect.line_start, suspect.line_end
    if not first <= last <= len(source.lines):
        return f"{source.path!r} has no lines {first} to {last}; it has {len(source.lines)} lines"
    quoted = [_squeezed(line) for line in suspect.code.splitlines() if line.strip()]
    there = [_squeezed(line) for line in source.lines[first - 1 : last]]
    if quoted and quoted[0] in there:
        return ""
    shown = source.lines[first - 1].strip()[:QUOTED]
    return f"its code is not what stands at line {first} of {source.path!r}: {shown!r}"


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def analysis_of(
    judgement: Judgement, located: Sequence[Located], job: Job, found: Sequence[Candidate]
) -> JsonObject:
    """The `DebugOutput`: the judgement, scored by its own weights and by what tools found there.

    Raises `AgentError` (`unverified`), with what tools found in its details, when it names no suspect
    that anything speaks for.
    """
    ranked = sorted(_candidates(located, found), key=lambda item: -item.score)
    output = report_of(job, list(found))
    if not ranked or ranked[0].score < LOWEST_SCORE:
        raise AgentError(
            ErrorType.UNVERIFIED,
            f"the agent found no evidence of a fault: {judgement.summary[:300]}",
            hint="give the full error output in `error_traces`, or name the files that it "
            "mentions in `affected_files`",
            details={"analysis": output},
        )
    sources = {each.source.path: each.source for each in located}
    agreed = any(_meet(ranked[0], item) and item.score >= ENOUGH for item in found)
    parts = Bfros(
        behaviour=judgement.behaviour,
        fault_localisation=bfros.localisation(ranked, job.material),
        root_cause=judgement.root_cause,
        optimal_solution=judgement.optimal_solution,
        solution_validation=judgement.solution_validation,
    )
    hypothesis = _hypothesis(judgement, job)
    suspects = as_suspects(ranked, sources, job.material.function_lines)
    return {
        **output,
        "summary": judgement.summary,
        "evidence_found": True,
        "bfros": parts.model_dump(mode="json"),
        "suspects": [suspect.model_dump(mode="json") for suspect in suspects],
        "hypothesis": hypothesis.model_dump(mode="json") if hypothesis else None,
        "confidence": bfros.confidence(ranked, "agreed" if agreed else "read").model_dump(
            mode="json"
        ),
    }


def _candidates(located: Sequence[Located], found: Sequence[Candidate]) -> Iterator[Candidate]:
    for suspect, source in ((each.suspect, each.source) for each in located):
        made = Candidate(
            source.path, suspect.line_start, suspect.line_end, suspect.function,
            check=suspect.deciding_check,
        )  # fmt: skip
        for item in suspect.evidence_for:
            made.speak_for(item.observation, item.weight)
        for item in suspect.evidence_against:
            made.speak_against(item.observation, item.weight)
        for other in (other for other in found if _meet(made, other)):
            for item in other.evidence_for:
                made.speak_for(f"found by tools: {item.observation}", item.weight)
        if made.evidence_for:
            yield made


def _meet(first: Candidate, second: Candidate) -> bool:
    return (
        first.file == second.file
        and first.line_start <= second.line_end
        and second.line_start <= first.line_end
    )


def _hypothesis(judgement: Judgement, job: Job) -> HypothesisResult | None:
    told, judged = job.asked.hypothesis, judgement.hypothesis
    if judged is None or not told.strip():
        return None
    return HypothesisResult(hypothesis=told, verdict=judged.verdict, why=judged.why)
