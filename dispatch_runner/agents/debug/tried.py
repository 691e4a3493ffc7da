"""A suspected cause against what running the tests showed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from dispatch_runner.agents.debug.candidates import Candidate
from dispatch_runner.agents.debug.deep import Deep
from dispatch_runner.agents.debug.dynamic import ENOUGH_MUTANTS, suspicions
from dispatch_runner.agents.debug.localise import Material, is_named
from dispatch_runner.agents.debug.testrun import Judged

Reason = tuple[bool, str]
"""Whether it supports the hypothesis, and why."""
Place = tuple[str, str, frozenset[int]]
"""A name, and lines of a file."""

NEARLY = 0.95
"""Share of the highest suspicion that still counts as the highest."""
KINDS: tuple[tuple[str, frozenset[str]], ...] = (
    (
        r"\boff[- ]by[- ]one\b|\bone (?:too (?:many|few)|more|less)\b|\bboundar\w+\b",
        frozenset({"off by one", "number", "slice bound", "comparison", "inserted slice"}),
    ),
    (
        r"\b(?:wrong|inverted|reversed|negated) (?:comparison|condition|check|test)\b",
        frozenset({"comparison", "negated condition", "connective", "deleted operator"}),
    ),
    (
        r"\b(?:swapped|exchanged|reversed|wrong order of|transposed)\b",
        frozenset({"swapped arguments", "swapped operands", "swapped indexes"}),
    ),
    (
        r"\bwrong (?:variable|name)\b",
        frozenset({"variable", "attribute", "expression", "constant for variable"}),
    ),
    (
        r"\bwrong operator\b",
        frozenset({"arithmetic", "comparison", "connective", "deleted operator"}),
    ),
    (
        r"\b(?:missing|no|forgotten|lacks an?) (?:\w+ )?(?:check|guard|condition)\b",
        frozenset({"missing guard"}),
    ),
    (
        r"\b(?:missing|forgotten) (?:statement|line|assignment|update|call|append)\b",
        frozenset({"inserted statement", "lost update"}),
    ),
    (
        r"\bwrong (?:constant|number|literal|default)\b",
        frozenset({"number", "truth value", "text", "constant for variable"}),
    ),
    (
        r"\bwrong (?:function|method)\b",
        frozenset({"function", "argument for its call"}),
    ),
)
"""Words for a kind of fault, and the kinds of change that would mend it."""
HANG = re.compile(
    r"\b(?:infinite|endless) loop\b|\bhangs?\b|\bnever (?:ends|returns|stops)\b", re.IGNORECASE
)
FLAKY = re.compile(
    r"\bflaky\b|\border of the tests\b|\bdepends on (?:another|other) tests?\b", re.IGNORECASE
)


def about_tests(
    hypothesis: str, ranked: Sequence[Candidate], material: Material, deep: Deep
) -> list[Reason]:
    """What the failing tests and the mutants say about the places and causes that it names."""
    if not deep.observed.failing:
        if deep.observed.passing:
            return [(False, f"all {len(deep.observed.passing)} named tests pass")]
        return []
    return [
        *_ending(hypothesis, deep),
        *_cause(hypothesis, ranked),
        *(
            reason
            for place in places(hypothesis, material)
            for reason in _place(place, ranked, material, deep)
        ),
    ]


def _ending(hypothesis: str, deep: Deep) -> Iterator[Reason]:
    if HANG.search(hypothesis):
        hung = sum(test.outcome == "hung" for test in deep.observed.failing)
        said = f"{hung} of {len(deep.observed.failing)} failing tests had to be stopped"
        yield hung > 0, said
    if FLAKY.search(hypothesis) and deep.trials is not None:
        reliable = len(deep.trials.failing)
        yield (
            reliable < len(deep.observed.failing),
            f"{reliable} of {len(deep.observed.failing)} failing tests fail again in another order",
        )


def _cause(hypothesis: str, ranked: Sequence[Candidate]) -> Iterator[Reason]:
    mended = [item.repair for item in ranked if item.repair is not None]
    if not mended:
        return
    found = {repair.operator for repair in mended}
    for pattern, kinds in KINDS:
        match = re.search(pattern, hypothesis, re.IGNORECASE)
        if match is None:
            continue
        fitting = [repair for repair in mended if repair.operator in kinds]
        if fitting:
            first = fitting[0]
            yield (
                True,
                (
                    f"it says {match.group()!r}, and `{first.after}` instead of `{first.before}` makes "
                    f"{first.tests}"
                ),
            )
        else:
            shown = ", ".join(sorted(found))
            yield False, f"it says {match.group()!r}, but what makes the tests pass is: {shown}"


def places(hypothesis: str, material: Material) -> list[Place]:
    """The lines and functions that a hypothesis names, of files that were parsed."""
    found: list[Place] = []
    files = [code.source.path for code in material.parsed()]
    for number in re.findall(r"\blines? (\d{1,7})\b", hypothesis, re.IGNORECASE):
        found += [(f"line {number}", file, frozenset({int(number)})) for file in files]
    for file, name, start, end in material.functions():
        if is_named(hypothesis, name):
            found.append((f"`{name}`", file, frozenset(range(start, end + 1))))
    return found


def _place(
    place: Place, ranked: Sequence[Candidate], material: Material, deep: Deep
) -> Iterator[Reason]:
    name, file, lines = place
    real = os.path.realpath(file)
    run = set().union(*(test.lines.get(real, frozenset()) for test in deep.observed.failing))
    if run and not lines & run:
        yield False, f"it names {name}, of which no failing test runs a line"
        return
    here = [item for item in ranked if item.file == file and item.line_start in lines]
    mended = next((item.repair for item in here if item.repair is not None), None)
    elsewhere = next((item for item in ranked if item.repair is not None), None)
    tried = _tried(deep, file, lines)
    if mended is not None:
        change = f"`{mended.after}` instead of `{mended.before}` in line {mended.line}"
        yield True, f"it names {name}, and {change} makes {mended.tests}"
    elif elsewhere is not None:
        where = f"line {elsewhere.line_start} of {elsewhere.file}"
        yield False, f"it names {name}, but a change of {where} makes the failing tests pass"
    elif better := [item for item in tried if item.fixed]:
        yield True, f"it names {name}: {len(better)} changes there make failing tests pass"
    elif len(tried) >= ENOUGH_MUTANTS * len(lines & run):
        yield False, f"it names {name}: none of {len(tried)} changes there mends a failing test"
    elif _most_suspect(file, lines, material, deep):
        yield True, f"it names {name}, which has the highest suspicion by the tests' lines"


def _tried(deep: Deep, file: str, lines: frozenset[int]) -> list[Judged]:
    if deep.trials is None:
        return []
    return [
        item
        for item in deep.trials.judged
        if item.mutant.file == file and item.mutant.line in lines
    ]


def _most_suspect(file: str, lines: frozenset[int], material: Material, deep: Deep) -> bool:
    found = suspicions(material, deep.observed)
    least = NEARLY * max((item.counts.suspicion for item in found), default=1.0)
    return any(
        item.code.source.path == file and item.line in lines and item.counts.suspicion >= least
        for item in found
    )
