"""All rules on one text, and the score that follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dispatch_runner.analysis.onex import models, rules
from dispatch_runner.analysis.onex.module import Module
from dispatch_runner.analysis.onex.rules import Rule, Severity
from dispatch_runner.analysis.pycode import PyCode

WEIGHTS: dict[Severity, int] = {"critical": 5, "major": 3, "minor": 1}
CRITICAL_CAP = 0.5
"""The most that a text with a critical violation scores."""

RULES: tuple[Rule, ...] = (
    Rule("no-any", "critical", "name the type, or use `object` or a type variable", rules.any_types),
    Rule("no-wildcard-import", "critical", "import the names that are used", rules.wildcard_imports),
    Rule("reducer-pure", "critical", "a reducer emits intents and does no input or output", rules.impure_reducer),
    Rule("compute-pure", "critical", "a compute node gives the same for the same; pass in what changes", rules.impure_compute),
    Rule("node-name", "major", "Node<Name> and Effect, Compute, Reducer or Orchestrator", rules.node_names),
    Rule("type-name", "major", "Model<Name>, Enum<Name>, Protocol<Name>, TypedDict<Name>", rules.type_names),
    Rule("typed", "major", "annotate every parameter and result", rules.untyped),
    Rule("chained-errors", "major", "raise ... from error", rules.unchained_errors),
    Rule("specific-errors", "major", "raise and catch errors with a code; handle what is caught", rules.vague_errors),
    Rule("file-name", "minor", "node_<name>_<type>.py", rules.file_name),
    Rule("work-method", "minor", "an `async def execute_...` or `process_...`", rules.work_method),
    Rule("constructor", "minor", "take the container and hand it to super().__init__", rules.constructor),
    Rule("model-strict", "minor", "model_config = ConfigDict(extra='forbid')", models.lax_models),
    Rule("model-descriptions", "minor", "Field(description=...)", models.undescribed_fields),
    Rule("correlation-id", "minor", "correlation_id: UUID", models.missing_correlation),
    Rule("effect-retry", "minor", "retry what is transient, with an idempotency key", rules.seen_name(r"retr(y|ies)|idempot|attempt", "Effect")),
    Rule("orchestrator-lease", "minor", "issue actions under a lease (lease_id, epoch)", rules.seen_name("lease", "Orchestrator")),
    Rule("function-name", "minor", "snake_case", rules.function_names),
    Rule("no-global", "minor", "keep state in an object that is passed around", rules.global_names),
)  # fmt: skip


class Violation(NamedTuple):
    """A place that breaks a rule."""

    rule: str
    severity: Severity
    line: int
    message: str
    hint: str


class RuleResult(NamedTuple):
    """What became of one rule."""

    rule: str
    severity: Severity
    status: Literal["kept", "broken", "not_applicable"]
    violations: int


@dataclass(frozen=True, slots=True)
class Compliance:
    """The judgement on one text."""

    score: float
    """The weight of the rules kept, of those that apply: critical 5, major 3, minor 1. With a critical
    violation at most 0.5."""
    violations: Sequence[Violation]
    """By line."""
    rules: Sequence[RuleResult]

    @property
    def is_compliant(self) -> bool:
        """Nothing critical and nothing major."""
        return all(each.severity == "minor" for each in self.violations)


def check_onex(code: PyCode, path: str = "") -> Compliance:
    """Judges a text; its path, when it is known, for the rule about the file's name."""
    module = Module(code, path)
    results: list[RuleResult] = []
    violations: list[Violation] = []
    for rule in RULES:
        places = rule.check(module)
        if places is None:
            results.append(RuleResult(rule.name, rule.severity, "not_applicable", 0))
            continue
        found = sorted(set(places))
        violations += [Violation(rule.name, rule.severity, *each, rule.demand) for each in found]
        status: Literal["kept", "broken"] = "broken" if found else "kept"
        results.append(RuleResult(rule.name, rule.severity, status, len(found)))
    violations.sort(key=lambda each: (each.line, each.rule))
    return Compliance(_score(results), violations, results)


def _score(results: Sequence[RuleResult]) -> float:
    judged = [each for each in results if each.status != "not_applicable"]
    kept = sum(WEIGHTS[each.severity] for each in judged if each.status == "kept")
    score = kept / sum(WEIGHTS[each.severity] for each in judged)
    if any(each.status == "broken" and each.severity == "critical" for each in judged):
        return min(score, CRITICAL_CAP)
    return score
