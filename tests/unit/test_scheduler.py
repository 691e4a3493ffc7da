"""The scheduler: which task is next, who is blocked and why."""

import pytest

from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.engine.scheduler import MAX_ROOT_CAUSES, Scheduler, State
from dispatch_runner.errors import InternalError


def scheduler_of(
    edges: dict[str, list[str]], *, priority: dict[str, int] | None = None,
    run_when: dict[str, str] | None = None, estimate: dict[str, float] | None = None,
) -> Scheduler:  # fmt: skip
    graph = Graph(Node(name, ups, (estimate or {}).get(name)) for name, ups in edges.items())
    scheduler = Scheduler(graph)
    scheduler.add(
        range(len(graph)),
        [(priority or {}).get(name, 0) for name in edges],
        [(run_when or {}).get(name, "all_success") for name in edges],  # type: ignore[misc]
    )
    return scheduler


def names(scheduler: Scheduler, numbers: list[int]) -> list[str]:
    return [scheduler._graph.ids[n] for n in numbers]


def pop_all(scheduler: Scheduler) -> list[str]:
    popped = []
    while (number := scheduler.pop()) is not None:
        scheduler.start(number)
        popped.append(number)
    return names(scheduler, popped)


def settle(scheduler: Scheduler, name: str, *, succeeded: bool = True) -> dict[str, list[str]]:
    blocked = scheduler.settle(scheduler._graph.number[name], succeeded=succeeded)
    ids = scheduler._graph.ids
    return {ids[b.number]: [ids[cause] for cause in b.root_causes] for b in blocked}


def test_ready_tasks_come_in_request_order_when_nothing_else_decides() -> None:
    assert pop_all(scheduler_of({"b": [], "a": [], "c": []})) == ["b", "a", "c"]


def test_the_longest_remaining_path_goes_first() -> None:
    scheduler = scheduler_of({"short": [], "long": [], "after": ["long"]})
    assert pop_all(scheduler) == ["long", "short"]


def test_priority_beats_the_longest_path() -> None:
    scheduler = scheduler_of({"urgent": [], "long": [], "after": ["long"]}, priority={"urgent": 1})
    assert pop_all(scheduler) == ["urgent", "long"]


def test_a_task_is_ready_the_moment_its_own_dependencies_have_settled() -> None:
    scheduler = scheduler_of({"quick": [], "slow": [], "next": ["quick"]})
    pop_all(scheduler)
    settle(scheduler, "quick")
    assert pop_all(scheduler) == ["next"]


#   a ✗ ──► b ──► d      e
#   c ✗ ──────────┘
def test_blocked_tasks_name_the_root_causes_and_not_the_nearest() -> None:
    scheduler = scheduler_of({"a": [], "c": [], "b": ["a"], "d": ["b", "c"], "e": []})
    pop_all(scheduler)
    assert settle(scheduler, "a", succeeded=False) == {"b": ["a"]}
    assert settle(scheduler, "c", succeeded=False) == {"d": ["a", "c"]}
    assert settle(scheduler, "e") == {}
    assert scheduler.unsettled == 0


def test_all_done_runs_after_failures_and_after_blocked_tasks() -> None:
    scheduler = scheduler_of(
        {"a": [], "b": ["a"], "report": ["a", "b"]}, run_when={"report": "all_done"}
    )
    pop_all(scheduler)
    assert settle(scheduler, "a", succeeded=False) == {"b": ["a"]}
    assert pop_all(scheduler) == ["report"]


@pytest.mark.parametrize(
    ("first", "second", "runs"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_one_success_needs_one_and_waits_for_all(first: bool, second: bool, runs: bool) -> None:
    scheduler = scheduler_of({"a": [], "b": [], "c": ["a", "b"]}, run_when={"c": "one_success"})
    pop_all(scheduler)
    settle(scheduler, "a", succeeded=first)
    assert pop_all(scheduler) == []
    blocked = settle(scheduler, "b", succeeded=second)
    assert pop_all(scheduler) == (["c"] if runs else [])
    assert blocked == ({} if runs else {"c": ["a", "b"]})


def test_one_success_without_dependencies_runs() -> None:
    assert pop_all(scheduler_of({"a": []}, run_when={"a": "one_success"})) == ["a"]


def test_a_parked_task_comes_back_when_its_limit_opens() -> None:
    scheduler = scheduler_of({"a": [], "b": []})
    first = scheduler.pop()
    assert first is not None
    scheduler.park(first, "limit")
    assert pop_all(scheduler) == ["b"]
    scheduler.unpark("limit")
    assert pop_all(scheduler) == ["a"]


def test_a_limit_sends_its_waiters_one_by_one() -> None:
    scheduler = scheduler_of({name: [] for name in "abc"})
    for _ in range(3):
        number = scheduler.pop()
        assert number is not None
        scheduler.park(number, "lock")
    scheduler.unpark("lock")
    scheduler.unpark("lock")
    number = scheduler.pop()
    assert number == 0
    assert scheduler.pop() is None, "the next one follows only when the first was admitted"
    scheduler.start(number)
    assert scheduler.pop() == 1


def test_a_waiter_that_is_refused_again_does_not_drag_the_others_along() -> None:
    scheduler = scheduler_of({name: [] for name in "abc"})
    for _ in range(3):
        scheduler.park(scheduler.pop() or 0, "lock")
    scheduler.unpark("lock")
    scheduler.park(scheduler.pop() or 0, "lock")
    assert scheduler.pop() is None
    scheduler.unpark("lock")
    assert scheduler.pop() == 0


def test_a_waiter_that_moves_to_another_limit_lets_the_next_one_try() -> None:
    scheduler = scheduler_of({name: [] for name in "ab"})
    for _ in range(2):
        scheduler.park(scheduler.pop() or 0, "lock")
    scheduler.unpark("lock")
    scheduler.park(scheduler.pop() or 0, "other")
    assert scheduler.pop() == 1


def test_abandoning_settles_what_has_not_started_and_leaves_what_runs() -> None:
    scheduler = scheduler_of({"a": [], "b": [], "c": ["a"]})
    running = scheduler.pop()
    assert running is not None
    scheduler.start(running)
    assert names(scheduler, scheduler.abandon()) == ["b", "c"]
    assert settle(scheduler, "a", succeeded=False) == {}
    assert scheduler.unsettled == 0


def test_tasks_added_later_see_what_has_settled() -> None:
    scheduler = scheduler_of({"ok": [], "bad": []})
    pop_all(scheduler)
    settle(scheduler, "ok")
    settle(scheduler, "bad", succeeded=False)
    new = scheduler._graph.extend([Node("x", ["ok"]), Node("y", ["bad"]), Node("z", ["y"])])
    blocked = scheduler.add(new, [0, 0, 0], ["all_success"] * 3)
    assert [(b.number, b.root_causes) for b in blocked] == [(3, (1,)), (4, (1,))]
    assert pop_all(scheduler) == ["x"]


def test_a_join_of_many_failures_names_a_bounded_number_of_causes() -> None:
    many = [f"t{n}" for n in range(MAX_ROOT_CAUSES + 50)]
    scheduler = scheduler_of({**{name: [] for name in many}, "join": many})
    pop_all(scheduler)
    blocked = {}
    for name in many:
        blocked = settle(scheduler, name, succeeded=False)
    assert len(blocked["join"]) == MAX_ROOT_CAUSES


def test_settling_what_does_not_run_is_our_own_fault() -> None:
    scheduler = scheduler_of({"a": []})
    with pytest.raises(InternalError, match="'a' settles while it is ready"):
        scheduler.settle(0, succeeded=True)
    assert scheduler.state == [State.READY]
