"""The end of a dispatch in a few lines for people."""

from dispatch_runner.models import Result, Summary, TaskResult, TaskStatus, Usage
from dispatch_runner.report.wording import WORD, dollars, duration, label, one_line, reason

NAMED_FAILURES = 10
_NOUNS = {
    "failed": "failed",
    "timed_out": "timed out",
    "blocked": "blocked",
    "cancelled": "cancelled",
}


def summary_lines(result: Result) -> list[str]:
    """Status and counts; what was measured; at most ten failures; where everything is.

    Each line is safe to show. Blocked tasks are counted, not named: their causes are.
    """
    failures = [each for each in result.results if _failed(each)]
    return [
        _headline(result),
        *(f"  {part}" for part in (_measured(result.summary), _consumed(result)) if part),
        *(line for each in failures[:NAMED_FAILURES] for line in _failure(each)),
        *_more(len(failures) - NAMED_FAILURES),
        *(f"  warning: {one_line(each)}" for each in result.warnings),
        *(f"  result: {label(path, 4096)}" for path in (result.result_file,) if path),
    ]


def _headline(result: Result) -> str:
    summary = result.summary
    counts = [f"{summary.successful} of {summary.total_tasks} succeeded"]
    counts += [f"{n} {noun}" for field, noun in _NOUNS.items() if (n := getattr(summary, field))]
    stopped = f"; stopped by {result.interrupted}" if result.interrupted else ""
    return (
        f"{result.status}: {', '.join(counts)} in {duration(summary.total_time_ms / 1000)}{stopped}"
    )


def _measured(summary: Summary) -> str:
    parts = []
    if summary.speedup is not None:
        parts.append(f"speed-up {summary.speedup:.1f}")
    if summary.worker_utilisation is not None:
        parts.append(f"workers {summary.worker_utilisation:.0%} busy")
    if summary.peak_concurrency:
        parts.append(f"at most {summary.peak_concurrency} at once")
        parts.append(f"critical path {duration(summary.critical_path_ms / 1000)}")
    return ", ".join(parts)


def _consumed(result: Result) -> str:
    usage = result.summary.usage
    if usage is None:
        return ""
    figures = (
        (usage.requests, "requests {:,}"),
        (usage.input_tokens, "input tokens {:,}"),
        (usage.output_tokens, "output tokens {:,}"),
    )
    parts = [text.format(figure) for figure, text in figures if figure is not None]
    parts.append(_cost([each.usage for each in result.results if each.usage]))
    return ", ".join(filter(None, parts))


def _cost(usages: list[Usage]) -> str:
    known = [usage.cost_usd for usage in usages if usage.cost_usd is not None]
    unknown = len(usages) - len(known)
    if not usages:
        return ""
    if not unknown:
        return f"cost {dollars(sum(known))}"
    if not known:
        return "cost unknown"
    tasks = f"{unknown} task{'s' if unknown > 1 else ''}"
    return f"cost {dollars(sum(known))} and more: unknown of {tasks}"


def _failure(result: TaskResult) -> list[str]:
    lines = [f"  {WORD[result.status]} {label(result.task_id)}  {reason(result)}"]
    if result.error and result.error.hint:
        lines.append(f"    hint: {one_line(result.error.hint)}")
    return lines


def _more(count: int) -> list[str]:
    return [f"  and {count} more"] if count > 0 else []


def _failed(result: TaskResult) -> bool:
    return result.status in {TaskStatus.ERROR, TaskStatus.TIMEOUT}
