"""A task of a running graph, and the results that it may have."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from dispatch_runner.engine.runner import Job, Outcome
from dispatch_runner.engine.wants import Wants
from dispatch_runner.errors import RecordError
from dispatch_runner.events import TaskDeclared
from dispatch_runner.models import (
    ErrorType,
    Interruption,
    TaskError,
    TaskResult,
)
from dispatch_runner.models.usage import total_usage

StopCause = Interruption | None


@dataclass(slots=True)
class Entry:
    """A task and what became of it."""

    job: Job
    wants: Wants | None = None
    holds: bool = False
    """Whether it has what it wants: it runs, and does not rest."""
    result: TaskResult | None = None
    settled: anyio.Event | None = field(default=None, repr=False)
    woken: anyio.Event | None = field(default=None, repr=False)
    """Set when a task that rests is admitted again."""


def outcome_so_far(job: Job) -> Outcome:
    """What earlier processes have left of the task."""
    if not job.earlier:
        return Outcome()
    usage = total_usage([attempt.usage for attempt in job.earlier])
    return Outcome(attempts=list(job.earlier), usage=usage)


def result_of(
    job: Job, outcome: Outcome, started_at: str, finished_at: str, seconds: float
) -> TaskResult:
    """The result of a task that ran, here for so many seconds."""
    task = job.task
    if job.earlier:
        started_at = job.earlier[0].started_at
        seconds += sum(attempt.duration_ms for attempt in job.earlier) / 1000
    return TaskResult(
        task_id=task.task_id,
        agent=task.agent,
        backend=outcome.backend,
        status=outcome.status,
        output=outcome.output,
        error=outcome.error,
        execution_time_ms=round(seconds * 1000, 3),
        attempts=len(outcome.attempts),
        started_at=started_at,
        finished_at=finished_at,
        usage=outcome.usage,
        warnings=outcome.warnings,
    )


def blocked_error(names: Sequence[str]) -> TaskError:
    """Why a task is blocked by those of that names."""
    shown = ", ".join(f"'{name}'" for name in names[:5]) + (", ..." if len(names) > 5 else "")
    return TaskError(
        ErrorType.DEPENDENCY,
        f"not started: {shown} did not succeed",
        details={"blocked_by": names},
    )


def cancellation(stopped: StopCause, fault: RecordError | None, *, began: bool) -> TaskError:
    """Why a task is cancelled: the record that could not be written, or what stopped the dispatch."""
    why = str(fault or _CAUSES.get(stopped, "the dispatch was cancelled"))
    what = "cancelled while it ran" if began else "not started"
    return TaskError(
        ErrorType.CANCELLED, f"{what}: {why}", retryable=True, details={"cause": stopped}
    )


def declared(job: Job) -> TaskDeclared:
    """What observers may know of the task before it starts."""
    task = job.task
    return TaskDeclared(task.task_id, task.agent, task.description, tuple(task.dependencies))


_CAUSES: dict[StopCause, str] = {
    "timeout": "the dispatch timeout passed",
    "fail_fast": "another task failed and fail_fast is on",
    "SIGINT": "interrupted by SIGINT",
    "SIGTERM": "interrupted by SIGTERM",
    "SIGHUP": "interrupted by SIGHUP",
    "budget": "the budget is spent",
}
