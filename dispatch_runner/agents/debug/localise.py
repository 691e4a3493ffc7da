"""Turns traces, findings and words into candidates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dispatch_runner.agents.debug.candidates import Candidate, Candidates
from dispatch_runner.agents.debug.explain import Explanation, Site, explain
from dispatch_runner.agents.debug.explain.calls import (
    arguments_for,
    follow_values,
    library_call,
)
from dispatch_runner.agents.debug.explain.text import explain_text
from dispatch_runner.agents.debug.mapping import Mapper, Place
from dispatch_runner.agents.debug.models import Finding
from dispatch_runner.agents.debug.ownership import is_own
from dispatch_runner.agents.debug.pycode import Broken, PyCode
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.stacktraces import RawFrame, RawTrace
from dispatch_runner.agents.debug.structure import Structure

RAISING = 0.8
CALLERS = (0.4, 0.3, 0.22, 0.15, 0.1)
"""Weights of the own frames above the raising one, nearest first; none beyond."""
EXPLAINED = 0.6
PARTLY_EXPLAINED = 0.35
DESCRIBED = 0.15
PASSED = 0.3
"""For a caller that is seen to pass the value at issue."""
REPEATED = 0.2
UNOBSERVED = 0.4
OUTSIDE = 0.3
TEST_ONLY = 0.5
SYMPTOM = 0.5
"""Share of a trace's weight when the tests that gave it were run."""

SYNTAX_ERRORS = frozenset({"SyntaxError", "IndentationError", "TabError"})


@dataclass(slots=True)
class Material:
    """What there is to judge from."""

    sources: Mapping[str, Source]
    codes: dict[str, PyCode | Broken]
    traces: Sequence[RawTrace]
    mapper: Mapper
    candidates: Candidates = field(default_factory=Candidates)
    structures: dict[str, Structure] = field(default_factory=dict)
    """What is known of files in other languages."""
    symptoms: set[int] = field(default_factory=set)
    """Chains that come from tests which were run: there the tests' lines say more."""
    is_test: Callable[[str], bool] = lambda _: False
    """Whether a path, as a trace prints it, is a test's own file."""

    def parsed(self) -> list[PyCode]:
        return [code for code in self.codes.values() if isinstance(code, PyCode)]

    def code(self, file: str) -> PyCode | None:
        found = self.codes.get(file)
        return found if isinstance(found, PyCode) else None

    def scope_of(self, file: str, line: int) -> str:
        """The function or class around a line; empty when it is not known."""
        known = self.code(file) or self.structures.get(file)
        return known.scope_at(line) if known is not None else ""

    def function_lines(self, file: str, line: int) -> tuple[int, int] | None:
        """First and last line of the innermost function around a line, in any language."""
        code, other = self.code(file), self.structures.get(file)
        function = code.function_at(line) if code is not None else None
        part = other.part_at(line) if other is not None else None
        found = function or part
        return (found.line_start, found.line_end) if found is not None else None

    def functions(self) -> Iterator[tuple[str, str, int, int]]:
        """File, own name, first and last line of every function, in any language."""
        for code in self.parsed():
            for item in code.functions:
                yield code.source.path, item.node.name, item.line_start, item.line_end
        for file, other in self.structures.items():
            for part in other.functions:
                yield file, part.name.rpartition(".")[2], part.line_start, part.line_end


def add_traces(material: Material) -> None:
    """Every own frame of every trace, the raising ones most of all."""
    chains: dict[int, list[RawTrace]] = {}
    for trace in material.traces:
        chains.setdefault(trace.chain, []).append(trace)
    for chain in chains.values():
        for trace, weight in _weighed(chain, material):
            share = SYMPTOM if trace.chain in material.symptoms else 1.0
            _add_trace(trace, weight * share, material)


def _weighed(chain: list[RawTrace], material: Material) -> list[tuple[RawTrace, float]]:
    """How much each error of a chain says: the one that began it says most."""
    origin = _origin(chain, material)
    members = any(trace.relation == "member" for trace in chain)
    weights = []
    for trace in chain:
        if trace is origin or (members and trace.relation == "member"):
            weight = RAISING
        elif trace.relation == "thread":
            weight = 0.05
        elif trace.relation == "suppressed":
            weight = 0.2
        else:
            weight = 0.4
        weights.append((trace, weight))
    return weights


def _origin(chain: list[RawTrace], material: Material) -> RawTrace | None:
    """The error that the others of its chain follow from; null in a group, where no one does."""
    if any(trace.relation == "member" for trace in chain):
        return None
    causes = [trace for trace in chain if trace.relation == "cause" and _places(trace, material)]
    if causes:
        return causes[0] if causes[0].language in ("python", "php") else causes[-1]
    raised = [trace for trace in chain if trace.relation == "raised"]
    context = [trace for trace in chain if trace.relation == "context"]
    if context and raised and _raised_on_purpose(raised[-1], material):
        return context[0]
    return raised[-1] if raised else chain[-1]


def _places(trace: RawTrace, material: Material) -> bool:
    return any(
        material.mapper.place(frame) or is_own(trace.language, frame) for frame in trace.frames
    )


def _raised_on_purpose(trace: RawTrace, material: Material) -> bool:
    place = material.mapper.place(trace.frames[0]) if trace.frames else None
    code = material.code(place.source.path) if place is not None else None
    if place is None or code is None:
        return bool(trace.frames) and trace.frames[0].code.startswith("raise ")
    found = explain(Site(code, place.line, trace.error_type, trace.message))
    return found is not None and found.kind == "raised_on_purpose"


def _add_trace(trace: RawTrace, weight: float, material: Material) -> None:
    seen: set[tuple[str, int]] = set()
    for index, frame in enumerate(trace.frames):
        place = material.mapper.place(frame)
        if place is None and not is_own(trace.language, frame):
            continue
        if trace.chain in material.symptoms and material.is_test(frame.file):
            continue
        file = place.source.path if place is not None else frame.file
        line = place.line if place is not None else frame.line or 1
        if (file, line) in seen:
            continue
        seen.add((file, line))
        position = len(seen) - 1
        if position > len(CALLERS):
            break
        candidate = _candidate(frame, place, file, line, material)
        candidate.traced = True
        if position == 0:
            _raising(candidate, trace, index, place, weight, material)
        else:
            share = CALLERS[position - 1] * weight / RAISING
            candidate.speak_for(f"called what raised {_name(trace)}, {position} up", share)


def _candidate(
    frame: RawFrame, place: Place | None, file: str, line: int, material: Material
) -> Candidate:
    function = material.scope_of(file, line) or frame.function.strip("<>")
    candidate = material.candidates.at(
        file, line, function="" if function == "module" else function
    )
    candidate.code = candidate.code or frame.code
    if place is None:
        candidate.speak_against("the file is not among the affected files", OUTSIDE)
    elif place.doubt:
        candidate.speak_against(place.doubt, 0.2 if "it is at line" in place.doubt else 0.4)
    return candidate


def _name(trace: RawTrace) -> str:
    return trace.error_type or trace.message[:80] or "the error"


def _raising(
    candidate: Candidate,
    trace: RawTrace,
    index: int,
    place: Place | None,
    weight: float,
    material: Material,
) -> None:
    """The innermost own frame: it raised, or it called the library that did."""
    message = f": {trace.message[:200]}" if trace.message else ""
    if index == 0:
        candidate.speak_for(f"raised {_name(trace)}{message}", weight)
    else:
        inner = trace.frames[index - 1].function or "a library"
        candidate.speak_for(
            f"called `{inner}`, in which {_name(trace)} was raised{message}", weight * 0.95
        )
    candidate.raised = candidate.raised or weight >= RAISING
    explanation = _explain(trace, index, place, material)
    if explanation is not None:
        _follow_arguments(trace, index, explanation, weight, material)
        _add_explanation(candidate, explanation, weight, material)
    if _is_test(candidate.file, candidate.function) and trace.error_type.endswith("AssertionError"):
        candidate.speak_against("it is a test: it shows the fault rather than has it", TEST_ONLY)


def _follow_arguments(
    trace: RawTrace, index: int, explanation: Explanation, weight: float, material: Material
) -> None:
    """Find, frame by frame, which argument became the parameter whose value is at issue."""
    names = list(dict.fromkeys(explanation.parameters))
    inner = material.mapper.place(trace.frames[index])
    for frame in trace.frames[index + 1 : index + 1 + len(CALLERS)]:
        place = material.mapper.place(frame)
        if place is None or inner is None or not names:
            return
        code, called = material.code(place.source.path), material.code(inner.source.path)
        function = called.function_at(inner.line) if called is not None else None
        if code is None or function is None:
            return
        passed = arguments_for(code, place.line, function, names)
        candidate = _candidate(frame, place, place.source.path, place.line, material)
        for name, value in passed:
            said = f"line {place.line} passes `{code.text(value)}` as `{name}` of `{function.name}`"
            explanation.factors.append(said)
            candidate.speak_for(said, PASSED * weight / RAISING)
        site = Site(code, place.line, trace.error_type, trace.message, material.parsed())
        names = follow_values(site, [value for _, value in passed], explanation)
        inner = place


def _is_test(file: str, function: str) -> bool:
    return Path(file).name.startswith("test_") or function.rpartition(".")[2].startswith("test_")


def _explain(
    trace: RawTrace, index: int, place: Place | None, material: Material
) -> Explanation | None:
    if place is not None and trace.error_type in SYNTAX_ERRORS:
        return _syntax(trace, place)
    code = material.code(place.source.path) if place is not None else None
    if code is not None and place is not None and not place.doubt.startswith("the trace prints '"):
        site = Site(code, place.line, trace.error_type, trace.message, material.parsed())
        found = explain(site) if index == 0 else library_call(site, trace.frames[index - 1])
        if found is not None:
            return found
    return explain_text(trace.error_type, trace.message)


def _syntax(trace: RawTrace, place: Place) -> Explanation:
    return Explanation(
        "syntax_error",
        f"line {place.line} does not parse: {trace.message}",
        f"run `python -m py_compile {place.source.path}`",
        fix=f"correct the syntax at line {place.line}: {trace.message}",
    )


def _add_explanation(
    candidate: Candidate, explanation: Explanation, weight: float, material: Material
) -> None:
    share = weight / RAISING
    strength = EXPLAINED if explanation.certain else PARTLY_EXPLAINED
    candidate.speak_for(f"the code fits the message: {explanation.statement}", strength * share)
    if candidate.explanation is None or weight >= RAISING:
        candidate.explanation = explanation
    candidate.check = candidate.check or explanation.check
    _add_origins(explanation, share, material)


def _add_origins(explanation: Explanation, share: float, material: Material) -> None:
    for origin in explanation.origins:
        file = origin.code.source.path
        further = material.candidates.at(
            file, origin.line_start, origin.line_end, origin.code.scope_at(origin.line_start)
        )
        further.speak_for(origin.reason, origin.weight * share)
        further.check = further.check or explanation.check


def add_findings(material: Material, findings: Sequence[Finding]) -> None:
    """Findings that speak for a fault: of each line the strongest, the others little more.

    Once an error was observed, findings where no trace passes count less.
    """
    observed = any(item.raised for item in material.candidates.all())
    told: set[tuple[str, int]] = set()
    for finding in sorted(findings, key=lambda item: -item.weight):
        if finding.weight <= 0:
            continue
        candidate = material.candidates.beginning_at(finding.file, finding.line, finding.function)
        share = 1.0 if (finding.file, finding.line) not in told else REPEATED
        if observed and not candidate.traced:
            share *= UNOBSERVED
        told.add((finding.file, finding.line))
        said = f"{finding.source} {finding.rule}: {finding.message}"
        candidate.speak_for(said, finding.weight * share)


def add_description(material: Material, description: str) -> None:
    """Functions that the problem's description names, as code is named."""
    for file, name, line_start, line_end in material.functions():
        if not is_named(description, name):
            continue
        inside = [
            item
            for item in material.candidates.all()
            if item.file == file and line_start <= item.line_start <= line_end
        ]
        whole = material.candidates.at
        scope = material.scope_of(file, line_start)
        for candidate in inside or [whole(file, line_start, line_end, scope)]:
            candidate.speak_for(f"the problem's description names `{name}`", DESCRIBED)


def is_named(text: str, name: str) -> bool:
    """Whether a text names an identifier, and does not only use the same word."""
    if name not in text:
        return False
    plain = name.isalpha() and (name.islower() or name.istitle())
    form = rf"`{re.escape(name)}`|\b{re.escape(name)}\(" if plain else rf"\b{re.escape(name)}\b"
    return re.search(form, text) is not None
