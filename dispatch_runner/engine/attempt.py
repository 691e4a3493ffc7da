"""One attempt at a task, to an honest outcome. The only place where a failure becomes a value."""

import math

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.engine.asking import Asking
from dispatch_runner.engine.runner import (
    THROTTLES,
    Desk,
    Job,
    Outcome,
    Start,
    Surroundings,
)
from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.models import ErrorType, JsonObject, TaskError, TaskStatus, Usage
from dispatch_runner.models.trace import Attempt, TraceEvent
from dispatch_runner.models.usage import total_usage
from dispatch_runner.protocols import (
    AgentCall,
    Answer,
    Backend,
    CallLog,
    InputProblem,
    Meter,
    Place,
)
from dispatch_runner.references import resolve

PATIENCE_WITH_TOOLS = 5.0
"""How much longer an agent may be silent while a tool of its runs."""
LONGEST_WAIT_SECONDS = 600.0
"""A provider that wants a longer wait before the next call has no quota left: that rate does not pass."""
PULSE_SHARE = 0.01
"""Within so much of the time that it may be silent, two signs of life count as one."""


class Attempting:
    """Runs one attempt: resolves the input, asks the agent's backends within the time limit."""

    def __init__(self, surroundings: Surroundings, clock: Clock) -> None:
        self._surroundings = surroundings
        self._clock = clock

    async def run(self, start: Start) -> None:
        job, outcome, log = start.job, start.outcome, CallLog()
        started_at, began = self._clock.utc(), self._clock.monotonic()
        outcome.backend, outcome.input = job.agent.backend.name, job.task.input_data
        outcome.error, outcome.provider = None, job.agent.backend.provider
        meter = Meter() if outcome.provider is None else Watch(start, job.agent.stall_seconds)
        try:
            with anyio.move_on_after(job.timeout_seconds) as scope:
                if isinstance(meter, Watch):
                    await self._watched(start, log, meter)
                else:
                    await self._attempt(start, log, meter)
            if scope.cancelled_caught:
                _fail(outcome, TaskStatus.TIMEOUT, _timed_out(job.timeout_seconds))
        except AgentError as error:
            fail_with(outcome, error)
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
                    log.stdout_file, log.stderr_file, meter.usage,
                )
            )  # fmt: skip
            outcome.mcp_calls += log.mcp_calls
            outcome.events += log.events
            if log.events_left_out:
                left_out = {"count": log.events_left_out}
                outcome.events.append(TraceEvent(self._clock.utc(), "events_left_out", left_out))
            outcome.usage = total_usage([outcome.usage, meter.usage])

    async def _watched(self, start: Start, log: CallLog, meter: "Watch") -> None:
        with meter.scope:
            await self._attempt(start, log, meter)
        if meter.scope.cancelled_caught:
            raise meter.verdict()

    async def _attempt(self, start: Start, log: CallLog, meter: Meter) -> None:
        job, outcome, around = start.job, start.outcome, self._surroundings
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
            meter=meter,
        )
        if start.place is not None:
            _move(call, start.place)
        allowance = start.desk.allowance if isinstance(meter, Watch) else None
        asking = Asking(agent, around.checks, (*agent.checks, *task.checks), allowance)
        if agent.fallback:
            answer = await _first_that_answers(start, asking, call)
        else:
            answer = await asking.answer(agent.backend, call)
        outcome.warnings = answer.warnings
        outcome.output = answer.output if call.place is None else call.place.outward(answer.output)
        outcome.status = TaskStatus.SUCCESS
        outcome.exhausted = False


def _move(call: AgentCall, place: Place) -> None:
    """The call as it is for an agent that works in another place."""
    call.place, call.workspace, call.roots = place, place.workspace, place.roots
    call.input, call.dependencies = place.inward(call.input), place.inward(dict(call.dependencies))
    call.description = place.inward(call.description)


async def _first_that_answers(start: Start, asking: Asking, call: AgentCall) -> Answer:
    """Asks the backends in turn while they cannot be reached, refuse the key, or have no quota.

    Raises `AgentError`: that of the last one.
    """
    agent, outcome = start.job.agent, start.outcome
    passed_over: list[str] = []
    *others, last = agent.backend, *agent.fallback
    for backend in others:
        try:
            return _marked(await _ask(backend, start, asking, call), backend, passed_over)
        except AgentError as error:
            if not (error.exhausted or error.type is ErrorType.UNAVAILABLE):
                raise
            passed_over.append(f"'{backend.name}' failed: {error.message}")
            call.log.tell("fallback", backend=backend.name, error=error.message)
            call.repair = None
            fail_with(outcome, error)
            start.desk.heard(outcome)
            outcome.error = None
    try:
        return _marked(await _ask(last, start, asking, call), last, passed_over)
    except AgentError as error:
        error.message += f"; before that, {'; '.join(passed_over)}"
        error.details["passed_over"] = list(passed_over)
        raise


def _marked(answer: Answer, backend: Backend, passed_over: list[str]) -> Answer:
    if passed_over:
        answer.warnings.append(f"answered by '{backend.name}': {'; '.join(passed_over)}")
    return answer


async def _ask(backend: Backend, start: Start, asking: Asking, call: AgentCall) -> Answer:
    start.outcome.backend, start.outcome.provider = backend.name, backend.provider
    if not start.desk.usable(backend):
        raise AgentError(
            ErrorType.UNAVAILABLE, f"'{backend.provider}' refuses further calls", retryable=False
        )
    reason = backend.unavailable(start.job.agent.role)
    if reason is not None:
        raise AgentError(ErrorType.UNAVAILABLE, reason, retryable=False)
    return await asking.answer(backend, call)


class Watch(Meter):
    """Ends an attempt that is silent for too long, or consumes more than it may."""

    def __init__(self, start: Start, stall_seconds: float) -> None:
        super().__init__()
        self.scope = anyio.CancelScope()
        self._outcome = start.outcome
        self._desk: Desk = start.desk
        self._stall_seconds = stall_seconds
        self._working = False
        self._heard_at = -math.inf
        self._overspent: str | None = None

    def spend(self, usage: Usage) -> None:
        super().spend(usage)
        reason = self._desk.spent(usage)
        if reason is not None and self._overspent is None:
            self._overspent = reason
            self.scope.cancel()

    def pulse(self, *, working: bool = False) -> None:
        now = anyio.current_time()
        if working == self._working and now - self._heard_at < self._stall_seconds * PULSE_SHARE:
            return  # a stream has thousands of signs of life; to move a deadline costs more than one
        self._working, self._heard_at = working, now
        self.scope.deadline = now + self._patience()

    def throttled(self, retry_after: float | None = None) -> None:
        self.scope.deadline = anyio.current_time() + self._patience() + (retry_after or 0.0)
        self._desk.throttled(self._outcome.provider, retry_after)

    def verdict(self) -> AgentError:
        """Why the attempt was ended."""
        if self._overspent is not None:
            return AgentError(ErrorType.BUDGET_EXCEEDED, self._overspent)
        doing = " while a tool of it ran" if self._working else ""
        return AgentError(
            ErrorType.STALLED,
            f"nothing was heard from it for {self._patience():g} s{doing}",
            hint="raise stall_seconds of the agent if it may be silent for longer",
            details={"stall_seconds": self._stall_seconds, "tool_ran": self._working},
        )

    def _patience(self) -> float:
        return self._stall_seconds * (PATIENCE_WITH_TOOLS if self._working else 1.0)


def fail_with(outcome: Outcome, error: AgentError) -> None:
    """The outcome of an attempt that an agent's error ended."""
    wait = error.retry_after or 0.0
    if outcome.provider is not None and error.type in THROTTLES and wait > LONGEST_WAIT_SECONDS:
        error.exhausted = True
        error.resets_at = error.resets_at or Clock().wall() + wait
        error.hint = f"the provider asks for {wait:.0f} s: resume later, or use --wait-for-reset"
    value = error.as_value()
    if error.resets_at is not None and math.isfinite(error.resets_at):
        value.details = {**value.details, "resets_at": error.resets_at}
    _fail(outcome, TaskStatus.ERROR, value)
    outcome.retry_after = error.retry_after
    outcome.exhausted, outcome.resets_at = error.exhausted, error.resets_at


def _fail(outcome: Outcome, status: TaskStatus, error: TaskError) -> None:
    outcome.status, outcome.error, outcome.output = status, error, None
    outcome.retry_after, outcome.exhausted, outcome.resets_at = None, False, None


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
    shown: list[JsonObject | str] = [
        f"{'/'.join(map(str, p.location))}: {p.message}" for p in problems[:20]
    ]
    raise AgentError(
        ErrorType.INVALID_INPUT,
        f"input_data/{where}: {first.message}",
        hint=first.hint or "the value came from a reference to another task's output",
        details={"problems": shown},
    )
