"""The one stream of events that feeds records, progress and metrics.

Events are emitted synchronously, in the event loop's thread, in the order in which things happened.
An observer returns quickly and never awaits. The recorder is the first observer: when a later one
hears of `TaskFinished`, the task's trace and its `finished` record are on disk.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from dispatch_runner.models import Interruption, JsonObject, Result, TaskError, TaskResult
from dispatch_runner.models.trace import Attempt, McpCall, TraceEvent


class TaskDeclared(NamedTuple):
    """What observers may know of a task before it starts."""

    task_id: str
    agent: str
    description: str
    dependencies: tuple[str, ...]


class DispatchStarted(NamedTuple):
    """First event. `config` is the configuration in force."""

    correlation_id: str
    config: JsonObject
    max_workers: int


class TasksAdded(NamedTuple):
    """Tasks entered the graph: all at once after `DispatchStarted`, or later through a session."""

    tasks: tuple[TaskDeclared, ...]


class TaskStarted(NamedTuple):
    """A task was admitted and its first attempt begins."""

    task_id: str
    agent: str


class AttemptFailed(NamedTuple):
    """An attempt failed and another follows after `retry_in` seconds."""

    task_id: str
    attempt: int
    error: TaskError
    retry_in: float


class ProviderHeld(NamedTuple):
    """A provider asked for less, or for nothing more: no new calls of it start for a while."""

    provider: str
    cause: str
    """In words."""
    seconds: float | None
    """How long; null: for the rest of the dispatch."""
    resets_at: float | None
    """When its quota is there again, where it is known: seconds since 1970."""


CacheAnswer = Literal["hit", "miss", "stored", "not_stored", "skipped"]
"""`skipped`: it cannot be told what the result would depend on."""


class CacheConsulted(NamedTuple):
    """The cache was asked about a task that opted in, or was given its result. Told on request only:
    the task's trace has it in any case."""

    task_id: str
    answer: CacheAnswer
    key: str | None
    """By which the result is kept; null when it was skipped."""
    reason: str
    """In words; empty where there is nothing to say."""


class TaskFinished(NamedTuple):
    """A task settled, also one that never started.

    The recorder, as first observer, completes `result`: secrets redacted, `trace_file` set. Later
    observers see only that.
    """

    result: TaskResult
    description: str
    input: JsonObject | None
    """As resolved for the last attempt; the request's own when nothing was started."""
    attempts: Sequence[Attempt]
    mcp_calls: Sequence[McpCall]
    events: Sequence[TraceEvent]


class DispatchStopping(NamedTuple):
    """New starts end and what runs is being cancelled."""

    cause: Interruption | None
    """Null when a record could not be written, or when the caller cancelled."""


class DispatchFinished(NamedTuple):
    """Last event; nothing runs any more."""

    result: Result


Event = (
    DispatchStarted
    | TasksAdded
    | TaskStarted
    | AttemptFailed
    | ProviderHeld
    | CacheConsulted
    | TaskFinished
    | DispatchStopping
    | DispatchFinished
)

Observer = Callable[[Event], None]
