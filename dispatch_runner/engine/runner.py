"""How one task is run: attempts and what is tried again.

A `Runner` may wrap another one: `Retrying` around `Attempting` (see `attempt`); a cache or a remote
worker are runners around a runner too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio

from dispatch_runner.events import AttemptFailed, Observer
from dispatch_runner.models import ErrorType, JsonObject, Task, TaskError, TaskStatus, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.models.request import Workspace
from dispatch_runner.models.trace import Attempt, McpCall, TraceEvent
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, Backend, Checks, NoTools, Place, Tools

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MOST_SECONDS = 60.0
THROTTLES = frozenset({ErrorType.RATE_LIMITED, ErrorType.OVERLOADED})
"""What a provider says when it is asked too much."""
RETRIED_ONCE = frozenset({ErrorType.CRASHED, ErrorType.STALLED})


class Job(NamedTuple):
    """A task with everything that was decided for it before it starts."""

    task: Task
    agent: Agent
    timeout_seconds: float
    """Limit of one attempt."""
    retries: int
    has_references: bool = False
    """Whether `input_data` holds references, which are resolved when the task starts."""
    earlier: Sequence[Attempt] = ()
    """Attempts that an earlier process made."""
    workspace: Workspace = "in_place"


@dataclass(slots=True)
class Outcome:
    """How a task ended. Attempts, calls and events add up over the attempts; the rest is the last's."""

    status: TaskStatus = TaskStatus.CANCELLED
    output: JsonObject | None = None
    error: TaskError | None = None
    retry_after: float | None = None
    """Seconds that the other side asked us to wait before the next attempt."""
    exhausted: bool = False
    """Whether the provider refuses every further call, too."""
    resets_at: float | None = None
    """When it will not any more, where that is known: seconds since 1970."""
    backend: str | None = None
    provider: str | None = None
    """Of the backend that was asked last."""
    input: JsonObject | None = None
    usage: Usage | None = None
    warnings: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    mcp_calls: list[McpCall] = field(default_factory=list)
    events: list[TraceEvent] = field(default_factory=list)


class Desk:
    """What an executor does for a task that runs. This one serves a task without an executor."""

    def usable(self, backend: Backend) -> bool:
        """Whether the backend's provider has not refused every further call."""
        return True

    def heard(self, outcome: Outcome) -> float | None:
        """An attempt has failed and another one follows. Seconds that its provider makes everybody
        wait; null: the task's own back-off counts."""
        return None

    def waits_for_reset(self) -> bool:
        """Whether a task is tried again after its provider's quota is there again."""
        return False

    def throttled(self, provider: str | None, retry_after: float | None) -> None:
        """The provider told an agent, in the middle of its work, to slow down."""

    def allowance(self) -> Budget | None:
        """What the task may consume from now on; null: any amount."""
        return None

    def spent(self, usage: Usage) -> str | None:
        """The task has consumed so much more. Why it must end now, or null."""
        return None

    async def rest(self, seconds: float, outcome: Outcome) -> bool:
        """Waits before the next attempt, and for what that one needs. False: it will never have it."""
        await anyio.sleep(seconds)
        return True


@dataclass(slots=True)
class Start:
    """What a runner is given: a job whose dependencies have settled, and the outcome to fill in."""

    job: Job
    outputs: Mapping[str, JsonObject]
    """Outputs of all tasks that succeeded so far, by id."""
    outcome: Outcome
    """Filled in as the task proceeds, so that it tells what is known also after a cancellation."""
    report: Observer
    """Told of failed attempts."""
    desk: Desk = field(default_factory=Desk)
    attempt: int = 1
    place: Place | None = None
    """Where the task works; null: in the workspace that all share."""


class Runner(Protocol):
    """Runs a task to its outcome."""

    async def run(self, start: Start) -> None:
        """Fills in `start.outcome`; never raises for a failure of the task.

        Cancellation passes through, after everything that was started has ended; and `RecordError`,
        when something cannot be written that has to be.
        """
        ...


class Surroundings(NamedTuple):
    """What all attempts of a dispatch share."""

    correlation_id: str
    workspace: Path
    roots: AllowedRoots
    hurry: anyio.Event
    """Set by a second signal: grace times are skipped."""
    output_prefix: Callable[[str], Path] | None = None
    """Where a task's programs write what they print."""
    tools: Tools = NoTools()
    checks: Checks | None = None
    """Null: no task names any."""


class Retrying:
    """Runs further attempts after a transient failure, with exponential back-off and full jitter.

    Where a provider's gate makes everybody wait, there is no back-off besides.
    """

    def __init__(
        self, inner: Runner, uniform: Callable[[float, float], float] | None = None
    ) -> None:
        self._inner = inner
        self._uniform = uniform or _uniform

    async def run(self, start: Start) -> None:
        await self._inner.run(start)
        outcome, once, waited = start.outcome, 0, start.attempt - 1  # those of an earlier process
        while (error := outcome.error) is not None:
            once += error.type in RETRIED_ONCE
            waits = outcome.exhausted and start.desk.waits_for_reset()
            if not waits and not (
                error.retryable
                and not outcome.exhausted
                and once <= 1
                and start.attempt - waited <= start.job.retries
            ):
                break
            waited += waits
            pause = start.desk.heard(outcome)
            wait = self._back_off(start.attempt, outcome.retry_after) if pause is None else pause
            start.report(AttemptFailed(start.job.task.task_id, start.attempt, error, wait))
            if not await start.desk.rest(wait, outcome):
                break
            start.attempt += 1
            await self._inner.run(start)

    def _back_off(self, attempt: int, retry_after: float | None) -> float:
        most = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** (attempt - 1))
        return max(self._uniform(0.0, most), retry_after or 0.0)


def _uniform(low: float, high: float) -> float:
    import random  # only a retry pays for it

    return random.uniform(low, high)  # noqa: S311 - spreads retries, guards nothing
