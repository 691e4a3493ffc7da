"""What running the tests says about each line: who runs it, and what changing it does.

The weights: a change that makes every failing test pass and breaks none is the strongest evidence
there is short of reading the specification (0.9), less so when few tests judge it, since then many
wrong changes pass, and for kinds of change that often pass by accident. A line that only failing
tests run says less (at most 0.5): everything that leads up to the fault does the same.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dispatch_runner.agents.debug.candidates import Candidate, Repair
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.mutate import Mutant, mutants
from dispatch_runner.agents.debug.pycode import PyCode
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.spectrum import Counts, density, spectrum
from dispatch_runner.agents.debug.testrun import Judged, Observed, SeenTest, Trials

SPECTRUM = 0.5
AT_IMPORT = 0.6
"""Share of that for what runs at import: no test singles it out."""
STILL_RAN = 0.2
REPAIRED = 0.9
AT_IMPORT_MENDED = 0.9
"""A module's constant is read in many places: changing it can hide a fault in any of them."""
IMPROVED = 0.4
UNMOVED = 0.15
ENOUGH_MUTANTS = 8
"""So many mutants of a line that change nothing speak against it."""
MOST_LINES = 60
MOST_MUTANTS = 6_000
MOST_PASSING = 60
MOST_OTHERS = 3
LEAST_SHARE = 0.3
"""Lines with less of the highest suspicion are not mutated, nor named for it."""

NONE: frozenset[int] = frozenset()


def real_paths(material: Material) -> dict[str, PyCode]:
    """The parsed files by their real path, as a run of their tests names them."""
    return {os.path.realpath(code.source.path): code for code in material.parsed()}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A line that failing tests run."""

    code: PyCode
    line: int
    counts: Counts
    weight: float


def suspicions(material: Material, observed: Observed) -> list[Suspicion]:
    """The most suspect lines by their spectrum, at most 60.

    What a module assigns when it is imported counts as run by every test that runs a line of it.
    """
    codes = real_paths(material)
    assigned = {path: _assigned(code, observed.imported.get(path)) for path, code in codes.items()}
    tests = [
        replace(
            test,
            lines={path: lines | assigned.get(path, NONE) for path, lines in test.lines.items()},
        )
        for test in observed.tests
    ]
    found = [
        Suspicion(
            codes[path],
            line,
            counts,
            _weight(codes[path], line, counts) * (AT_IMPORT if line in assigned[path] else 1.0),
        )
        for (path, line), counts in spectrum(tests).items()
        if path in codes
    ]
    found.sort(key=lambda item: (-item.weight, item.code.source.path, item.line))
    least = LEAST_SHARE * found[0].weight if found else 0.0
    return [item for item in found if item.weight >= least][:MOST_LINES]


def _assigned(code: PyCode, imported: frozenset[int] | None) -> frozenset[int]:
    """The lines run at import that give something a value."""
    kinds = (ast.Assign, ast.AnnAssign, ast.AugAssign)
    return frozenset(
        line
        for line in imported or NONE
        if any(isinstance(statement, kinds) for statement in code.statements_at(line))
    )


def _weight(code: PyCode, line: int, counts: Counts) -> float:
    """Mostly the spectrum; of equal lines, the one with more on it."""
    return SPECTRUM * counts.suspicion * (0.8 + 0.2 * density(code, line))


def add_spectrum(material: Material, observed: Observed) -> None:
    """Each line that failing tests run more than passing ones do."""
    still = Counter(
        (path, line)
        for test in observed.failing
        for path, lines in test.late.items()
        for line in lines
    )
    for item in suspicions(material, observed):
        counts, path = item.counts, item.code.source.path
        candidate = _candidate(material, item.code, item.line)
        candidate.tested = True
        candidate.check = candidate.check or _stop(observed, path, item.line)
        dstar = "infinite" if counts.dstar == float("inf") else f"{counts.dstar:.2f}"
        candidate.speak_for(
            f"{counts.failed} of {counts.all_failed} failing and {counts.passed} of "
            f"{counts.all_passed} passing tests run it (Ochiai {counts.ochiai:.2f}, DStar {dstar})",
            item.weight,
        )
        hung = still[os.path.realpath(path), item.line]
        if hung:
            candidate.speak_for(
                f"it still ran when {_tests(hung)} that hung had to be stopped", STILL_RAN
            )


def _stop(observed: Observed, path: str, line: int) -> str:
    """How to look at a line in a failing test that runs it."""
    real = os.path.realpath(path)
    running = [test for test in observed.failing if line in test.lines.get(real, NONE)]
    name = (running or observed.failing)[0].name
    return f"stop `{name}` at line {line} and compare the values there with what they should be"


def _tests(count: int) -> str:
    return "a test" if count == 1 else f"{count} tests"


def _candidate(material: Material, code: PyCode, line: int) -> Candidate:
    return material.candidates.beginning_at(code.source.path, line, code.scope_at(line))


def plan(material: Material, observed: Observed) -> list[tuple[Mutant, list[SeenTest]]]:
    """The mutants of the most suspect lines with the passing tests that run each line.

    The likeliest first, by how suspect the line is and how usual the kind of change.
    """
    suspect = suspicions(material, observed)
    by_code: dict[str, dict[int, float]] = {}
    for item in suspect:
        lines = by_code.setdefault(item.code.source.path, {})
        for line in _statement_lines(item.code, item.line):
            lines[line] = max(lines.get(line, 0.0), item.weight)
    passing = _passing_by_line(observed)
    weighed = [
        (-mutant.weight * lines[mutant.line], mutant)
        for code in {id(item.code): item.code for item in suspect}.values()
        for lines in [by_code[code.source.path]]
        for mutant in mutants(code, lines)
    ]
    weighed.sort(key=lambda pair: (round(pair[0], 6), pair[1].file, pair[1].start, pair[1].text))
    everything = sorted(observed.passing, key=lambda test: test.seconds)[:MOST_PASSING]
    return [
        (mutant, everything if mutant.import_time else passing.get(_place(mutant), everything))
        for _, mutant in weighed[:MOST_MUTANTS]
    ]


def _place(mutant: Mutant) -> tuple[str, int]:
    return os.path.realpath(mutant.file), mutant.line


def _statement_lines(code: PyCode, line: int) -> set[int]:
    """The line, and those of the simple statement that it belongs to."""
    found = {line}
    for statement in code.statements_at(line):
        if not hasattr(statement, "body"):
            found |= set(range(statement.lineno, (statement.end_lineno or line) + 1))
    return found


def _passing_by_line(observed: Observed) -> dict[tuple[str, int], list[SeenTest]]:
    """The fastest passing tests that run each line."""
    found: dict[tuple[str, int], list[SeenTest]] = {}
    for test in sorted(observed.passing, key=lambda test: test.seconds):
        for path, lines in test.lines.items():
            for line in lines:
                tests = found.setdefault((path, line), [])
                if len(tests) < MOST_PASSING:
                    tests.append(test)
    return found


def add_trials(material: Material, trials: Trials) -> None:
    """Each line whose mutants mended something, and those whose many mutants mended nothing."""
    codes = {code.source.path: code for code in material.parsed()}
    by_line: dict[tuple[str, int], list[Judged]] = {}
    for judged in trials.judged:
        by_line.setdefault((judged.mutant.file, judged.mutant.line), []).append(judged)
    for (file, line), tried in by_line.items():
        _add_line(_candidate(material, codes[file], line), tried, trials, codes[file].source)


def _add_line(
    candidate: Candidate, tried: Sequence[Judged], trials: Trials, source: Source
) -> None:
    candidate.tested = True
    mending = sorted(
        (item for item in tried if item.fixed),
        key=lambda item: (-strength(item, trials), _size(item.mutant), item.mutant.text),
    )
    if not mending:
        if len(tried) >= ENOUGH_MUTANTS:
            said = f"none of {len(tried)} changes of it makes a failing test pass"
            candidate.speak_against(said, UNMOVED)
        return
    best = mending[0]
    if not mends_all(best, trials):
        said = (
            f"{_change(best.mutant, source)} makes {len(best.fixed)} of {len(trials.failing)} failing "
            f"tests pass and breaks {len(best.broken)} of {best.ran_passing} that passed"
        )
        candidate.speak_for(said, strength(best, trials))
        return
    full = [item for item in mending if mends_all(item, trials)]
    candidate.repair = repair(full, trials, source)
    candidate.check = f"decide whether line {best.mutant.line} should read `{candidate.repair.after}`, and run all tests"
    said = f"{_change(best.mutant, source)} makes {candidate.repair.tests}"
    if len(full) > 1:
        said += f"; {len(full) - 1} other changes of the line do, too"
    candidate.speak_for(said, strength(best, trials))


def mends_all(item: Judged, trials: Trials) -> bool:
    """Whether every failing test passes and none breaks."""
    return bool(trials.failing) and len(item.fixed) == len(trials.failing) and not item.broken


def strength(item: Judged, trials: Trials) -> float:
    """How strongly a mutant that mends something speaks for its line."""
    if mends_all(item, trials):
        judges = len(item.fixed) + item.ran_passing
        share = 1.0 if not item.mutant.import_time else AT_IMPORT_MENDED
        return REPAIRED * share * (0.6 + 0.4 * item.mutant.weight) * (1 - 0.5**judges)
    mended = len(item.fixed) / max(len(trials.failing), 1)
    harmed = len(item.broken) / max(item.ran_passing, 1)
    return IMPROVED * mended * (1 - 0.8 * harmed) * (0.6 + 0.4 * item.mutant.weight)


def _size(mutant: Mutant) -> int:
    """How much longer or shorter the text becomes."""
    return abs(len(mutant.text) - (mutant.end - mutant.start))


def _change(mutant: Mutant, source: Source) -> str:
    before, after = _lines(mutant, source)
    if before == after:
        return f"a change ({mutant.operator})"
    return f"`{after}` instead of `{before}` ({mutant.operator})"


def _lines(mutant: Mutant, source: Source) -> tuple[str, str]:
    """The changed line before and after; of an insertion, both lines after."""
    text = source.text
    start = text.rfind("\n", 0, mutant.start) + 1
    end = text.find("\n", mutant.end)
    end = len(text) if end < 0 else end
    after = text[start : mutant.start] + mutant.text + text[mutant.end : end]
    return " ".join(text[start:end].split())[:200], "; ".join(
        " ".join(line.split()) for line in after.split("\n")
    )[:200]


def repair(full: Sequence[Judged], trials: Trials, source: Source) -> Repair:
    """The first of the changes of a line that make all tests pass, for people."""
    item = full[0]
    before, after = _lines(item.mutant, source)
    others = [_lines(other.mutant, source)[1] for other in full[1:]]
    total = len(trials.failing) + item.ran_passing
    return Repair(
        line=item.mutant.line,
        operator=item.mutant.operator,
        before=before,
        after=after,
        tests=f"all {len(trials.failing)} failing tests pass and breaks none of "
        f"{item.ran_passing} that passed",
        passed=total,
        total=total,
        others=tuple(dict.fromkeys(others))[:MOST_OTHERS],
    )


def not_mutated(trials: Trials) -> int:
    """How many planned mutants there was no time for."""
    return trials.planned - len(trials.judged)
