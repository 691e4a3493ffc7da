"""What a resume rests on: which tasks are the same, attempts that go on counting, budgets that remember."""

from pathlib import Path

import anyio
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.dispatching.changes import differences, mapping
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.budgets import Budgets
from dispatch_runner.engine.entries import outcome_so_far, result_of
from dispatch_runner.engine.runner import Job, Retrying, Start, Surroundings
from dispatch_runner.engine.wants import wants_of
from dispatch_runner.errors import AgentError
from dispatch_runner.events import Event
from dispatch_runner.models import ErrorType, JsonObject, Task, TaskError, TaskStatus, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.models.trace import Attempt
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall
from dispatch_runner.records.replay import RecordedTask, Replay
from dispatch_runner.testing import AnyInputRole, ScriptedBackend

INTERRUPTED = TaskError(ErrorType.CANCELLED, "interrupted")


def task(task_id: str, *dependencies: str, **more: object) -> JsonObject:
    return {
        "task_id": task_id,
        "agent": "echo",
        "input_data": {},
        "dependencies": [*dependencies],
        **more,
    }


def test_tasks_are_the_same_by_content_and_not_by_id() -> None:
    before = [task("a"), task("b", "a"), task("c", "b", input_data={"n": 1})]
    renamed = [task("x"), task("y", "x"), task("z", "y", input_data={"n": 1})]
    assert mapping(before, renamed, {"a", "b", "c"}) == {"x": "a", "y": "b", "z": "c"}
    assert mapping(before, renamed, {"a"}) == {"x": "a"}


def test_what_depends_on_other_content_is_another_task() -> None:
    before = [task("a"), task("b", "a")]
    after = [task("a", input_data={"n": 2}), task("b", "a")]
    assert mapping(before, after, {"a", "b"}) == {}


def test_each_result_is_kept_once_and_best_under_its_own_id() -> None:
    before = [task("a"), task("b")]
    after = [task("x"), task("b"), task("y")]
    assert mapping(before, after, {"a", "b"}) == {"b": "b", "x": "a"}


def test_what_is_no_content_changes_nothing() -> None:
    before = [task("a")]
    after = [
        task("a", description="d", priority=3, timeout_seconds=5, run_when="all_success", checks=[])
    ]
    assert mapping(before, after, {"a"}) == {"a": "a"}


def test_a_different_order_is_a_difference() -> None:
    (found,) = differences({"tasks": [task("a"), task("b")]}, {"tasks": [task("b"), task("a")]})
    assert found.message == "the order of the tasks was changed"


def test_there_are_never_more_than_a_thousand_differences() -> None:
    after = {"tasks": [task(str(n)) for n in range(2_000)]}
    assert len(differences({"tasks": []}, after)) == 1_000


def earlier(number: int = 1, usage: Usage | None = None) -> Attempt:
    return Attempt(number, "2026-01-01T00:00:00.000Z", "…", 500.0, INTERRUPTED, usage=usage)


def job(script: object, *made: Attempt, retries: int = 0) -> Job:
    given = Task(task_id="t", agent="fake", input_data={})
    backend = ScriptedBackend(script, provider="p")  # type: ignore[arg-type]
    return Job(given, Agent("fake", AnyInputRole(), backend), 30.0, retries, earlier=made)


@pytest.mark.anyio
async def test_attempts_of_an_earlier_process_take_no_retries() -> None:
    numbers: list[int] = []

    async def script(call: AgentCall) -> JsonObject:
        numbers.append(call.attempt)
        raise AgentError(ErrorType.UNAVAILABLE, "not now")

    events: list[Event] = []
    around = Surroundings("c", Path.cwd(), AllowedRoots.of(), anyio.Event())
    made = job(script, earlier(1, Usage(10)), earlier(2, Usage(5)), retries=1)
    start = Start(made, {}, outcome_so_far(made), events.append, attempt=3)
    await Retrying(Attempting(around, Clock()), lambda low, high: 0.0).run(start)
    assert numbers == [3, 4]
    assert [attempt.attempt for attempt in start.outcome.attempts] == [1, 2, 3, 4]
    result = result_of(made, start.outcome, "now", "then", 0.25)
    assert (result.attempts, result.execution_time_ms) == (4, 1250.0)
    assert result.started_at == "2026-01-01T00:00:00.000Z"
    assert result.usage == Usage(15)


async def _never(call: AgentCall) -> JsonObject:
    raise AssertionError(call)


def test_what_a_task_consumed_before_counts_against_its_own_budget() -> None:
    wants = wants_of(job(_never, earlier(1, Usage(input_tokens=90))), {})
    account = Budgets(Budget(tokens=1_000), shares=1).account(
        "fake", Budget(tokens=100), used=wants.used
    )
    assert account is not None
    assert account.used == (0.0, 90.0, 0.0)


def test_what_the_dispatch_consumed_before_counts_against_its_budget() -> None:
    budgets = Budgets(Budget(tokens=1_000), shares=1)
    budgets.carry_over(Usage(input_tokens=600, output_tokens=300))
    account = budgets.account("fake", Budget())
    assert account is not None
    assert budgets.reserve(account) is None
    assert budgets.allowance(account) == Budget(tokens=100)
    assert budgets.spend(account, Usage(input_tokens=101)) is not None
    budgets.settle(account)
    assert budgets.spent() == "1001 of 1000 tokens"


def replay(*records: tuple[str, str | None, dict[str, object]]) -> Replay:
    made = Replay({"a": RecordedTask("a", "echo", "pending")})
    for second, (event, name, more) in enumerate(records):
        record = {
            "event": event,
            "task": name,
            "attempt": 1,
            "time": f"t{second}",
            "mono": float(second),
        }
        made.apply(record | more)
    return made


FINISHED = {"status": "success", "trace": "a.json"}


@pytest.mark.parametrize("status", ["cancelled", "blocked"])
def test_what_an_earlier_process_did_not_run_is_pending_for_the_next_one(status: str) -> None:
    ended = ("finished", "a", FINISHED | {"status": status})
    assert replay(("opened", None, {}), ended).tasks["a"].status == status
    assert replay(("opened", None, {}), ended, ("opened", None, {})).tasks["a"].status == "pending"


def test_a_task_that_was_started_again_has_no_result_any_more_and_an_earlier_one() -> None:
    made = replay(
        ("opened", None, {}),
        ("started", "a", {}),
        ("finished", "a", FINISHED),
        ("started", "a", {}),
    )
    found = made.tasks["a"]
    assert (found.status, found.finished) == ("running", None)
    assert found.earlier is not None
    assert [each.attempt for each in found.begun] == [1]


def test_what_ran_at_the_end_of_a_process_was_interrupted_when_it_last_wrote() -> None:
    made = replay(
        ("opened", None, {}),
        ("started", "a", {}),
        ("provider_held", None, {}),
        ("opened", None, {}),
    )
    found = made.tasks["a"]
    assert found.status == "pending"
    assert (found.begun[0].ended_at, found.begun[0].seconds) == ("t2", 1.0)


def test_time_between_processes_does_not_count() -> None:
    made = replay(
        ("opened", None, {}), ("started", "a", {"mono": 3.0}),
        ("opened", None, {"mono": 100.0}), ("finished", "a", FINISHED | {"mono": 101.5}),
    )  # fmt: skip
    assert (made.elapsed(), made.peak) == (4.5, 1)


def test_kept_results_count_only_with_the_opening_that_takes_them_over() -> None:
    kept = ("kept", "a", FINISHED)
    assert replay(("opened", None, {}), kept).tasks["a"].status == "pending"
    assert replay(("opened", None, {}), kept, ("opened", None, {})).tasks["a"].status == "pending"
    taken = ("opened", None, {"request_changed": True})
    assert replay(("opened", None, {}), kept, taken).tasks["a"].status == TaskStatus.SUCCESS
    lost = replay(("opened", None, {}), ("finished", "a", FINISHED), taken)
    assert lost.tasks["a"].status == "pending"
