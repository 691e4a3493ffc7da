"""Behaviour, fault localisation, root cause, optimal solution, solution validation: the words.

Every sentence is built from evidence. Where there is none, the sentence says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatch_runner.agents.debug.candidates import Candidate, Repair
from dispatch_runner.agents.debug.explain import Explanation
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.models import (
    Behaviour,
    Bfros,
    Confidence,
    FaultLocalisation,
    Finding,
    Level,
    OptimalSolution,
    RootCause,
    SolutionValidation,
    TestRun,
)
from dispatch_runner.agents.debug.stacktraces import RawTrace

NOTHING = "not determined: no trace and no finding says anything about it"
WORTH_FIXING = 0.3
"""Weight from which a tool's own fix is proposed as the solution."""
DETERMINACY = {
    "repaired": (0.9, "a change there makes the failing tests pass and breaks none"),
    "explained": (1.0, "the code explains the message"),
    "partly": (0.8, "the message fits the code, but does not single out one cause"),
    "located": (0.6, "a trace gives the place, but nothing explains the error there"),
    "tested": (0.6, "the tests' lines and changes of them point there, but none mends all of them"),
    "linted": (0.4, "only static findings point there; no error was observed at it"),
    "named": (0.2, "only the problem's description points there"),
    "agreed": (0.9, "an agent read the code, and what tools found points there, too"),
    "read": (0.6, "an agent read the code; nothing that tools found points there"),
}


def analysis(
    description: str,
    ranked: Sequence[Candidate],
    material: Material,
    findings: Sequence[Finding],
    tests: TestRun | None = None,
) -> Bfros:
    """The five parts, from the ranked candidates."""
    top = ranked[0] if ranked else None
    return Bfros(
        behaviour=_tested(description, tests) or _behaviour(description, top, material),
        fault_localisation=localisation(ranked, material),
        root_cause=_root_cause(top, ranked, findings),
        optimal_solution=_solution(top, findings),
        solution_validation=_validation(top, material, tests),
    )


def reported(traces: Sequence[RawTrace]) -> RawTrace | None:
    """The error as it reached the user: the last one that was not only context for another."""
    raised = [trace for trace in traces if trace.relation == "raised"]
    return raised[-1] if raised else (traces[-1] if traces else None)


def _said(trace: RawTrace) -> str:
    return ": ".join(part for part in (trace.error_type, trace.message[:300]) if part)


def place_of(item: Candidate) -> str:
    """A candidate's place in words."""
    function = f"`{item.function}` at " if item.function else ""
    lines = str(item.line_start)
    if item.line_end != item.line_start:
        lines += f"-{item.line_end}"
    return f"{function}{item.file}:{lines}"


def _tested(description: str, tests: TestRun | None) -> Behaviour | None:
    """What failing tests show; null when none fail."""
    if tests is None or not tests.failures:
        return None
    failing = tests.failed + tests.hung + tests.crashed
    first = tests.failures[0]
    shown = first.message or {"hung": "it had to be stopped"}.get(first.outcome, first.outcome)
    return Behaviour(
        expected=f"all {failing + tests.passed} tests pass",
        actual=f"{failing} fail, such as {first.test}: {shown}",
        deviation=f"{failing} of {failing + tests.passed} tests fail; as described: "
        f"{description.strip()[:500]}",
    )


def _behaviour(description: str, top: Candidate | None, material: Material) -> Behaviour:
    trace = reported(material.traces)
    described = f"as described: {description.strip()[:500]}"
    if trace is None:
        return Behaviour(
            expected="not determined: only the description says what should happen",
            actual=described,
            deviation="not observed: no trace was given or recognised",
        )
    place = place_of(top) if top is not None and top.raised else ""
    name = trace.error_type or "the error"
    return Behaviour(
        expected=f"the code runs past {place or 'the place of the error'} without {name}",
        actual=f"it ends with {_said(trace)}",
        deviation=f"{name} is raised{' at ' if place else ''}{place}; {described}",
    )


def localisation(ranked: Sequence[Candidate], material: Material) -> FaultLocalisation:
    """Which place is most suspect, and why."""
    if not ranked:
        return FaultLocalisation(statement=NOTHING, suspects=0, components=[])
    top = ranked[0]
    files = (item.file for item in ranked)
    because = max(top.evidence_for, key=lambda item: item.weight).observation
    return FaultLocalisation(
        statement=f"most suspect is {place_of(top)}: {because}",
        suspects=len(ranked),
        components=[file for file in dict.fromkeys(files) if file in material.sources],
    )


def _root_cause(
    top: Candidate | None, ranked: Sequence[Candidate], findings: Sequence[Finding]
) -> RootCause:
    if top is None:
        return RootCause(determined=False, kind="", statement=NOTHING, contributing_factors=[])
    explanation = _explanation(top, ranked)
    factors = list(explanation.factors) if explanation is not None else []
    factors += [
        f"{finding.rule} in the same function, line {finding.line}: {finding.message}"
        for finding in findings
        if finding.weight > 0.1 and finding.file == top.file and finding.function == top.function
    ]
    if explanation is not None:
        return RootCause(
            determined=explanation.certain,
            kind=explanation.kind,
            statement=explanation.statement,
            contributing_factors=_distinct(factors),
        )
    if top.repair is not None:
        return RootCause(
            determined=False,
            kind=top.repair.operator.replace(" ", "_"),
            statement=f"`{top.repair.before}` in line {top.repair.line} does not do what the tests "
            f"ask for; `{top.repair.after}` does",
            contributing_factors=_distinct(factors),
        )
    strongest = max(top.evidence_for, key=lambda item: item.weight).observation
    return RootCause(
        determined=False,
        kind="",
        statement=f"not determined; what is known of {place_of(top)}: {strongest}",
        contributing_factors=_distinct(factors),
    )


def _explanation(top: Candidate, ranked: Sequence[Candidate]) -> Explanation | None:
    """The first suspect's, or that of the error which led to it."""
    if top.explanation is not None or not top.check:
        return top.explanation
    related = (item.explanation for item in ranked if item.explanation is not None)
    return next((item for item in related if item.check == top.check), None)


def _distinct(factors: list[str]) -> list[str]:
    return list(dict.fromkeys(factors))[:20]


def _solution(top: Candidate | None, findings: Sequence[Finding]) -> OptimalSolution:
    if top is not None and top.repair is not None:
        return _found_by_mutation(top.repair, place_of(top))
    if top is not None and top.explanation is not None and top.explanation.fix:
        fix = top.explanation.fix
        return OptimalSolution(
            determined=top.explanation.certain,
            description=f"{fix} ({place_of(top)})",
            steps=top.explanation.steps or [fix],
        )
    proposed = [
        f"line {finding.line}: {finding.fix}"
        for finding in findings
        if finding.fix
        and finding.weight >= WORTH_FIXING
        and top is not None
        and (finding.file, finding.line) == (top.file, top.line_start)
    ]
    if proposed:
        return OptimalSolution(determined=True, description=proposed[0], steps=proposed)
    return OptimalSolution(
        determined=False,
        description="none is proposed: the evidence does not determine what the code should do instead",
        steps=[f"first decide about {place_of(top)}: {top.check}"]
        if top is not None and top.check
        else [],
    )


def _found_by_mutation(repair: Repair, place: str) -> OptimalSolution:
    decide = "decide whether that is what the code should do: it was found by trying"
    if repair.others:
        shown = ", ".join(f"`{other}`" for other in repair.others)
        decide += f", and with these the tests pass, too: {shown}"
    return OptimalSolution(
        determined=False,
        description=f"found by mutation, tests passed {repair.passed}/{repair.total}: "
        f"`{repair.after}` instead of `{repair.before}` ({place})",
        steps=[f"change line {repair.line} to `{repair.after}` ({repair.operator})", decide],
    )


def _validation(
    top: Candidate | None, material: Material, tests: TestRun | None
) -> SolutionValidation:
    checks = []
    if tests is not None and tests.failures:
        names = ", ".join(item.test for item in tests.failures[:5])
        checks.append(f"run `{' '.join(tests.command)}`: these failed and must pass: {names}")
    trace = reported(material.traces)
    if trace is not None:
        checks.append(f"run again what led to {_said(trace)[:200]!r}: it must not appear")
    if top is not None and top.check:
        checks.append(f"before the change: {top.check}")
    if top is not None and trace is not None:
        checks.append(
            f"keep a test that failed at {place_of(top)} before the change and passes after it"
        )
    if not checks:
        checks.append("give a trace or a failing test: without one no solution can be validated")
    return SolutionValidation(checks=checks)


def confidence(ranked: Sequence[Candidate], determinacy: str = "") -> Confidence:
    """The first suspect's score times how far the evidence determines the cause: a key of
    `DETERMINACY`, by default the one that the suspect itself shows."""
    if not ranked:
        return Confidence(score=0.0, level="none", explanation=["no evidence points anywhere: 0"])
    top = ranked[0]
    factor, reason = DETERMINACY[determinacy or _determinacy(top)]
    score = round(top.score * factor, 3)
    return Confidence(
        score=score,
        level=_level(score),
        explanation=[
            *(f"for, {item.weight:g}: {item.observation}" for item in top.evidence_for),
            *(f"against, {item.weight:g}: {item.observation}" for item in top.evidence_against),
            f"score of the first suspect, by the rule at `score`: {top.score:g}",
            f"times {factor:g}: {reason}",
            f"confidence: {score:g}",
        ],
    )


def _determinacy(top: Candidate) -> str:
    if top.repair is not None:
        return "repaired"
    if top.tested:
        return "tested"
    if top.explanation is not None:
        return "explained" if top.explanation.certain else "partly"
    if top.raised or any("raised" in item.observation for item in top.evidence_for):
        return "located"
    named = all("description names" in item.observation for item in top.evidence_for)
    return "named" if named else "linted"


def _level(score: float) -> Level:
    if score >= 0.7:
        return "high"
    if score >= 0.5:
        return "medium"
    return "low" if score > 0 else "none"
