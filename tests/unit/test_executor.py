"""The executor: starts what may start, stops what must stop, accounts for every task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.engine.admission import Admission
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.executor import Executor
from dispatch_runner.engine.limits import Limits
from dispatch_runner.engine.runner import Job, Retrying, Surroundings
from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.events import Event, TaskFinished, TaskStarted
from dispatch_runner.models import ErrorType, JsonObject, Task, TaskResult, TaskStatus
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall
from dispatch_runner.testing import AnyInputRole, ScriptedBackend

pytestmark = pytest.mark.anyio


@dataclass
class Stage:
    """An executor whose tasks wait until the test lets them go."""

    max_workers: int = 10
    limits: Limits | None = None
    fail_fast: bool = False
    emit: Callable[[Event], None] | None = None
    events: list[Event] = field(default_factory=list)
    gates: dict[str, anyio.Event] = field(default_factory=dict)
    begun: dict[str, anyio.Event] = field(default_factory=dict)
    fails: set[str] = field(default_factory=set)
    instant: bool = False

    def __post_init__(self) -> None:
        self.backend = ScriptedBackend(self.script)
        around = Surroundings("c", Path.cwd(), AllowedRoots.of(), anyio.Event())
        self.executor = Executor(
            Retrying(Attempting(around, Clock())),
            max_workers=self.max_workers,
            admission=partial(Admission.of, limits=self.limits),
            emit=self.hear,
            fail_fast=self.fail_fast,
        )

    def hear(self, event: Event) -> None:
        if self.emit is not None:
            self.emit(event)
        self.events.append(event)

    async def script(self, call: AgentCall) -> JsonObject:
        self.begun_event(call.task_id).set()
        if not self.instant:
            await self.gate(call.task_id).wait()
        if call.task_id in self.fails:
            raise AgentError(ErrorType.INVALID_INPUT, "told to fail")
        return {"from": call.task_id}

    def gate(self, name: str) -> anyio.Event:
        return self.gates.setdefault(name, anyio.Event())

    def begun_event(self, name: str) -> anyio.Event:
        return self.begun.setdefault(name, anyio.Event())

    def add(
        self,
        *tasks: dict[str, Any],
        agent: dict[str, Any] | None = None,
        known: Mapping[str, TaskResult] | None = None,
    ) -> None:
        jobs = []
        for values in tasks:
            task = Task(agent="fake", **({"input_data": {}} | values))
            jobs.append(
                Job(task, Agent("fake", AnyInputRole(), self.backend, **agent or {}), 30, 0)
            )
        self.executor.add(jobs, known or {})

    async def started(self, *names: str) -> None:
        with anyio.fail_after(5):
            for name in names:
                await self.begun_event(name).wait()

    def running(self) -> set[str]:
        begun = {event.task_id for event in self.events if isinstance(event, TaskStarted)}
        ended = {e.result.task_id for e in self.events if isinstance(e, TaskFinished)}
        return begun - ended

    async def finish(self, name: str) -> None:
        self.gate(name).set()
        with anyio.fail_after(5):
            await self.executor.result(name)
        await anyio.wait_all_tasks_blocked()

    def statuses(self) -> dict[str, str]:
        return {result.task_id: result.status.value for result in self.executor.results()}


async def test_a_task_starts_when_its_own_dependencies_end_and_not_those_of_others() -> None:
    stage = Stage()
    stage.add(
        {"task_id": "quick"}, {"task_id": "slow"}, {"task_id": "next", "dependencies": ["quick"]}
    )
    async with anyio.create_task_group() as group:
        stage.executor.close()
        group.start_soon(stage.executor.run)
        await stage.started("quick", "slow")
        await stage.finish("quick")
        assert stage.running() == {"slow", "next"}
        await stage.finish("next")
        await stage.finish("slow")
    assert set(stage.statuses().values()) == {"success"}


async def test_never_more_workers_than_allowed() -> None:
    stage = Stage(max_workers=2, instant=True)
    stage.add(*({"task_id": str(n)} for n in range(20)))
    stage.executor.close()
    await stage.executor.run()
    assert stage.executor.peak <= 2
    assert set(stage.statuses().values()) == {"success"}


async def test_failure_blocks_dependents_and_nothing_else() -> None:
    stage = Stage(instant=True, fails={"a"})
    stage.add(
        {"task_id": "a"},
        {"task_id": "b", "dependencies": ["a"]},
        {"task_id": "c", "dependencies": ["b"]},
        {"task_id": "d"},
    )
    stage.executor.close()
    await stage.executor.run()
    assert stage.statuses() == {"a": "error", "b": "blocked", "c": "blocked", "d": "success"}
    blocked = stage.executor.results()[2]
    assert blocked.blocked_by == ("a",)
    assert blocked.error is not None
    assert blocked.error.type is ErrorType.DEPENDENCY
    assert "'a' did not succeed" in blocked.error.message


async def test_every_task_is_announced_once_and_results_keep_request_order() -> None:
    stage = Stage(instant=True, fails={"t3"}, max_workers=3)
    stage.add(*({"task_id": f"t{n}", "priority": n} for n in range(8)))
    stage.executor.close()
    await stage.executor.run()
    announced = [e.result.task_id for e in stage.events if isinstance(e, TaskFinished)]
    assert sorted(announced) == [f"t{n}" for n in range(8)]
    assert [r.task_id for r in stage.executor.results()] == [f"t{n}" for n in range(8)]


async def test_two_tasks_that_write_one_file_never_run_together(tmp_path: Path) -> None:
    target = tmp_path / "x.py"
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    stage = Stage()
    stage.add(
        {"task_id": "a", "modifies_files": [str(target)]},
        {"task_id": "b", "modifies_files": [f"{link}/sub/../x.py"]},
        {"task_id": "c", "modifies_files": [f"{tmp_path}/*.py"]},
        {"task_id": "free"},
    )
    stage.executor.close()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.executor.run)
        await stage.started("a", "free")
        for name, next_one in (("a", "b"), ("b", "c")):
            assert stage.running() == {name, "free"}
            await stage.finish(name)
            await stage.started(next_one)
        await stage.finish("c")
        await stage.finish("free")


async def test_an_agents_cap_holds_its_tasks_only() -> None:
    stage = Stage()
    stage.add({"task_id": "a"}, {"task_id": "b"}, agent={"max_concurrency": 1})
    stage.executor.close()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.executor.run)
        await stage.started("a")
        await anyio.wait_all_tasks_blocked()
        assert stage.running() == {"a"}
        await stage.finish("a")
        assert stage.running() == {"b"}
        await stage.finish("b")


async def test_a_rate_delays_a_start_until_the_window_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatch_runner.engine.limits.WINDOW_SECONDS", 0.05)
    stage = Stage(limits=Limits(rates={"api": 1}), instant=True)
    stage.add(*({"task_id": str(n), "resources": {"api": 1}} for n in range(3)))
    stage.executor.close()
    clock = Clock()
    began = clock.monotonic()
    with anyio.fail_after(5):
        await stage.executor.run()
    assert clock.monotonic() - began >= 0.1
    assert set(stage.statuses().values()) == {"success"}


async def test_stopping_cancels_what_runs_and_accounts_for_the_rest() -> None:
    stage = Stage(max_workers=1)
    stage.add({"task_id": "a"}, {"task_id": "b"}, {"task_id": "c", "dependencies": ["a"]})
    stage.executor.close()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.executor.run)
        await stage.started("a")
        stage.executor.stop("SIGINT")
    assert stage.statuses() == {"a": "cancelled", "b": "cancelled", "c": "cancelled"}
    messages = [r.error.message for r in stage.executor.results() if r.error]
    assert messages[0] == "cancelled while it ran: interrupted by SIGINT"
    assert messages[1] == "not started: interrupted by SIGINT"
    assert stage.executor.results()[0].attempts == 1


async def test_a_stop_before_the_start_runs_nothing() -> None:
    stage = Stage()
    stage.add({"task_id": "a"})
    stage.executor.close()
    stage.executor.stop("SIGTERM")
    await stage.executor.run()
    assert stage.statuses() == {"a": "cancelled"}
    assert stage.backend.calls == []


async def test_fail_fast_stops_at_the_first_failure() -> None:
    stage = Stage(fail_fast=True, fails={"a"}, max_workers=2)
    stage.add({"task_id": "a"}, {"task_id": "b"}, {"task_id": "c"})
    stage.executor.close()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.executor.run)
        await stage.started("a", "b")
        stage.gate("a").set()
    assert stage.statuses() == {"a": "error", "b": "cancelled", "c": "cancelled"}
    assert stage.executor.stopped == "fail_fast"


async def test_the_dispatch_timeout_cancels_what_has_not_finished() -> None:
    stage = Stage()
    stage.add({"task_id": "a"}, {"task_id": "b", "dependencies": ["a"]})
    stage.executor.close()
    with anyio.fail_after(5):
        await stage.executor.run(deadline_seconds=0.02)
    assert stage.statuses() == {"a": "cancelled", "b": "cancelled"}
    assert stage.executor.stopped == "timeout"


async def test_a_cancelled_caller_still_gets_every_task_settled() -> None:
    stage = Stage()
    stage.add({"task_id": "a"}, {"task_id": "b", "dependencies": ["a"]})
    stage.executor.close()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.executor.run)
        await stage.started("a")
        group.cancel_scope.cancel()
    assert stage.statuses() == {"a": "cancelled", "b": "cancelled"}


async def test_a_record_that_cannot_be_written_stops_the_dispatch() -> None:
    def emit(event: Event) -> None:
        if isinstance(event, TaskFinished) and event.result.task_id == "a":
            raise RecordError("write", "/full/disk", "no space left")

    stage = Stage(emit=emit, max_workers=1, instant=True)
    stage.add({"task_id": "a"}, {"task_id": "b"})
    stage.executor.close()
    with pytest.raises(RecordError, match="no space left"):
        await stage.executor.run()
    assert stage.statuses() == {"a": "success", "b": "cancelled"}
    assert len(stage.backend.calls) == 1


async def test_a_record_that_cannot_be_written_before_the_start_stops_the_dispatch() -> None:
    """What failed in an earlier process blocks two tasks; the fate of the first is not recorded."""

    def emit(event: Event) -> None:
        if isinstance(event, TaskFinished):
            raise RecordError("write", "/full/disk", "no space left")

    stage = Stage(emit=emit)
    failed = TaskResult("a", "fake", None, TaskStatus.ERROR)
    after_a = [{"task_id": name, "dependencies": ["a"]} for name in "bc"]
    stage.add({"task_id": "a"}, *after_a, {"task_id": "d"}, known={"a": failed})
    stage.executor.close()
    with pytest.raises(RecordError, match="no space left"):
        await stage.executor.run()
    assert stage.statuses() == {"a": "error", "b": "blocked", "c": "blocked", "d": "cancelled"}


async def test_output_that_cannot_be_written_stops_the_dispatch() -> None:
    async def script(call: AgentCall) -> JsonObject:
        raise RecordError("create", "/full/disk", "no space left")

    stage = Stage(max_workers=1)
    stage.backend = ScriptedBackend(script)
    stage.add({"task_id": "a"}, {"task_id": "b"})
    stage.executor.close()
    with pytest.raises(RecordError, match="no space left"):
        await stage.executor.run()
    assert stage.statuses() == {"a": "cancelled", "b": "cancelled"}
    error = stage.executor.results()[0].error
    assert error is not None
    assert "no space left" in error.message


async def test_tasks_may_be_added_while_others_run() -> None:
    stage = Stage()
    async with anyio.create_task_group() as group:
        group.start_soon(stage.executor.run)
        stage.add({"task_id": "a"})
        await stage.started("a")
        stage.add({"task_id": "b", "dependencies": ["a"]}, {"task_id": "c"})
        await stage.started("c")
        await stage.finish("a")
        await stage.finish("b")
        await stage.finish("c")
        stage.executor.close()
    assert stage.executor.results()[1].status is TaskStatus.SUCCESS
    assert stage.backend.calls[-1].dependencies == {"a": {"from": "a"}}


async def test_tasks_that_never_wait_leave_turns_to_others() -> None:
    stage = Stage(instant=True)
    stage.add(*({"task_id": str(n)} for n in range(5000)))
    stage.executor.close()
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.lowlevel.checkpoint()
        await stage.executor.run()
        group.cancel_scope.cancel()
    assert turns > 3
