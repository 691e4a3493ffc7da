"""A task whose result is in the cache is not run again, and what a result says of itself is true."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.cache.caching import Caching
from dispatch_runner.cache.keys import Keys
from dispatch_runner.cache.store import Store
from dispatch_runner.clock import Clock
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.runner import Job, Outcome, Retrying, Start, Surroundings
from dispatch_runner.errors import AgentError
from dispatch_runner.events import CacheConsulted, Event
from dispatch_runner.models import ErrorType, JsonObject, Task, TaskStatus, Usage
from dispatch_runner.models.request import Workspace
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall
from dispatch_runner.testing import AnyInputRole, Script, ScriptedBackend

pytestmark = pytest.mark.anyio


class Bench:
    """Runs tasks with one cache, one dispatch each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.work = self.folder / "work"
        self.work.mkdir()
        self.runs = 0
        self.events: list[Event] = []
        self.dispatch = 0
        self.secret = "s3cret"

    async def script(self, call: AgentCall) -> JsonObject:
        self.runs += 1
        return {"run": self.runs}

    async def __call__(
        self, script: Script | None = None, *, agent: Agent | None = None,
        outputs: dict[str, JsonObject] | None = None, reads: bool = True,
        has_references: bool = False, workspace: Workspace = "in_place", **fields: Any,
    ) -> Outcome:  # fmt: skip
        roots = AllowedRoots((str(self.work),))
        around = Surroundings("c", self.work, roots, anyio.Event())
        store = Store(self.folder / "cache", 1 << 20)
        agent = agent or Agent("fake", AnyInputRole(), ScriptedBackend(script or self.script))
        task = Task(**{"task_id": "t", "agent": "fake", "input_data": {"n": 1}, **fields})
        start = Start(
            Job(task, agent, 30.0, 0, has_references, workspace=workspace),
            outputs or {},
            Outcome(),
            self.events.append,
        )
        self.dispatch += 1
        caching = Caching(
            Retrying(Attempting(around, Clock())),
            store,
            Keys({}, {}, {}, self.work, roots),
            holds_secret=lambda value: self.secret in repr(value),
            correlation_id=f"dispatch-{self.dispatch}",
            clock=Clock(),
            reads=reads,
            tells=True,
        )
        try:
            await caching.run(start)
        finally:
            store.close()
        return start.outcome

    @property
    def answers(self) -> list[str]:
        """What the cache said, in order."""
        return [event.answer for event in self.events if isinstance(event, CacheConsulted)]

    @property
    def reason(self) -> str:
        """Why, the last time."""
        told = [event for event in self.events if isinstance(event, CacheConsulted)]
        return told[-1].reason


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_the_same_work_is_done_once(bench):
    first, second = await bench(), await bench()
    assert bench.runs == 1
    assert first.output == second.output == {"run": 1}
    assert second.status is TaskStatus.SUCCESS
    assert bench.answers == ["miss", "stored", "hit"]


async def test_a_hit_says_what_it_is(bench):
    async def script(call: AgentCall) -> JsonObject:
        call.meter.spend(Usage(10, 5, None, 1, 0.5))
        return {"done": True}

    first = await bench(script)
    assert first.usage == Usage(10, 5, None, 1, 0.5)
    hit = await bench(script)
    assert hit.backend == "scripted"
    assert hit.provider is None
    assert hit.usage is None
    assert hit.attempts == []
    assert hit.input == {"n": 1}
    (warning,) = hit.warnings
    assert warning.startswith("from the cache: result of dispatch dispatch-1 of 2")
    (event,) = hit.events
    assert (event.event, event.data["answer"]) == ("cache", "hit")
    assert event.data["usage_then"]["cost_usd"] == 0.5
    assert len(event.data["key"]) == 64


async def test_the_trace_of_a_miss_says_why_and_what_was_kept(bench):
    await bench()
    outcome = await bench(input_data={"n": 2})
    miss, stored = (event.data for event in outcome.events if event.event == "cache")
    assert miss["answer"] == "miss"
    assert "differs from dispatch dispatch-1 of" in miss["reason"]
    assert miss["reason"].endswith("in input/n")
    assert stored["answer"] == "stored"
    assert stored["key"] == miss["key"]


async def test_another_task_with_the_same_work_hits(bench):
    await bench(task_id="a")
    await bench(task_id="b")
    assert bench.answers[-1] == "hit"


async def test_refreshing_runs_and_replaces(bench):
    await bench()
    again = await bench(reads=False)
    assert again.output == {"run": 2}
    assert (await bench()).output == {"run": 2}
    assert bench.answers == ["miss", "stored", "miss", "stored", "hit"]


async def test_a_failure_is_not_kept(bench):
    async def script(call: AgentCall) -> JsonObject:
        bench.runs += 1
        raise AgentError(ErrorType.BAD_OUTPUT, "no")

    for _ in range(2):
        outcome = await bench(script)
        assert outcome.status is TaskStatus.ERROR
    assert bench.runs == 2
    assert bench.answers == ["miss", "miss"]


async def test_a_cancelled_task_is_not_kept(bench):
    async def script(call: AgentCall) -> JsonObject:
        await anyio.sleep_forever()
        return {}

    with anyio.move_on_after(0.05):
        await bench(script)
    await bench()
    assert bench.answers == ["miss", "miss", "stored"]


@pytest.mark.parametrize("where", ["input", "output", "file"])
async def test_what_looks_like_a_secret_is_not_kept(bench, where):
    async def script(call: AgentCall) -> JsonObject:
        if where == "file":
            (bench.work / "out").write_text(f"key = {bench.secret}")
            return {"files_written": [str(bench.work / "out")]}
        return {"said": bench.secret if where == "output" else "nothing"}

    value = {"password": bench.secret if where == "input" else "none"}
    await bench(script, input_data=value)
    assert bench.answers[-1] == "not_stored"
    assert bench.reason == "it holds what looks like a secret"
    kept = b"".join(
        path.read_bytes() for path in (bench.folder / "cache").rglob("*") if path.is_file()
    )
    assert bench.secret.encode() not in kept


async def test_the_answer_of_a_fallback_is_not_kept(bench):
    async def unavailable(call: AgentCall) -> JsonObject:
        raise AgentError(ErrorType.UNAVAILABLE, "gone", retryable=False)

    second = ScriptedBackend(bench.script)
    second.name = "second"
    agent = Agent("fake", AnyInputRole(), ScriptedBackend(unavailable))._replace(fallback=(second,))
    outcome = await bench(agent=agent)
    assert outcome.status is TaskStatus.SUCCESS
    assert bench.answers[-1] == "not_stored"
    assert "'second' answered" in bench.reason


@pytest.mark.parametrize("workspace", ["scratch", "worktree"])
async def test_a_task_that_works_elsewhere_is_run_each_time(bench, workspace):
    for _ in range(2):
        assert (await bench(workspace=workspace)).status is TaskStatus.SUCCESS
    assert bench.runs == 2
    assert bench.answers == ["skipped", "skipped"]


async def test_references_are_resolved_before_they_are_compared(bench):
    given = {"v": "${tasks.up.output.x}"}
    for x in (1, 2, 1):
        await bench(
            input_data=given, has_references=True, outputs={"up": {"x": x}}, dependencies=["up"]
        )
    assert bench.runs == 2
    assert bench.answers[-1] == "hit"


async def test_a_reference_that_leads_nowhere_fails_as_without_a_cache(bench):
    outcome = await bench(
        input_data={"v": "${tasks.up.output.x}"}, has_references=True, outputs={"up": {"y": 1}}
    )
    assert outcome.error is not None
    assert outcome.error.type is ErrorType.INVALID_INPUT
    assert bench.answers == ["skipped"]


async def test_another_result_of_a_dependency_is_other_work(bench):
    await bench(outputs={"up": {"x": 1}}, dependencies=["up"])
    await bench(outputs={"up": {"x": 2}}, dependencies=["up"])
    assert bench.answers[-2:] == ["miss", "stored"]
    assert "result of up" in [e.reason for e in bench.events if isinstance(e, CacheConsulted)][-2]


def writing(bench: Bench, name: str, text: str, **output: Any) -> Script:
    async def script(call: AgentCall) -> JsonObject:
        bench.runs += 1
        (bench.work / name).write_text(text)
        return {"files_written": [str(bench.work / name)], **output}

    return script


async def test_a_file_that_was_produced_is_put_back(bench):
    script = writing(bench, "out.txt", "made")
    await bench(script)
    (bench.work / "out.txt").unlink()
    hit = await bench(script)
    assert bench.runs == 1
    assert (bench.work / "out.txt").read_text() == "made"
    assert "files put back: 1" in hit.warnings[0]
    assert hit.events[0].data["files"] == [str(bench.work / "out.txt")]


@pytest.mark.parametrize("damage", ["removed", "changed"])
async def test_a_kept_file_that_is_damaged_means_the_task_is_run(bench, damage):
    script = writing(bench, "out.txt", "made")
    await bench(script)
    (bench.work / "out.txt").unlink()
    (kept,) = (bench.folder / "cache/files").iterdir()
    if damage == "removed":
        kept.unlink()
    else:
        kept.write_text("damaged")
    await bench(script)
    assert bench.runs == 2
    assert (bench.work / "out.txt").read_text() == "made"
    assert bench.answers == ["miss", "stored", "miss", "stored"]


async def test_a_file_that_was_edited_since_means_the_task_is_run(bench):
    script = writing(bench, "out.txt", "made")
    await bench(script)
    (bench.work / "out.txt").write_text("edited")
    await bench(script)
    assert bench.runs == 2
    assert "neither as that run found it" in bench.events[-2].reason


async def test_a_file_that_changes_while_the_task_reads_it_spoils_the_result(bench):
    read = bench.work / "read.txt"
    read.write_text("old")

    async def script(call: AgentCall) -> JsonObject:
        read.write_text("new")
        return {"done": True}

    await bench(script, input_data={"path": str(read)})
    assert bench.answers[-1] == "not_stored"
    assert f"file {read} changed while it ran" in bench.reason


async def test_a_task_that_edits_the_file_it_names_hits_when_it_declares_it(bench):
    file = bench.work / "file.txt"
    file.write_text("old")
    script = writing(bench, "file.txt", "new")
    fields = {"input_data": {"path": str(file)}, "modifies_files": [str(file)]}
    await bench(script, **fields)
    assert (await bench(script, **fields)).warnings, "it is as the task left it"
    file.write_text("old")
    await bench(script, **fields)
    assert (bench.runs, file.read_text()) == (1, "new")
    assert bench.answers == ["miss", "stored", "hit", "hit"]


async def test_a_success_stays_one_when_the_dispatch_is_cancelled_while_it_is_kept(bench):
    async def script(call: AgentCall) -> JsonObject:
        scope.cancel()
        return {"done": True}

    outcome = None
    with anyio.CancelScope() as scope:
        outcome = await bench(script)
    assert outcome is not None
    assert outcome.status is TaskStatus.SUCCESS
    assert bench.answers == ["miss", "stored"]


async def test_a_cache_that_cannot_be_written_costs_a_task_nothing(bench):
    async def script(call: AgentCall) -> JsonObject:
        bench.runs += 1
        entries = bench.folder / "cache/entries"
        entries.rename(bench.folder / "gone")
        entries.write_text("")
        (bench.folder / "gone").rmdir()
        return {"done": True}

    outcome = await bench(script)
    assert outcome.status is TaskStatus.SUCCESS
    assert bench.answers == ["miss", "not_stored"]
    assert bench.reason.startswith("the cache cannot be written")


async def test_a_role_that_cannot_say_what_it_depends_on_is_asked_all_the_same(bench):
    class Broken(AnyInputRole):
        version = "1"

        def reads(self, value):
            raise KeyError("path")

    agent = Agent("fake", Broken(), ScriptedBackend(bench.script))
    assert (await bench(agent=agent)).status is TaskStatus.SUCCESS
    assert bench.answers == ["skipped"]
    assert "KeyError" in bench.reason


async def test_an_output_that_is_no_json_is_not_kept(bench):
    async def script(call: AgentCall) -> JsonObject:
        return {"bad": {1, 2}}

    assert (await bench(script)).status is TaskStatus.SUCCESS
    assert bench.answers[-1] == "not_stored"


async def test_warnings_of_the_first_run_are_given_again(bench):
    class Warner(ScriptedBackend):
        async def answer(self, role, call):
            answer = await super().answer(role, call)
            answer.warnings.append("look at this")
            return answer

    agent = Agent("fake", AnyInputRole(), Warner(bench.script))
    for _ in range(3):
        outcome = await bench(agent=agent)
    assert outcome.warnings[0] == "look at this"
    assert len(outcome.warnings) == 2


async def test_nothing_is_left_open(bench):
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(3):
        await bench(writing(bench, f"out{number}", "made"), input_data={"n": number})
        (bench.work / f"out{number}").unlink()
        await bench(input_data={"n": number})
    assert len(list(Path("/dev/fd").iterdir())) <= before
