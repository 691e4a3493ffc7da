"""What the quality tool says of a file: told beside an agent's own findings, never one of them.

The tool may be embedded or an old server far away. A score of it says nothing about whether a file
parses, so nothing here can let a file pass, or refuse one.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

from dispatch_runner.models.base import Model
from dispatch_runner.protocols import AgentCall, ToolAnswer

TOOL = "assess_code_quality"
GRACE_SECONDS = 5.0
"""How long its answer is waited for after everything else has ended."""
MAX_REASON = 300
MAX_IMPROVEMENTS = 5


class Quality(Model):
    """What the quality tool says of the file. For information: no gate, and it changes no outcome."""

    status: Literal["ok", "error", "not_assessed"]
    """`error`: the tool failed, or its answer was not understood; `not_assessed`: there is no such
    tool, it could not judge, or it did not answer in time."""
    score: float | None = None
    """From 0 to 1, where the status is `ok`."""
    metrics: dict[str, float] = {}
    """What the score is made of, each from 0 to 1."""
    improvements: list[str] = []
    """What would raise the score most, at most five."""
    reason: str | None = None
    """Why there is no score."""


LATE = Quality(status="not_assessed", reason=f"no answer within {GRACE_SECONDS:g} s")


async def ask(call: AgentCall, source: bytes, path: str) -> Quality:
    """What the tool says of a source. Raises nothing for a failure of the tool."""
    arguments = {
        "content": source.decode("utf-8", "replace"),
        "source_path": PurePosixPath(path).name,
        "language": "python",
    }
    return decode(await call.tools.call(TOOL, arguments, call.log))


def decode(answer: ToolAnswer) -> Quality:
    """The score where the documented shape has it: `analysis.quality_score`, from 0 to 1.

    An answer of another shape, or one that says that it did not succeed, is an error and no score.
    """
    if answer.status != "ok":
        reason = answer.reason or "the tool gave no reason"
        return Quality(status=answer.status, reason=_one_line(reason, MAX_REASON))
    output = answer.output
    if not isinstance(output, Mapping):
        return _error("the answer is not a JSON object")
    if output.get("success") is False:
        return _error(f"the tool did not succeed: {output.get('error') or 'it gave no reason'}")
    analysis = output.get("analysis")
    if not isinstance(analysis, Mapping) or "quality_score" not in analysis:
        return _error("the answer has no 'analysis.quality_score'")
    score = analysis["quality_score"]
    if score is None:
        return Quality(status="not_assessed", reason="the tool could not assess the file")
    if not _is_share(score):
        return _error(f"'analysis.quality_score' is {score!r}, not a number from 0 to 1")
    metrics = analysis.get("quality_metrics")
    return Quality(
        status="ok",
        score=float(score),
        metrics={str(name): float(value) for name, value in metrics.items() if _is_share(value)}
        if isinstance(metrics, Mapping)
        else {},
        improvements=_improvements(analysis.get("code_patterns")),
    )


def _one_line(text: str, limit: int) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text[:limit])
    return " ".join(shown.split()) + (" ..." if len(text) > limit else "")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _improvements(patterns: Any) -> list[str]:
    listed = patterns.get("improvement_opportunities") if isinstance(patterns, Mapping) else None
    told = listed if isinstance(listed, list) else []
    return [_one_line(str(item), MAX_REASON) for item in told[:MAX_IMPROVEMENTS]]


def _error(reason: str) -> Quality:
    return Quality(status="error", reason=_one_line(reason, MAX_REASON))
