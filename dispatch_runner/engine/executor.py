"""The loop: start what may start, wait for what ends. Owns the only task group of a dispatch.

When `run` returns nothing runs any more, and every task that was added has settled exactly once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from dispatch_runner.clock import Clock
from dispatch_runner.engine.entries import (
    Entry,
    StopCause,
    blocked_error,
    cancellation,
    declared,
    outcome_so_far,
    result_of,
)
from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.engine.runner import THROTTLES, Desk, Job, Outcome, Runner, Start
from dispatch_runner.engine.scheduler import Blocked, Scheduler, Settled, State
from dispatch_runner.engine.wants import NOTHING, Wants, Withdrawal, wants_of
from dispatch_runner.errors import InternalError, RecordError
from dispatch_runner.events import (
    DispatchStopping,
    Event,
    Observer,
    ProviderHeld,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import (
    ErrorType,
    JsonObject,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
)
from dispatch_runner.models.budget import Budget
from dispatch_runner.protocols import Backend

if TYPE_CHECKING:
    from dispatch_runner.engine.admission import Admission

TURN_SECONDS = 0.005
"""How long tasks that never wait may run before others get a turn: signals, progress, timeouts."""

NOTHING_KNOWN: Mapping[str, TaskResult] = MappingProxyType({})


OpenAdmission = Callable[[Clock, Callable[[ProviderHeld], None]], "Admission"]
"""Makes what limits the tasks of a dispatch; the function is told when a provider holds calls back."""


class Executor:
    """Runs a graph of jobs within the limits.

    `emit` is called for each event, in order; a `RecordError` that it raises stops the dispatch and is
    raised by `run` once nothing runs any more.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_workers: int,
        admission: OpenAdmission | None = None,
        emit: Observer | None = None,
        clock: Clock | None = None,
        fail_fast: bool = False,
    ) -> None:
        self._runner = runner
        self._max_workers = max_workers
        self._emit = emit
        self._clock = clock or Clock()
        self._open_admission = admission or _without_limits
        self._admission: Admission | None = None
        self._fail_fast = fail_fast
        self.graph = Graph()
        self._scheduler = Scheduler(self.graph)
        self._entries: list[Entry] = []
        self._outputs: dict[str, JsonObject] = {}
        self._group: TaskGroup | None = None
        self._drained: anyio.Event | None = None
        self._closed = False
        self._alarm: anyio.CancelScope | None = None
        self._turn_began = 0.0
        self._record_error: RecordError | None = None
        self.running = 0
        """Tasks that have a worker: those that run and do not rest between two attempts."""
        self._resting = 0
        self.peak = 0
        self.stopped: StopCause = None
        """Why the dispatch was cut short, or null."""
        self._stopping = False

    # -- what may be called from outside ------------------------------------------------------

    def add(self, jobs: Sequence[Job], known: Mapping[str, TaskResult] = NOTHING_KNOWN) -> None:
        """Adds tasks; they may depend on each other and on earlier ones. Starts what may start.

        Args:
            jobs: with their tasks.
            known: results, by id, of those among them that have settled before, in an earlier process:
                they are not run, and nobody is told of them again.
        """
        if self._closed:
            raise InternalError("tasks were added after the last one")
        tasks = [job.task for job in jobs]
        nodes = (Node(task.task_id, task.dependencies, task.estimated_seconds) for task in tasks)
        new = self.graph.extend(nodes)
        self._entries.extend(map(Entry, jobs))
        settled = self._restored(known) if known else {}
        if self._emit is not None:
            self._emit(TasksAdded(tuple(map(declared, jobs))))
        blocked = self._scheduler.add(
            new, [task.priority for task in tasks], [task.run_when for task in tasks], settled
        )
        self._settle_blocked(blocked)
        self._start_more()

    def close(self) -> None:
        """No more tasks will be added: `run` returns once all have settled."""
        self._closed = True
        self._notice_the_end()

    def stop(self, cause: StopCause) -> None:
        """No new starts; what runs is cancelled. `run` returns once everything has settled."""
        if self._stopping:
            return
        self._stopping, self.stopped = True, cause
        self._report(DispatchStopping(cause))
        self._abandon_the_rest()
        if self._group is not None:
            self._group.cancel_scope.cancel()

    async def result(self, task_id: str) -> TaskResult:
        """The task's result, as soon as it has settled. Raises `KeyError` for an unknown id."""
        entry = self._entries[self.graph.number[task_id]]
        if entry.result is None:
            entry.settled = entry.settled or anyio.Event()
            await entry.settled.wait()
        if entry.result is None:
            raise InternalError(f"task '{task_id}' has settled without a result")
        return entry.result

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called, or everything has ended."""
        return self._stopping

    def results(self) -> list[TaskResult]:
        """All results, in the order in which the tasks were added."""
        return [self._result_of(number) for number in range(len(self._entries))]

    async def run(self, *, deadline_seconds: float | None = None) -> None:
        """Runs until every task has settled and `close` was called, or until it is stopped."""
        self._drained = anyio.Event()
        try:
            async with anyio.create_task_group() as self._group:
                if deadline_seconds is not None:
                    self._group.start_soon(self._stop_after, deadline_seconds)
                if self._stopping:  # stopped before it began
                    self._group.cancel_scope.cancel()
                self._start_more()
                self._notice_the_end()
                await self._drained.wait()
                self._group.cancel_scope.cancel()  # only timers are left
        finally:
            self._group = None
            self._stopping = True
            self._abandon_the_rest()
        if self._record_error is not None:
            raise self._record_error

    async def _stop_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self.stop("timeout")

    # -- starting -----------------------------------------------------------------------------

    def _start_more(self) -> None:
        """As many workers as limits admit."""
        if self._group is None or self._stopping:
            return
        while self.running < self._max_workers:
            number = self._admit()
            if number is None:
                break
            self._group.start_soon(self._work, number)

    def _admit(self) -> int | None:
        """The best task that all limits admit, now counted as running; one that rested is woken and
        goes on by itself."""
        while self.running < self._max_workers and not self._stopping:
            number = self._scheduler.pop()
            if number is None:
                self._set_alarm()
                return None
            entry = self._entries[number]
            if entry.wants is None:
                entry.wants = wants_of(entry.job, self._outputs)
            refusal = None
            if entry.wants is not NOTHING:
                refusal = self._limiting().take(entry.wants)
            if isinstance(refusal, Withdrawal):
                self._withdraw(number, refusal)
            elif refusal is not None:
                self._scheduler.park(number, refusal)
            elif self._enter(number, entry):
                return number
        return None

    def _enter(self, number: int, entry: Entry) -> bool:
        """Counts a task as running. Whether it needs a worker: one that rested has its own."""
        self._scheduler.start(number)
        entry.holds = True
        self.running += 1
        self.peak = max(self.peak, self.running)
        if entry.woken is None:
            return True
        entry.woken.set()
        return False

    def _withdraw(self, number: int, why: Withdrawal) -> None:
        """A task that may not start, or not go on, and never will."""
        entry = self._entries[number]
        self._scheduler.start(number)
        if why.budget and self.stopped is None:
            self.stopped = "budget"
        if entry.woken is not None:
            entry.woken.set()  # it settles by itself, with its last failure
            return
        error = TaskError(
            ErrorType.CANCELLED, f"not started: {why.cause}", retryable=True, details=why.details
        )
        self._settle_unstarted(number, TaskStatus.CANCELLED, error)
        self._settle_blocked(self._scheduler.settle(number, succeeded=False))

    def _limiting(self) -> "Admission":
        """Limits, gates and budgets; loaded when the first task wants anything."""
        if self._admission is None:
            self._admission = self._open_admission(self._clock, self._report)
        return self._admission

    def _next_opening(self) -> float | None:
        return None if self._admission is None else self._admission.next_opening()

    def _set_alarm(self) -> None:
        """Wakes up when a limit opens by itself; only needed while tasks wait for one."""
        opening = self._next_opening()
        if opening is None or self._group is None:
            return
        deadline = anyio.current_time() + max(0.0, opening - self._clock.monotonic())
        if self._alarm is not None:
            self._alarm.deadline = min(self._alarm.deadline, deadline)
            return
        self._alarm = anyio.CancelScope(deadline=deadline)
        self._group.start_soon(self._wake, self._alarm)

    async def _wake(self, alarm: anyio.CancelScope) -> None:
        with alarm:
            await anyio.sleep_forever()
        self._alarm = None
        for limit in self._limiting().opened():
            self._scheduler.unpark(limit)
        self._start_more()
        self._notice_the_end()

    # -- running and settling -----------------------------------------------------------------

    async def _work(self, number: int | None) -> None:
        """A worker: runs a task, then the best next one, until there is none."""
        while number is not None and not self._stopping:
            await self._run_task(number)
            number = self._admit()
            self._start_more()
            if number is not None:
                await self._give_turn()
        self._notice_the_end()

    async def _give_turn(self) -> None:
        now = self._clock.monotonic()
        if now - self._turn_began > TURN_SECONDS:
            await checkpoint()
            self._turn_began = self._clock.monotonic()

    async def _run_task(self, number: int) -> None:
        entry = self._entries[number]
        task = entry.job.task
        started_at, began = self._clock.utc(), self._clock.monotonic()
        start = Start(
            entry.job, self._outputs, outcome_so_far(entry.job), self._report,
            _Desk(self, number, entry), len(entry.job.earlier) + 1,
        )  # fmt: skip
        if self._emit is not None:
            self._report(TaskStarted(task.task_id, task.agent))
        try:
            await self._runner.run(start)
        except RecordError as error:
            self._lose_records(error)
            start.outcome.error = self._cancellation(began=True)
        except anyio.get_cancelled_exc_class():
            self.stop(None)  # when the cancellation came from outside
            outcome = start.outcome
            outcome.status, outcome.output = TaskStatus.CANCELLED, None
            outcome.error = self._cancellation(began=True)
            self._end(number, outcome, started_at, began)
            raise
        self._end(number, start.outcome, started_at, began)

    def _end(self, number: int, outcome: Outcome, started_at: str, began: float) -> None:
        """A task that ran has ended: limits, records, dependents, in this order."""
        entry = self._entries[number]
        task = entry.job.task
        if entry.holds and entry.wants is not NOTHING and entry.wants is not None:
            self._limiting().hear(entry.wants, outcome)
        self._give_back(entry)
        spent = self._clock.monotonic() - began
        result = result_of(entry.job, outcome, started_at, self._clock.utc(), spent)
        succeeded = outcome.status is TaskStatus.SUCCESS
        if succeeded and outcome.output is not None:
            self._outputs[task.task_id] = outcome.output
        self._publish(entry, result, outcome)
        self._settle_blocked(self._scheduler.settle(number, succeeded=succeeded))
        if self._fail_fast and not succeeded:
            self.stop("fail_fast")

    def _give_back(self, entry: Entry) -> None:
        """A task needs no worker and no limits any more, or not now."""
        if not entry.holds:
            return
        entry.holds = False
        self.running -= 1
        if entry.wants is not NOTHING and entry.wants is not None:
            for limit in self._limiting().give_back(entry.wants):
                self._scheduler.unpark(limit)

    async def _rest(self, number: int, seconds: float, *, last: bool) -> bool:
        """A task waits between two attempts: others have its worker and its limits meanwhile. Whether
        it may go on."""
        entry = self._entries[number]
        self._give_back(entry)
        self._resting += 1
        try:
            self._start_more()
            await anyio.sleep(seconds)
            entry.woken = anyio.Event()
            self._scheduler.requeue(number, last=last)
            self._start_more()
            await entry.woken.wait()
            return entry.holds
        finally:
            self._resting -= 1
            entry.woken = None

    def _restored(self, known: Mapping[str, TaskResult]) -> dict[int, Settled]:
        """Takes over what has settled in an earlier process."""
        settled = {}
        for task_id, result in known.items():
            number = self.graph.number[task_id]
            self._entries[number].result = result
            if result.status is TaskStatus.SUCCESS and result.output is not None:
                self._outputs[task_id] = result.output
            causes = [self.graph.number.get(name) for name in result.blocked_by]
            roots = tuple(cause for cause in causes if cause is not None)
            settled[number] = Settled(_STATES.get(result.status, State.FAILED), roots)
        return settled

    def _settle_blocked(self, blocked: Iterable[Blocked]) -> None:
        for number, causes in blocked:
            names = tuple(self.graph.ids[cause] for cause in causes)
            error = blocked_error(names)
            self._settle_unstarted(number, TaskStatus.BLOCKED, error, names)

    def _abandon_the_rest(self) -> None:
        """What has not started is cancelled; also a worker that was cancelled before its first step."""
        for number in self._scheduler.abandon():
            self._settle_unstarted(number, TaskStatus.CANCELLED, self._cancellation(began=False))
        if self._group is not None:
            return
        for number in self._scheduler.under_way():
            if self._entries[number].result is None:
                self._scheduler.settle(number, succeeded=False)
                self._settle_unstarted(
                    number, TaskStatus.CANCELLED, self._cancellation(began=False)
                )

    def _settle_unstarted(
        self, number: int, status: TaskStatus, error: TaskError, blocked_by: tuple[str, ...] = ()
    ) -> None:
        entry = self._entries[number]
        task = entry.job.task
        result = TaskResult(
            task.task_id, task.agent, None, status, error=error, blocked_by=blocked_by,
            finished_at=self._clock.utc(),
        )  # fmt: skip
        self._publish(entry, result, Outcome(status, input=task.input_data))

    def _publish(self, entry: Entry, result: TaskResult, outcome: Outcome) -> None:
        """The result is final: recorded first, then told to whoever waits for it."""
        entry.result = result
        if self._emit is not None:
            self._report(
                TaskFinished(
                    result, entry.job.task.description, outcome.input,
                    outcome.attempts, outcome.mcp_calls, outcome.events,
                )
            )  # fmt: skip
        if entry.settled is not None:
            entry.settled.set()

    def _report(self, event: Event) -> None:
        if self._emit is None or self._record_error is not None:
            return
        try:
            self._emit(event)
        except RecordError as error:
            self._lose_records(error)

    def _lose_records(self, error: RecordError) -> None:
        self._record_error = self._record_error or error
        self.stop(None)

    def _cancellation(self, *, began: bool) -> TaskError:
        return cancellation(self.stopped, self._record_error, began=began)

    def _notice_the_end(self) -> None:
        if self._drained is None or self._stopping:
            return
        if self._scheduler.unsettled == 0:
            if self._closed:
                self._drained.set()
        elif self._closed and self.running == self._resting == 0 and self._next_opening() is None:
            raise InternalError("nothing runs, nothing may start, and tasks are left")

    def _result_of(self, number: int) -> TaskResult:
        result = self._entries[number].result
        if result is None:
            raise InternalError(f"task '{self.graph.ids[number]}' has no result")
        return result


class _Desk(Desk):
    """What the executor does for one task that runs."""

    __slots__ = ("_entry", "_executor", "_number")

    def __init__(self, executor: Executor, number: int, entry: Entry) -> None:
        self._executor = executor
        self._number = number
        self._entry = entry

    def usable(self, backend: Backend) -> bool:
        return self._executor._limiting().usable(backend)

    def heard(self, outcome: Outcome) -> float | None:
        return self._executor._limiting().hear(self._wants, outcome)

    def waits_for_reset(self) -> bool:
        return self._executor._limiting().waits_for_reset

    def throttled(self, provider: str | None, retry_after: float | None) -> None:
        if provider is not None:
            self._executor._limiting().throttled(self._wants, provider, retry_after)

    def allowance(self) -> Budget | None:
        return self._executor._limiting().allowance(self._wants)

    def spent(self, usage: Usage) -> str | None:
        return self._executor._limiting().spend(self._wants, usage)

    async def rest(self, seconds: float, outcome: Outcome) -> bool:
        error = outcome.error
        throttled = outcome.provider is not None and error is not None and error.type in THROTTLES
        # at a gate it waits in line with the others, and behind those that were not refused yet
        seconds = 0.0 if throttled else seconds
        return await self._executor._rest(self._number, seconds, last=throttled)

    @property
    def _wants(self) -> Wants:
        return self._entry.wants or NOTHING


_STATES = {TaskStatus.SUCCESS: State.SUCCEEDED, TaskStatus.BLOCKED: State.BLOCKED}


def _without_limits(clock: Clock, report: Callable[[ProviderHeld], None]) -> "Admission":
    from dispatch_runner.engine.admission import Admission

    return Admission.of(clock, report)
