"""From measures to scores between 0 and 1: every rule of it is here, and is told in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatch_runner.analysis import metrics
from dispatch_runner.analysis.lint import NOT_PARSED

if TYPE_CHECKING:
    from dispatch_runner.analysis.grammars import Outline
    from dispatch_runner.analysis.lint import LintFinding
    from dispatch_runner.analysis.metrics import FunctionMetrics
    from dispatch_runner.analysis.pycode import PyCode
    from dispatch_runner.models import JsonObject

WEIGHTS = {
    "lint": 0.25,
    "complexity": 0.20,
    "maintainability": 0.15,
    "documentation": 0.15,
    "typing": 0.15,
    "structure": 0.10,
}
LEAST_ASSESSED = 0.5
"""With less of the weight assessed there is no overall score."""

CYCLOMATIC_LIMIT = 10
COGNITIVE_LIMIT = 15
FUNCTION_LINES = 50
FILE_LINES = 500
PARAMETERS = 7
NESTING = 4

SERIOUS_RULES = ("F", "E9", "B", "PLE", "ASYNC", "S", "BLE", "RUF006", NOT_PARSED)
LIGHT = 0.25
FINDINGS_FOR_ZERO = 10.0
"""Weighted findings in a hundred lines of code at which nothing is left."""


@dataclass(frozen=True, slots=True)
class Score:
    """One measure, and how it came about. Null: not assessed, for the reason given."""

    value: float | None
    reason: str
    details: JsonObject = field(default_factory=dict)

    def as_json(self) -> JsonObject:
        value = None if self.value is None else round(self.value, 3)
        status = "not_assessed" if value is None else "assessed"
        return {"score": value, "status": status, "reason": self.reason, **self.details}


def overall(scores: dict[str, Score]) -> Score:
    """The weighted mean of what was assessed; null when that is less than half of the weight."""
    assessed = {name: each.value for name, each in scores.items() if each.value is not None}
    weight = sum(WEIGHTS[name] for name in assessed)
    share = round(weight / sum(WEIGHTS.values()), 3)
    details: JsonObject = {"weights": WEIGHTS, "assessed_share": share}
    if share < LEAST_ASSESSED:
        return Score(None, f"only {share:.0%} of the weight could be assessed", details)
    value = sum(WEIGHTS[name] * each for name, each in assessed.items()) / weight
    missing = [name for name in WEIGHTS if name not in assessed]
    left_out = f"; not assessed: {', '.join(missing)}" if missing else ""
    return Score(value, f"weighted mean of {', '.join(assessed)}{left_out}", details)


def fading(value: float, limit: float, zero: float) -> float:
    """1 up to the limit, then falling in a line to 0."""
    return max(0.0, min(1.0, (zero - value) / (zero - limit)))


def _by_lines(pairs: Sequence[tuple[float, int]]) -> float:
    """The mean of scores, each as heavy as its lines."""
    lines = sum(count for _, count in pairs)
    return sum(score * count for score, count in pairs) / lines if lines else 1.0


def complexity(functions: Sequence[FunctionMetrics]) -> Score:
    pairs = [
        (
            min(
                fading(each.cyclomatic, CYCLOMATIC_LIMIT, 3 * CYCLOMATIC_LIMIT),
                fading(each.cognitive, COGNITIVE_LIMIT, 3 * COGNITIVE_LIMIT),
            ),
            each.code_lines,
        )
        for each in functions
    ]
    worst = sorted(functions, key=lambda each: (-each.cyclomatic, -each.cognitive))[:10]
    return Score(
        _by_lines(pairs),
        f"by lines: 1 for functions up to cyclomatic {CYCLOMATIC_LIMIT} and cognitive {COGNITIVE_LIMIT},"
        " 0 from three times that",
        {
            "functions": len(functions),
            "most_complex": [
                {
                    "function": each.name,
                    "line": each.line,
                    "cyclomatic": each.cyclomatic,
                    "cognitive": each.cognitive,
                }
                for each in worst
            ],
        },
    )


def maintainability(functions: Sequence[FunctionMetrics]) -> Score:
    full = metrics.WELL_MAINTAINABLE
    pairs = [(min(1.0, each.maintainability / full), each.code_lines) for each in functions]
    mean = _by_lines([(each.maintainability, each.code_lines) for each in functions])
    least = sorted(functions, key=lambda each: each.maintainability)[:5]
    return Score(
        _by_lines(pairs),
        f"by lines: maintainability index of each function (Coleman et al. 1994), 1 from {full:g}",
        {
            "index": round(mean, 1) if functions else None,
            "least_maintainable": [
                {"function": each.name, "line": each.line, "index": each.maintainability}
                for each in least
                if each.maintainability < full
            ],
        },
    )


def documentation(code: PyCode) -> Score:
    coverage = metrics.documentation_coverage(code)
    return _covered(coverage, "of the module, its public classes and functions have docstrings")


def typing(code: PyCode) -> Score:
    coverage = metrics.typing_coverage(code)
    return _covered(coverage, "of parameters and results are annotated, `Any` not counted")


def _covered(coverage: metrics.Coverage, what: str) -> Score:
    missing = [{"line": line, "name": name} for line, name in coverage.missing[:20]]
    return Score(
        coverage.share, f"{coverage.covered} of {coverage.total} {what}", {"missing": missing}
    )


def structure(functions: Sequence[FunctionMetrics], lines: int) -> Score:
    long = [each for each in functions if each.lines > FUNCTION_LINES]
    wide = [each for each in functions if each.parameters > PARAMETERS]
    deep = [each for each in functions if each.nesting > NESTING]
    return _structure(lines, len(functions), {"long": long, "many_parameters": wide, "deep": deep})


def _structure(lines: int, count: int, bad: dict[str, list[FunctionMetrics]]) -> Score:
    parts = [fading(lines, FILE_LINES, 4 * FILE_LINES)]
    parts += [1 - len(each) / count if count else 1.0 for each in bad.values()]
    named = {
        name: [f"{each.name}:{each.line}" for each in found[:10]] for name, found in bad.items()
    }
    return Score(
        sum(parts) / len(parts),
        f"mean of: file up to {FILE_LINES} lines; shares of functions up to {FUNCTION_LINES} lines,"
        f" {PARAMETERS} parameters, {NESTING} blocks deep",
        {"lines": lines, **named},
    )


def lint(findings: Sequence[LintFinding], code_lines: int) -> Score:
    serious = sum(each.rule.startswith(SERIOUS_RULES) for each in findings)
    weighted = serious + LIGHT * (len(findings) - serious)
    density = 100 * weighted / max(code_lines, 1)
    return Score(
        fading(density, 0.0, FINDINGS_FOR_ZERO),
        f"{serious} serious and {len(findings) - serious} other findings of ruff (these count"
        f" {LIGHT:g}), {density:.1f} in 100 lines of code; 0 from {FINDINGS_FOR_ZERO:g}",
        {
            "findings": [
                {"rule": each.rule, "line": each.line, "message": each.message, "fix": each.fix}
                for each in findings[:50]
            ],
            "total_findings": len(findings),
        },
    )


def foreign_complexity(outline: Outline) -> Score:
    pairs = [
        (fading(each.cyclomatic, CYCLOMATIC_LIMIT, 3 * CYCLOMATIC_LIMIT), each.lines)
        for each in outline.functions
    ]
    worst = sorted(outline.functions, key=lambda each: -each.cyclomatic)[:10]
    return Score(
        _by_lines(pairs),
        f"by lines: 1 for functions up to cyclomatic {CYCLOMATIC_LIMIT}, 0 from three times that",
        {
            "functions": len(outline.functions),
            "most_complex": [
                {"function": each.name, "line": each.line, "cyclomatic": each.cyclomatic}
                for each in worst
            ],
        },
    )


def foreign_structure(outline: Outline, lines: int) -> Score:
    long = [each for each in outline.functions if each.lines > FUNCTION_LINES]
    count = len(outline.functions)
    share = 1 - len(long) / count if count else 1.0
    return Score(
        (fading(lines, FILE_LINES, 4 * FILE_LINES) + share) / 2,
        f"mean of: file up to {FILE_LINES} lines; share of functions up to {FUNCTION_LINES} lines",
        {
            "lines": lines,
            "long": [f"{each.name}:{each.line}" for each in long[:10]],
            "not_understood_lines": outline.error_lines,
        },
    )
