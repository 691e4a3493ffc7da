"""Tasks whose agents share a provider: throttling, quotas, budgets, stalls, fallback, rest."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.engine.admission import Admission
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.budgets import Budgets
from dispatch_runner.engine.executor import Executor
from dispatch_runner.engine.gates import Gates
from dispatch_runner.engine.limits import Limits
from dispatch_runner.engine.runner import Job, Retrying, Surroundings
from dispatch_runner.errors import AgentError
from dispatch_runner.events import AttemptFailed, Event, ProviderHeld, TaskFinished, TaskStarted
from dispatch_runner.models import (
    ErrorType,
    JsonObject,
    Task,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
)
from dispatch_runner.models.budget import Budget
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall
from dispatch_runner.testing import AnyInputRole, ScriptedBackend

pytestmark = pytest.mark.anyio

NO_LIMIT = Budget()
Script = Callable[[AgentCall], Awaitable[JsonObject]]


def backend(script: Script, provider: str | None = "p") -> ScriptedBackend:
    return ScriptedBackend(script, provider=provider)


def agent(script: Script, **more: Any) -> Agent:
    return Agent("fake", AnyInputRole(), backend(script), **more)


def executor(
    events: list[Event], *, workers: int = 5, budget: Budget = NO_LIMIT, wait_for_reset: bool = False,
    pause: float = 0.01, limits: Limits | None = None,
) -> Executor:  # fmt: skip
    around = Surroundings("c", Path.cwd(), AllowedRoots.of(), anyio.Event())
    return Executor(
        Retrying(Attempting(around, Clock()), lambda low, high: 0.0),
        max_workers=workers,
        admission=partial(
            Admission.of,
            limits=limits,
            gates=Gates(wait_for_reset=wait_for_reset, uniform=lambda low, high: pause * high),
            budgets=Budgets(budget, shares=workers),
        ),
        emit=events.append,
    )


def job(name: str, by: Agent, retries: int = 2, **more: Any) -> Job:
    return Job(Task(task_id=name, agent=by.name, input_data={}, **more), by, 30.0, retries)


async def run(made: Executor, *jobs: Job) -> dict[str, TaskResult]:
    made.add(jobs)
    made.close()
    with anyio.fail_after(20):
        await made.run()
    return {result.task_id: result for result in made.results()}


def throttled(retry_after: float | None = None) -> AgentError:
    return AgentError(ErrorType.RATE_LIMITED, "429", retry_after=retry_after)


async def test_two_hundred_tasks_get_through_a_time_of_429_without_a_storm() -> None:
    events: list[Event] = []
    refused = 0

    async def script(call: AgentCall) -> JsonObject:
        nonlocal refused
        await anyio.lowlevel.checkpoint()
        if refused < 50 + 5:
            refused += 1
            raise throttled()
        return {"done": True}

    by = agent(script)
    results = await run(executor(events, workers=50), *(job(str(n), by) for n in range(200)))
    assert {result.status for result in results.values()} == {TaskStatus.SUCCESS}
    held = [event for event in events if isinstance(event, ProviderHeld)]
    assert len(held) == 1 + 5, "one burst, and then one call for each of the pauses"


async def test_a_quota_that_ends_stops_new_starts_and_says_when_it_is_there_again() -> None:
    calls = 0

    async def script(call: AgentCall) -> JsonObject:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise AgentError(
                ErrorType.RATE_LIMITED, "the quota is used up", exhausted=True, resets_at=0.0
            )
        await anyio.lowlevel.checkpoint()
        return {"n": calls}

    by = agent(script)
    results = await run(executor([], workers=4), *(job(f"{n:03}", by) for n in range(200)))
    statuses = [result.status for result in results.values()]
    assert statuses.count(TaskStatus.SUCCESS) == 20
    assert 1 <= statuses.count(TaskStatus.ERROR) <= 4, "those that were under way"
    assert calls <= 24
    last = results["199"]
    assert last.status is TaskStatus.CANCELLED
    assert last.error is not None
    assert last.error.details == {
        "cause": ErrorType.RATE_LIMITED, "provider": "p", "resets_at": 0.0
    }  # fmt: skip
    assert last.error.message == (
        "not started: 'p' takes no more calls: the quota is used up;"
        " it resets at 1970-01-01T00:00:00Z"
    )


async def test_a_quota_is_waited_for_on_request() -> None:
    left = 1

    async def script(call: AgentCall) -> JsonObject:
        nonlocal left
        if left == 0:
            left = 5
            raise AgentError(ErrorType.RATE_LIMITED, "used up", exhausted=True, retry_after=0.05)
        left -= 1
        return {"done": True}

    by = agent(script)
    made = executor([], wait_for_reset=True, workers=1)
    results = await run(made, *(job(str(n), by, retries=0) for n in range(4)))
    assert {result.status for result in results.values()} == {TaskStatus.SUCCESS}


async def test_a_refused_key_leaves_others_alone() -> None:
    async def refuse(call: AgentCall) -> JsonObject:
        raise AgentError(ErrorType.AUTH, "no such key")

    async def serve(call: AgentCall) -> JsonObject:
        return {"done": True}

    paid, free = agent(refuse), Agent("free", AnyInputRole(), backend(serve, None))
    results = await run(
        executor([], workers=1),
        job("a", paid),
        job("b", paid),
        job("c", free),
        job("d", free, dependencies=["b"]),
    )
    assert [result.status.value for result in results.values()] == [
        "cancelled", "error", "success", "blocked"
    ]  # fmt: skip
    assert results["d"].blocked_by == ("b",)


async def test_a_task_that_rests_between_attempts_lends_its_worker() -> None:
    events: list[Event] = []
    other_ended = anyio.Event()

    async def script(call: AgentCall) -> JsonObject:
        if call.task_id == "first" and call.attempt == 1:
            raise throttled(retry_after=0.1)
        if call.task_id == "other":
            other_ended.set()
        return {"done": True, "after": other_ended.is_set()}

    first = agent(script)
    other = Agent("other", AnyInputRole(), backend(script, "q"))
    made = executor(events, workers=1)
    results = await run(made, job("first", first), job("other", other))
    assert results["first"].output == {"done": True, "after": True}
    assert made.peak == 1
    assert results["first"].attempts == 2


async def test_a_dispatch_that_stops_while_a_task_rests_settles_it_once() -> None:
    events: list[Event] = []
    resting = anyio.Event()

    async def script(call: AgentCall) -> JsonObject:
        raise throttled(retry_after=60.0)

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, AttemptFailed):
            resting.set()

    by = agent(script)
    made = executor(events)
    made._emit = hear
    made.add([job("a", by), job("b", by)])
    made.close()
    async with anyio.create_task_group() as group:
        group.start_soon(made.run)
        with anyio.fail_after(5):
            await resting.wait()
        await anyio.wait_all_tasks_blocked()
        made.stop("SIGINT")
    assert {result.status for result in made.results()} == {TaskStatus.CANCELLED}
    assert sum(isinstance(event, TaskFinished) for event in events) == 2


async def test_a_dispatch_stays_within_its_budget_and_the_rest_is_cancelled() -> None:
    spent = 0.0

    async def script(call: AgentCall) -> JsonObject:
        nonlocal spent
        assert call.budget is not None
        assert call.budget.cost_usd is not None
        cost = min(0.4, call.budget.cost_usd)
        spent += cost
        call.meter.spend(Usage(cost_usd=cost))
        await anyio.lowlevel.checkpoint()
        if cost < 0.4:
            raise AgentError(ErrorType.BUDGET_EXCEEDED, "too little")
        return {"done": True}

    by = agent(script)
    made = executor([], budget=Budget(cost_usd=2.0))
    results = await run(made, *(job(str(n), by) for n in range(20)))
    assert spent <= 2.0 + 1e-9
    statuses = [result.status for result in results.values()]
    assert statuses.count(TaskStatus.SUCCESS) >= 4
    assert statuses.count(TaskStatus.CANCELLED) >= 10
    assert made.stopped == "budget"


async def test_an_agent_that_overspends_is_ended_at_once() -> None:
    async def script(call: AgentCall) -> JsonObject:
        call.meter.spend(Usage(input_tokens=600))
        await anyio.lowlevel.checkpoint()
        call.meter.spend(Usage(input_tokens=600))
        await anyio.sleep_forever()
        raise AssertionError

    results = await run(executor([]), job("a", agent(script), max_tokens=1_000))
    result = results["a"]
    assert result.error is not None
    assert result.error.type is ErrorType.BUDGET_EXCEEDED
    assert result.usage == Usage(input_tokens=1_200)


async def test_silence_ends_an_attempt_and_is_tried_once_more() -> None:
    async def script(call: AgentCall) -> JsonObject:
        call.meter.pulse()
        await anyio.sleep_forever()
        raise AssertionError

    results = await run(executor([]), job("a", agent(script, stall_seconds=0.02), retries=5))
    result = results["a"]
    assert (result.status, result.attempts) == (TaskStatus.ERROR, 2)
    assert result.error is not None
    assert result.error.type is ErrorType.STALLED
    assert result.error.message == "nothing was heard from it for 0.02 s"


async def test_signs_of_life_and_running_tools_are_waited_for() -> None:
    async def script(call: AgentCall) -> JsonObject:
        for _ in range(4):
            call.meter.pulse()
            await anyio.sleep(0.05)
        call.meter.pulse(working=True)
        await anyio.sleep(0.2)
        call.meter.pulse()
        return {"done": True}

    results = await run(executor([]), job("a", agent(script, stall_seconds=0.1)))
    assert results["a"].status is TaskStatus.SUCCESS


async def test_another_backend_answers_when_the_first_cannot() -> None:
    async def refuse(call: AgentCall) -> JsonObject:
        raise AgentError(ErrorType.AUTH, "no such key")

    async def serve(call: AgentCall) -> JsonObject:
        return {"done": True}

    second = backend(serve, None)
    by = agent(refuse, fallback=(second,))
    results = await run(executor([], workers=1), job("a", by), job("b", by))
    assert [result.status.value for result in results.values()] == ["success", "success"]
    assert results["a"].warnings == ["answered by 'scripted': 'scripted' failed: no such key"]
    assert len(second.calls) == 2


async def test_when_nobody_can_answer_each_says_why() -> None:
    async def refuse(call: AgentCall) -> JsonObject:
        raise AgentError(ErrorType.AUTH, "no such key")

    async def missing(call: AgentCall) -> JsonObject:
        raise AgentError(ErrorType.UNAVAILABLE, "no such program", retryable=False)

    by = agent(refuse, fallback=(backend(missing, "q"),))
    error = (await run(executor([]), job("a", by)))["a"].error
    assert error is not None
    assert error.message == "no such program; before that, 'scripted' failed: no such key"
    assert error.details["passed_over"] == ["'scripted' failed: no such key"]


@pytest.mark.parametrize(("seconds", "attempts"), [(601.0, 1), (0.01, 2)])
async def test_a_provider_that_asks_for_a_very_long_wait_has_no_quota_left(
    seconds: float, attempts: int
) -> None:
    async def script(call: AgentCall) -> JsonObject:
        if call.task_id == "a" and call.attempt == 1:
            raise AgentError(ErrorType.RATE_LIMITED, "later", retry_after=seconds)
        return {"done": True}

    by = agent(script)
    results = await run(executor([], workers=1), job("a", by), job("b", by))
    first, second = results["a"], results["b"]
    assert first.attempts == attempts
    if attempts == 2:
        assert second.status is TaskStatus.SUCCESS
        return
    assert first.error is not None
    assert first.error.details["resets_at"] == pytest.approx(time.time() + seconds, abs=5)
    assert second.status is TaskStatus.CANCELLED


async def test_a_failure_of_the_work_itself_does_not_go_to_another_backend() -> None:
    async def fail(call: AgentCall) -> JsonObject:
        raise AgentError(ErrorType.CHECK_FAILED, "wrong")

    async def serve(call: AgentCall) -> JsonObject:
        return {"done": True}

    by = agent(fail, fallback=(backend(serve),))
    results = await run(executor([]), job("a", by))
    assert results["a"].status is TaskStatus.ERROR


async def test_results_of_an_earlier_process_are_taken_over() -> None:
    events: list[Event] = []
    ran = []

    async def script(call: AgentCall) -> JsonObject:
        ran.append(call.task_id)
        return {"up": dict(call.dependencies)}

    by = agent(script)
    failed = TaskError(ErrorType.CRASHED, "it crashed")
    known = {
        "a": TaskResult("a", "fake", "x", TaskStatus.SUCCESS, {"n": 1}),
        "b": TaskResult("b", "fake", "x", TaskStatus.ERROR, error=failed),
        "d": TaskResult("d", "fake", None, TaskStatus.BLOCKED, blocked_by=("b",)),
    }
    made = executor(events)
    made.add(
        [
            job("a", by),
            job("b", by),
            job("c", by, dependencies=["a"]),
            job("d", by, dependencies=["b"]),
            job("e", by, dependencies=["d"]),
            job("f", by, dependencies=["a", "b"], run_when="all_done"),
        ],
        known,
    )
    made.close()
    await made.run()
    results = {result.task_id: result for result in made.results()}
    assert sorted(ran) == ["c", "f"]
    assert results["c"].output == {"up": {"a": {"n": 1}}}
    assert results["e"].blocked_by == ("b",), "the root cause, through a task of then"
    told = {e.result.task_id for e in events if isinstance(e, TaskFinished)}
    assert told == {"c", "e", "f"}


async def test_a_limit_that_opens_soon_is_not_missed_for_one_that_opens_late() -> None:
    class Foreign:
        tries = 0

        def try_acquire(self, entries: object) -> str | None:
            self.tries += 1
            return "another dispatch" if self.tries == 1 else None

        def release(self, entries: object) -> None: ...

    started: list[str] = []

    async def script(call: AgentCall) -> JsonObject:
        started.append(call.task_id)
        return {"done": True}

    by = Agent("fake", AnyInputRole(), backend(script, None))
    made = executor([], limits=Limits({}, {"slow": 1}, Foreign()))
    made.add(
        [
            job("1", by, resources={"slow": 1}),
            job("2", by, resources={"slow": 1}),
            job("3", by, modifies_files=["/tmp/x"], dependencies=["1"]),
        ]
    )
    made.close()
    async with anyio.create_task_group() as group:
        group.start_soon(made.run)
        with anyio.fail_after(5):
            await made.result("3")
        made.stop("SIGINT")
    assert started == ["1", "3"]


def test_a_started_event_is_told_once_however_often_a_task_rests() -> None:
    async def main() -> list[Event]:
        events: list[Event] = []
        failures = [throttled(), throttled()]

        async def script(call: AgentCall) -> JsonObject:
            if failures:
                raise failures.pop()
            return {"done": True}

        await run(executor(events), job("a", agent(script)))
        return events

    events = anyio.run(main)
    assert sum(isinstance(event, TaskStarted) for event in events) == 1
