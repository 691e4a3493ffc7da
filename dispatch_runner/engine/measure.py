"""The measured summary of a dispatch."""

from collections import Counter
from collections.abc import Sequence

from dispatch_runner.engine.graph import Graph
from dispatch_runner.models import DispatchStatus, Summary, TaskResult, TaskStatus
from dispatch_runner.models.usage import total_usage


def summarise(
    graph: Graph,
    results: Sequence[TaskResult],
    *,
    wall_seconds: float,
    max_workers: int,
    peak: int,
) -> Summary:
    """Counts and measurements; `results` in the order of the graph's numbers."""
    counts = Counter(result.status for result in results)
    times = [result.execution_time_ms for result in results]
    wall_ms = wall_seconds * 1000
    busy, ran = sum(times), any(result.attempts for result in results)
    path = graph.critical_path(times) if ran else []
    return Summary(
        total_tasks=len(results),
        successful=counts[TaskStatus.SUCCESS],
        failed=counts[TaskStatus.ERROR],
        timed_out=counts[TaskStatus.TIMEOUT],
        blocked=counts[TaskStatus.BLOCKED],
        cancelled=counts[TaskStatus.CANCELLED],
        total_time_ms=round(wall_ms, 3),
        speedup=round(busy / wall_ms, 3) if ran and wall_ms else None,
        critical_path_ms=round(sum(times[number] for number in path), 3),
        worker_utilisation=round(min(busy / (wall_ms * max_workers), 1.0), 4)
        if ran and wall_ms
        else None,
        peak_concurrency=peak,
        usage=total_usage([result.usage for result in results]),
    )


def overall_status(summary: Summary) -> DispatchStatus:
    """`success` when every task succeeded, `failure` when none did, else `partial`."""
    if summary.successful == summary.total_tasks:
        return "success"
    return "partial" if summary.successful else "failure"
