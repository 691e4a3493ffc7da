"""`check_architectural_compliance` and `get_quality_patterns`: judgements from the syntax tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

from dispatch_runner.analysis.onex import check_onex
from dispatch_runner.analysis.patterns import ANTI_PATTERNS, BEST_PRACTICES, find_patterns
from dispatch_runner.analysis.pycode import Broken, PyCode, parse_python

if TYPE_CHECKING:
    from dispatch_runner.mcp.quality.arguments import ComplianceArguments, PatternArguments
    from dispatch_runner.mcp.quality.search import Searcher
    from dispatch_runner.models import JsonObject


async def check_compliance(searcher: Searcher, arguments: ComplianceArguments) -> JsonObject:
    """The answer of the tool: a score and every violation by its line.

    Of an architecture whose rules are not known nothing is said: no score, `not_assessed`.
    """
    if arguments.architecture_type != "onex":
        return {
            "success": True,
            "status": "not_assessed",
            "architecture_type": arguments.architecture_type,
            "compliance_score": None,
            "violations": [],
            "reason": f"the rules of '{arguments.architecture_type}' are not known; those of 'onex' are",
        }
    judged = await anyio.to_thread.run_sync(_judged, arguments.content, arguments.source_path)
    return {"success": True, "architecture_type": "onex", **judged}


def _judged(text: str, path: str) -> JsonObject:
    code = parse_python(text)
    if isinstance(code, Broken):
        message = f"it does not parse: {code.message}"
        violation = {
            "rule": "syntax",
            "severity": "critical",
            "line": code.line,
            "message": message,
        }
        hint = {"hint": "mend the syntax first"}
        return _answer(0.0, False, [violation | hint], [])
    result = check_onex(code, path)
    return _answer(
        result.score,
        result.is_compliant,
        [each._asdict() for each in result.violations],
        [each._asdict() for each in result.rules],
    )


def _answer(
    score: float, compliant: bool, violations: list[JsonObject], rules: list[JsonObject]
) -> JsonObject:
    return {
        "status": "assessed",
        "compliance_score": round(score, 3),
        "compliant": compliant,
        "violations": violations,
        "rules": rules,
        "explained": "the weight of the rules kept, of those that apply: critical 5, major 3, minor 1;"
        " with a critical violation at most 0.5; compliant: nothing critical, nothing major",
    }


async def quality_patterns(searcher: Searcher, arguments: PatternArguments) -> JsonObject:
    """The answer of the tool: each place where a habit shows."""
    code = await anyio.to_thread.run_sync(parse_python, arguments.content)
    answer: JsonObject = {"success": True, "pattern_type": arguments.pattern_type}
    if isinstance(code, Broken):
        reason = f"it does not parse: line {code.line}: {code.message}"
        nothing: JsonObject = {"patterns_found": [], "confidence_scores": {}}
        return {**answer, "status": "not_assessed", "reason": reason, **nothing}
    return {**answer, **await anyio.to_thread.run_sync(_found, code, arguments.pattern_type)}


def _found(code: PyCode, pattern_type: str) -> JsonObject:
    patterns = ANTI_PATTERNS if pattern_type == "anti_patterns" else BEST_PRACTICES
    found = find_patterns(code, patterns)
    return {
        "status": "assessed",
        "patterns_found": [each._asdict() for each in found],
        "confidence_scores": {each.name: each.confidence for each in found},
        "patterns_looked_for": [each.name for each in patterns],
    }
