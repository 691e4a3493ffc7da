"""Where a dispatch stands, kept up to date event by event at constant cost."""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from dispatch_runner.events import (
    AttemptFailed,
    CacheConsulted,
    DispatchFinished,
    DispatchStarted,
    DispatchStopping,
    Event,
    ProviderHeld,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import Result, TaskError, TaskResult, TaskStatus

MOST_OUTCOMES = 6
"""How many of the latest failures, and of the latest other outcomes, are kept."""
HEADER_ROWS = 2


@dataclass(slots=True)
class Running:
    """A task that has started and not settled. Times are those given to `Tally.add`."""

    task_id: str
    agent: str
    description: str
    since: float
    attempt: int = 1
    error: TaskError | None = None
    """Why the attempt before this one failed."""
    retry_at: float = 0.0
    """When this attempt starts, or started."""


@dataclass(frozen=True, slots=True)
class View:
    """A moment of a tally: the counts, and the tasks that there is room for."""

    correlation_id: str
    started_at: float
    total: int
    settled: int
    counts: dict[TaskStatus, int]
    running: int
    stopping: str | None
    longest: list[Running]
    """Those that have run longest, longest first."""
    hidden: int
    """How many more tasks run, if there is a row to say so."""
    failures: list[TaskResult]
    """The latest errors and timeouts, latest last."""
    others: list[TaskResult]
    """The latest other outcomes, latest last."""
    held: dict[str, float | None] = field(default_factory=dict)
    """Until when providers hold calls back; null: for good."""


@dataclass(slots=True)
class Tally:
    """Counts, what runs, and what settled last."""

    correlation_id: str = ""
    started_at: float = 0.0
    total: int = 0
    settled: int = 0
    counts: dict[TaskStatus, int] = field(default_factory=lambda: dict.fromkeys(TaskStatus, 0))
    running: dict[str, Running] = field(default_factory=dict)
    """By task id; the one that started first comes first."""
    failures: deque[TaskResult] = field(default_factory=lambda: deque(maxlen=MOST_OUTCOMES))
    """The latest errors and timeouts."""
    others: deque[TaskResult] = field(default_factory=lambda: deque(maxlen=MOST_OUTCOMES))
    """The latest successes, blocked and cancelled tasks."""
    stopping: str | None = None
    """Why new starts have ended, once they have."""
    held: dict[str, float | None] = field(default_factory=dict)
    """Until when providers hold calls back; null: for good."""
    result: Result | None = None
    _descriptions: dict[str, str] = field(default_factory=dict)

    def add(self, event: Event, now: float) -> None:
        match event:
            case TaskStarted():
                description = self._descriptions.pop(event.task_id, "")
                self.running[event.task_id] = Running(event.task_id, event.agent, description, now)
            case TaskFinished():
                self._settle(event.result)
            case AttemptFailed():
                self._retry(event, now)
            case TasksAdded():
                self.total += len(event.tasks)
                self._descriptions.update((t.task_id, t.description) for t in event.tasks)
            case DispatchStarted():
                self.correlation_id = event.correlation_id
                self.started_at = now
            case CacheConsulted():
                pass  # a hit shows as a task that has settled
            case ProviderHeld():
                ends = None if event.seconds is None else now + event.seconds
                self.held[event.provider] = ends
            case DispatchStopping():
                self.stopping = event.cause or "cancelled"
            case DispatchFinished():
                self.result = event.result

    def view(self, rows: int) -> View:
        """What fits into so many rows: failures and other outcomes get a quarter each, what runs gets
        the rest, and what one of them does not need the next one has.
        """
        room = max(rows - HEADER_ROWS, 0)
        failures = min(len(self.failures), room // 4)
        others = min(len(self.others), room // 4)
        running = min(len(self.running), room - failures - others)
        failures = min(len(self.failures), room - running - others)
        others = min(len(self.others), room - running - failures)
        if 0 < running < len(self.running):
            running -= 1  # to say so takes a row
        return View(
            self.correlation_id,
            self.started_at,
            self.total,
            self.settled,
            dict(self.counts),
            len(self.running),
            self.stopping,
            list(islice(self.running.values(), running)),
            len(self.running) - running if room else 0,
            [self.failures[-n] for n in range(failures, 0, -1)],
            [self.others[-n] for n in range(others, 0, -1)],
            dict(self.held),
        )

    def _settle(self, result: TaskResult) -> None:
        self.running.pop(result.task_id, None)
        self.settled += 1
        self.counts[result.status] += 1
        failed = result.status is TaskStatus.ERROR or result.status is TaskStatus.TIMEOUT
        (self.failures if failed else self.others).append(result)

    def _retry(self, event: AttemptFailed, now: float) -> None:
        if running := self.running.get(event.task_id):
            running.attempt = event.attempt + 1
            running.error = event.error
            running.retry_at = now + event.retry_in
