"""`assess_code_quality`: what can be measured of one text, and a score that says how it came about."""

from __future__ import annotations

import re
import sys
import time
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from dispatch_runner.analysis.grammars import outline
from dispatch_runner.analysis.lint import LintFinding, lint_text
from dispatch_runner.analysis.metrics import function_metrics, is_code
from dispatch_runner.analysis.onex import check_onex
from dispatch_runner.analysis.patterns import ANTI_PATTERNS, BEST_PRACTICES, find_patterns
from dispatch_runner.analysis.pycode import Broken, PyCode, parse_python
from dispatch_runner.analysis.tools import ToolProblem
from dispatch_runner.mcp.quality import scores
from dispatch_runner.mcp.quality.scores import Score

if TYPE_CHECKING:
    from dispatch_runner.mcp.quality.arguments import AssessArguments
    from dispatch_runner.mcp.quality.search import Searcher
    from dispatch_runner.models import JsonObject

RULES = "ASYNC,B,BLE,C4,E,F,N,PIE,PLE,RET,RUF006,S,SIM,W"
IGNORED = "E501,S101,S311,S404,S603,S607"
"""The formatter owns line length; asserts state invariants; starting programs is no fault by itself."""

NAMES = {
    "py": "python", "python3": "python", "js": "javascript", "mjs": "javascript", "jsx": "javascript",
    "node": "javascript", "ts": "typescript", "golang": "go", "rs": "rust", "rb": "ruby",
    "kt": "kotlin", "kts": "kotlin", "cs": "csharp", "c#": "csharp", "pyi": "python",
}  # fmt: skip
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_PYTHON_NAME = re.compile(r"\w[\w.-]*\.pyi?")


async def assess(searcher: Searcher, arguments: AssessArguments) -> JsonObject:
    """The answer of the tool. Only the text is looked at."""
    began = time.monotonic()
    language = language_of(arguments.language, arguments.source_path)
    if language == "python":
        analysis = await _assess_python(arguments.content, arguments.source_path)
    else:
        analysis = await anyio.to_thread.run_sync(_assess_foreign, arguments.content, language)
    duration = round((time.monotonic() - began) * 1000, 1)
    assessed = [name for name, value in analysis["quality_metrics"].items() if value is not None]
    return {
        "success": True,
        "analysis": {"language": language, "source_path": arguments.source_path, **analysis},
        "orchestration_summary": {"duration_ms": duration, "assessed": assessed},
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }


def language_of(named: str, path: str) -> str:
    """The language by its name; else by the ending of the path; else Python."""
    name = named.strip().lower() or PurePosixPath(path).suffix[1:].lower() or "python"
    return NAMES.get(name, name)


async def _assess_python(text: str, path: str) -> JsonObject:
    code = await anyio.to_thread.run_sync(parse_python, text)
    if isinstance(code, Broken):
        return _unusable(
            f"it does not parse as Python {_VERSION}: line {code.line}: {code.message}",
            {"parses": False, "line": code.line, "column": code.column, "message": code.message},
        )
    if not code.tree.body:
        return _unusable("there is no code in it", {"parses": True})
    measured: list[JsonObject] = []
    linted: list[Score] = []
    async with anyio.create_task_group() as group:

        async def measure() -> None:
            measured.append(await anyio.to_thread.run_sync(_measured, code, path))

        async def lint() -> None:
            linted.append(await _linted(code, path))

        group.start_soon(lint)
        group.start_soon(measure)
    return await anyio.to_thread.run_sync(_combined, measured[0], linted[0])


async def _linted(code: PyCode, path: str) -> Score:
    name = PurePosixPath(path).name
    name = name if _PYTHON_NAME.fullmatch(name) else "module.py"
    try:
        found: list[LintFinding] = await lint_text(code.text, RULES, name=name, ignored=IGNORED)
    except ToolProblem as problem:
        return Score(None, str(problem))
    return scores.lint(found, sum(map(is_code, code.lines)))


def _measured(code: PyCode, path: str) -> JsonObject:
    functions = function_metrics(code)
    compliance = check_onex(code, path)
    return {
        "scores": {
            "complexity": scores.complexity(functions),
            "maintainability": scores.maintainability(functions),
            "documentation": scores.documentation(code),
            "typing": scores.typing(code),
            "structure": scores.structure(functions, len(code.lines)),
        },
        "architectural_compliance": {
            "onex_compliance": round(compliance.score, 3),
            "compliant": compliance.is_compliant,
            "violations": [each._asdict() for each in compliance.violations[:50]],
        },
        "identified_patterns": _counted(code),
        "anti_patterns": [each._asdict() for each in find_patterns(code, ANTI_PATTERNS)],
    }


def _counted(code: PyCode) -> list[JsonObject]:
    counts: dict[str, int] = {}
    for each in find_patterns(code, BEST_PRACTICES):
        counts[each.name] = counts.get(each.name, 0) + 1
    return [{"name": name, "count": count} for name, count in counts.items()]


def _combined(measured: JsonObject, lint: Score) -> JsonObject:
    parts: dict[str, Score] = {"lint": lint, **measured["scores"]}
    return {
        **_scored(parts, scores.overall(parts)),
        "syntax": {"parses": True},
        "architectural_compliance": measured["architectural_compliance"],
        "code_patterns": {
            "identified_patterns": measured["identified_patterns"],
            "anti_patterns": measured["anti_patterns"],
            "improvement_opportunities": _opportunities(parts),
        },
    }


def _scored(parts: dict[str, Score], whole: Score) -> JsonObject:
    """What every answer has, in the places where clients of older servers look."""
    told = {name: each.as_json() for name, each in parts.items()}
    upkeep = told["maintainability"]
    return {
        "quality_score": whole.as_json()["score"],
        "quality_score_explained": whole.as_json(),
        "quality_metrics": {name: each["score"] for name, each in told.items()},
        "explanations": told,
        "maintainability": {"score": upkeep["score"], "factors": {"index": upkeep.get("index")}},
        "architectural_era": "not_assessed",
    }


def _opportunities(parts: dict[str, Score]) -> list[str]:
    """What costs most of the score, the costliest first."""
    losses = [
        (scores.WEIGHTS[name] * (1 - each.value), f"{name} is {each.value:.2f}: {each.reason}")
        for name, each in parts.items()
        if each.value is not None and each.value < 1
    ]
    return [text for _, text in sorted(losses, reverse=True)]


def _unusable(reason: str, syntax: JsonObject) -> JsonObject:
    """Of a text that scores 0 as a whole: its parts are not assessed."""
    parts = {name: Score(None, reason) for name in scores.WEIGHTS}
    whole = Score(0.0, reason, {"weights": scores.WEIGHTS, "assessed_share": 0.0})
    return {
        **_scored(parts, whole),
        "syntax": syntax,
        "architectural_compliance": {
            "onex_compliance": 0.0,
            "compliant": False,
            "violations": [],
            "reason": reason,
        },
        "code_patterns": _NO_PATTERNS | {"improvement_opportunities": [reason]},
    }


_NO_PATTERNS: JsonObject = {
    "identified_patterns": [],
    "anti_patterns": [],
    "improvement_opportunities": [],
}


def _assess_foreign(text: str, language: str) -> JsonObject:
    """Of another language: size, and the structure where there is a grammar."""
    known = outline(text, language)
    reason = known if isinstance(known, str) else f"not measured for {language}"
    parts = {name: Score(None, reason) for name in scores.WEIGHTS}
    lines = text.count("\n") + 1
    if not isinstance(known, str):
        parts["complexity"] = scores.foreign_complexity(known)
        parts["structure"] = scores.foreign_structure(known, lines)
    not_judged = f"the rules of onex are known for Python, not for {language}"
    return {
        **_scored(parts, scores.overall(parts)),
        "size": {"lines": lines, "characters": len(text)},
        "syntax": {"parses": None, "message": f"not checked for {language}"},
        "architectural_compliance": {
            "onex_compliance": None,
            "compliant": None,
            "violations": [],
            "reason": not_judged,
        },
        "code_patterns": _NO_PATTERNS,
    }
