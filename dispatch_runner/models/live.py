"""Documents for callers with a limited view, and about dispatches that have not ended. Bounded."""

from dataclasses import dataclass, field
from typing import Literal

from dispatch_runner.models.result import (
    DispatchStatus,
    ErrorType,
    Interruption,
    Summary,
    TaskResult,
    TaskStatus,
)

LiveStatus = Literal["running", "crashed"]
"""`crashed`: it did not end, and the process that ran it did."""


@dataclass(slots=True)
class ShortError:
    """A cause in one line."""

    type: ErrorType
    message: str
    """Cut after 300 characters."""


@dataclass(slots=True)
class UnsuccessfulTask:
    """A task that did not succeed."""

    task_id: str
    status: TaskStatus
    error: ShortError | None
    blocked_by: list[str]
    """Root causes, at most 5."""
    trace_file: str | None


@dataclass(slots=True)
class ResultSummary:
    """The result without outputs, at most 8,000 bytes: `--stdout summary`."""

    result_file: str | None
    """Absolute path of the whole result."""
    status: DispatchStatus
    correlation_id: str
    interrupted: Interruption | None
    summary: Summary
    unsuccessful: list[UnsuccessfulTask]
    """Causes before what they blocked."""
    unsuccessful_omitted: int
    """How many more there are than fit."""
    trace_index: str | None
    warnings: list[str]
    warnings_omitted: int
    merge_branch: str | None = None
    """Where the changes in git worktrees were merged, if they were."""


@dataclass(slots=True)
class TaskCounts:
    """Tasks by state. All but `total` add up to it."""

    total: int = 0
    pending: int = 0
    """Not started, and not yet settled otherwise."""
    running: int = 0
    lost: int = 0
    """Ran when the dispatcher died."""
    success: int = 0
    error: int = 0
    timeout: int = 0
    blocked: int = 0
    cancelled: int = 0


@dataclass(slots=True)
class RunningTask:
    """A task that runs now."""

    task_id: str
    agent: str
    seconds: float
    """Since its first attempt began."""


@dataclass(slots=True)
class DispatchState:
    """How a dispatch stands, at most 8,000 bytes: `status`, `wait` and `cancel`."""

    dispatch: str
    """Name of its run folder."""
    status: LiveStatus | DispatchStatus
    """`running`, `crashed`, or that of the result."""
    interrupted: Interruption | None
    correlation_id: str | None
    elapsed_seconds: float
    """From its start until now, or until its end."""
    stopping: bool
    """Whether it runs and was told to end."""
    tasks: TaskCounts
    running: list[RunningTask]
    """The longest-running first."""
    running_omitted: int
    unsuccessful: list[UnsuccessfulTask]
    """Causes before what they blocked."""
    unsuccessful_omitted: int
    result_file: str | None
    """Null until it is written."""
    trace_index: str
    run_folder: str
    pid: int | None
    """The process that runs it; null when none does."""
    hint: str | None = None
    """What to do next."""


@dataclass(slots=True)
class UnsettledTask:
    """A task of a dispatch that has not ended, without a result."""

    task_id: str
    agent: str
    status: Literal["pending", "running", "lost"]
    """`lost`: it ran when the dispatcher died."""


@dataclass(slots=True)
class PartialResult:
    """What `result` prints of a dispatch that has not ended. Results are complete for tasks that have."""

    status: LiveStatus
    correlation_id: str | None
    results: list[TaskResult | UnsettledTask]
    """One entry per task, in the order of the index."""
    tasks: TaskCounts
    trace_index: str
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Started:
    """What `start` prints: a dispatch that runs in a process of its own."""

    dispatch: str
    """Name of its run folder; what the commands below take."""
    correlation_id: str
    pid: int
    status: Literal["running"]
    trace_index: str
    result_file: str
    """Where the result will be."""
    stderr_file: str
    """Progress and complaints of the process."""
    warnings: list[str]
    next: dict[str, str]
    """Commands that wait, look, stop and read."""
