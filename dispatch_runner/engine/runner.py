"""How one task is run: attempts, timeouts, retries, honest outcomes. The only place where a failure
becomes a value.

A `Runner` may wrap another one: `Retrying` around `Attempting` today; a cache or a remote worker are
runners around a runner too.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.events import AttemptFailed, Observer
from dispatch_runner.models import ErrorType, JsonObject, Task, TaskError, TaskStatus, Usage
from dispatch_runner.models.trace import Attempt, McpCall, TraceEvent
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import (
    Agent,
    AgentCall,
    Answer,
    CallLog,
    InputProblem,
    NoTools,
    Tools,
)
from dispatch_runner.references import resolve

BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_MOST_SECONDS = 60.0
CRASH_RETRIES = 1


class Job(NamedTuple):
    """A task with everything that was decided for it before it starts."""

    task: Task
    agent: Agent
    timeout_seconds: float
    """Limit of one attempt."""
    retries: int
    has_references: bool = False
    """Whether `input_data` holds references, which are resolved when the task starts."""


@dataclass(slots=True)
class Outcome:
    """How a task ended. Attempts, calls and events add up over the attempts; the rest is the last's."""

    status: TaskStatus = TaskStatus.CANCELLED
    output: JsonObject | None = None
    error: TaskError | None = None
    retry_after: float | None = None
    """Seconds that the other side asked us to wait before the next attempt."""
    backend: str | None = None
    input: JsonObject | None = None
    usage: Usage | None = None
    warnings: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    mcp_calls: list[McpCall] = field(default_factory=list)
    events: list[TraceEvent] = field(default_factory=list)


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
    attempt: int = 1


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


class Attempting:
    """Runs one attempt: resolves the input, asks the backend within the time limit, verifies."""

    def __init__(self, surroundings: Surroundings, clock: Clock) -> None:
        self._surroundings = surroundings
        self._clock = clock

    async def run(self, start: Start) -> None:
        job, outcome, log = start.job, start.outcome, CallLog()
        started_at, began = self._clock.utc(), self._clock.monotonic()
        outcome.backend, outcome.input = job.agent.backend.name, job.task.input_data
        outcome.error = None
        usage_before, outcome.usage = outcome.usage, None
        try:
            with anyio.move_on_after(job.timeout_seconds) as scope:
                await self._attempt(start, outcome, log)
            if scope.cancelled_caught:
                _fail(outcome, TaskStatus.TIMEOUT, _timed_out(job.timeout_seconds))
        except AgentError as error:
            _fail(outcome, TaskStatus.ERROR, error.as_value(), error.retry_after)
        except anyio.get_cancelled_exc_class():
            _fail(outcome, TaskStatus.CANCELLED, TaskError(ErrorType.CANCELLED, "cancelled"))
            raise
        except RecordError:
            raise  # not the task's failure: ours
        except Exception as error:  # noqa: BLE001 - the one place where a failure becomes a value
            _fail(outcome, TaskStatus.ERROR, _crashed(job, error))
        finally:
            took = (self._clock.monotonic() - began) * 1000
            outcome.attempts.append(
                Attempt(
                    start.attempt, started_at, self._clock.utc(), took, outcome.error,
                    log.stdout_file, log.stderr_file, outcome.usage,
                )
            )  # fmt: skip
            outcome.mcp_calls += log.mcp_calls
            outcome.events += log.events
            outcome.usage = total_usage([usage_before, outcome.usage])

    async def _attempt(self, start: Start, outcome: Outcome, log: CallLog) -> None:
        job, around = start.job, self._surroundings
        task, agent = job.task, job.agent
        value = task.input_data
        if job.has_references:
            value = outcome.input = resolve(value, start.outputs)
            _require_valid(agent.role.check_input(value, around.roots))
        call = AgentCall(
            task_id=task.task_id,
            agent=task.agent,
            description=task.description,
            input=value,
            dependencies={name: start.outputs.get(name) for name in task.dependencies},
            correlation_id=around.correlation_id,
            attempt=start.attempt,
            timeout_seconds=job.timeout_seconds,
            workspace=around.workspace,
            roots=around.roots,
            output_prefix=around.output_prefix(task.task_id) if around.output_prefix else None,
            hurry=around.hurry,
            log=log,
            tools=around.tools,
        )
        answer = await agent.backend.answer(agent.role, call)
        outcome.usage = answer.usage
        answer = await agent.role.verify(call, answer)
        outcome.backend = answer.backend or agent.backend.name
        outcome.warnings = answer.warnings
        outcome.usage = answer.usage
        if answer.output is not value:  # an echo of the input claims nothing
            _require_work(answer)
        outcome.output = answer.output
        outcome.status = TaskStatus.SUCCESS


class Retrying:
    """Runs further attempts after a transient failure, with exponential back-off and full jitter."""

    def __init__(
        self, inner: Runner, uniform: Callable[[float, float], float] | None = None
    ) -> None:
        self._inner = inner
        self._uniform = uniform or _uniform

    async def run(self, start: Start) -> None:
        await self._inner.run(start)
        outcome, crashes = start.outcome, 0
        while outcome.error is not None and start.attempt <= start.job.retries:
            crashes += outcome.error.type is ErrorType.CRASHED
            if not outcome.error.retryable or crashes > CRASH_RETRIES:
                break
            wait = self._back_off(start.attempt, outcome.retry_after)
            start.report(AttemptFailed(start.job.task.task_id, start.attempt, outcome.error, wait))
            await anyio.sleep(wait)
            start.attempt += 1
            await self._inner.run(start)

    def _back_off(self, attempt: int, retry_after: float | None) -> float:
        most = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** (attempt - 1))
        return max(self._uniform(0.0, most), retry_after or 0.0)


def _uniform(low: float, high: float) -> float:
    import random  # only a retry pays for it

    return random.uniform(low, high)  # noqa: S311 - spreads retries, guards nothing


def total_usage(usages: list[Usage | None]) -> Usage | None:
    """The sum. A count is the sum of what is known; the cost is known only if every part's is, so
    that it is never too low."""
    known = [usage for usage in usages if usage is not None]
    if len(known) <= 1:
        return known[0] if known else None

    def total(values: list[int | None]) -> int | None:
        counted = [value for value in values if value is not None]
        return sum(counted) if counted else None

    costs = [usage.cost_usd for usage in known]
    return Usage(
        total([usage.input_tokens for usage in known]),
        total([usage.output_tokens for usage in known]),
        total([usage.cache_read_tokens for usage in known]),
        total([usage.requests for usage in known]),
        None if None in costs else sum(cost for cost in costs if cost is not None),
    )


def _fail(
    outcome: Outcome, status: TaskStatus, error: TaskError, retry_after: float | None = None
) -> None:
    outcome.status, outcome.error, outcome.output = status, error, None
    outcome.retry_after = retry_after


def _timed_out(seconds: float) -> TaskError:
    return TaskError(
        ErrorType.TIMEOUT,
        f"no answer within {seconds:g} s",
        hint="raise timeout_seconds of the task or of config, or give the agent less to do",
        details={"timeout_seconds": seconds},
    )


def _crashed(job: Job, error: Exception) -> TaskError:
    name = type(error).__name__
    from traceback import format_exception  # only failures pay for it

    frames = format_exception(error)
    return TaskError(
        ErrorType.CRASHED,
        f"agent '{job.agent.name}' raised {name}" + (f": {error}" if str(error) else ""),
        hint="a defect of the agent, not of the task; the traceback is in details",
        details={"exception": name, "traceback": "".join(frames)[-4000:]},
    )


def _require_valid(problems: list[InputProblem]) -> None:
    if not problems:
        return
    first = problems[0]
    where = "/".join(map(str, first.location))
    raise AgentError(
        ErrorType.INVALID_INPUT,
        f"input_data/{where}: {first.message}",
        hint=first.hint or "the value came from a reference to another task's output",
        details={
            "problems": [f"{'/'.join(map(str, p.location))}: {p.message}" for p in problems[:20]]
        },
    )


def _require_work(answer: Answer) -> None:
    """An agent that did nothing did not succeed: there is an output, and the files exist that it says
    it wrote (`generated_file`, `files_written`)."""
    output: object = answer.output
    if not isinstance(output, dict):
        kind = type(output).__name__
        raise AgentError(ErrorType.BAD_OUTPUT, f"output is {kind}, not a JSON object")
    if not output:
        raise AgentError(ErrorType.UNVERIFIED, "the agent ended cleanly with an empty output")
    written = output.get("files_written")
    claimed = [output.get("generated_file"), *(written if isinstance(written, list) else [written])]
    missing = [path for path in claimed if isinstance(path, str) and not os.path.isfile(path)]  # noqa: PTH113
    if missing:
        raise AgentError(
            ErrorType.UNVERIFIED,
            f"the agent says that it wrote '{missing[0]}', and there is no such file",
            details={"missing": missing, "output": output},
        )
