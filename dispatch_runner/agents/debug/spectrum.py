"""Spectrum formulas: how much more failing tests run a line than passing ones do."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

from dispatch_runner.agents.debug.pycode import PyCode
from dispatch_runner.agents.debug.testrun import SeenTest


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tests ran a line, of how many."""

    failed: int
    passed: int
    all_failed: int
    all_passed: int

    @property
    def ochiai(self) -> float:
        """failed / sqrt(all_failed * (failed + passed)); 0 to 1."""
        if not self.failed:
            return 0.0
        return self.failed / sqrt(self.all_failed * (self.failed + self.passed))

    @property
    def dstar(self) -> float:
        """failed^2 / (passed + failing tests that did not run it); 0 to infinity."""
        if not self.failed:
            return 0.0
        others = self.passed + self.all_failed - self.failed
        return self.failed**2 / others if others else inf

    @property
    def suspicion(self) -> float:
        """The mean of Ochiai and of DStar brought to 0..1 by d / (1 + d)."""
        bounded = 1.0 if self.dstar == inf else self.dstar / (1 + self.dstar)
        return (self.ochiai + bounded) / 2


def spectrum(tests: Sequence[SeenTest]) -> dict[tuple[str, int], Counts]:
    """For each line that a failing test ran: how many tests ran it."""
    failing = [test for test in tests if test.failed]
    passing = [test for test in tests if test.outcome == "passed"]
    failed, passed = _times_run(failing), _times_run(passing)
    return {
        place: Counts(count, passed.get(place, 0), len(failing), len(passing))
        for place, count in failed.items()
    }


def _times_run(tests: Sequence[SeenTest]) -> dict[tuple[str, int], int]:
    counts: dict[tuple[str, int], int] = {}
    for test in tests:
        for path, lines in test.lines.items():
            for line in lines:
                counts[path, line] = counts.get((path, line), 0) + 1
    return counts


def density(code: PyCode, line: int) -> float:
    """0 to 1: how much is written on a line. What has more parts has more that may be wrong."""
    parts = sum(
        isinstance(node, ast.Name | ast.Constant | ast.operator | ast.cmpop | ast.Call | ast.boolop)
        for node in code.nodes_at(line)
    )
    return min(parts / 10, 1.0)
