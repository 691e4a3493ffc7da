"""Any graph, any interleaving, any failures: what the scheduler promises."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.engine.scheduler import Scheduler, State
from dispatch_runner.models import RunWhen

RUN_WHEN: list[RunWhen] = ["all_success", "all_done", "one_success"]


@dataclass
class Case:
    """A graph, how its tasks end, and which limits they ask for."""

    dependencies: list[list[int]]
    order: list[int]
    succeeds: list[bool]
    run_when: list[RunWhen]
    priority: list[int]
    limit: list[int | None]
    picks: list[int]
    capacity: int
    workers: int
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [f"t{n}" for n in range(len(self.dependencies))]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    size = draw(st.integers(1, 14))
    dependencies = [
        draw(st.lists(st.integers(0, n - 1), max_size=4, unique=True)) if n else []
        for n in range(size)
    ]
    each = lambda values: draw(st.lists(values, min_size=size, max_size=size))  # noqa: E731
    return Case(
        dependencies,
        draw(st.permutations(range(size))),
        each(st.booleans()),
        each(st.sampled_from(RUN_WHEN)),
        each(st.integers(-1, 1)),
        each(st.one_of(st.none(), st.integers(0, 2))),
        draw(st.lists(st.integers(0, 100), min_size=size * 3, max_size=size * 3)),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 4)),
    )


def expected_states(case: Case) -> list[State]:
    """The outcome by definition: each task looked at once, in topological order."""
    states: list[State] = []
    for number, ups in enumerate(case.dependencies):
        ok = [states[up] is State.SUCCEEDED for up in ups]
        runs = {
            "all_success": all(ok),
            "all_done": True,
            "one_success": any(ok) or not ok,
        }[case.run_when[number]]
        ended = State.SUCCEEDED if case.succeeds[number] else State.FAILED
        states.append(ended if runs else State.BLOCKED)
    return states


def expected_roots(case: Case, states: list[State]) -> dict[int, set[int]]:
    roots: dict[int, set[int]] = {}
    for number, ups in enumerate(case.dependencies):
        if states[number] is State.BLOCKED:
            failed = {up for up in ups if states[up] is State.FAILED}
            roots[number] = failed.union(*(roots[up] for up in ups if states[up] is State.BLOCKED))
    return roots


@given(cases())
def test_any_interleaving_settles_every_task_once_as_the_definition_says(case: Case) -> None:
    # numbers in the graph are shuffled, so that request order is not topological order
    position = {number: place for place, number in enumerate(case.order)}
    graph = Graph(
        Node(case.names[n], [case.names[up] for up in case.dependencies[n]]) for n in case.order
    )
    scheduler = Scheduler(graph)
    blocked = scheduler.add(
        range(len(graph)),
        [case.priority[n] for n in case.order],
        [case.run_when[n] for n in case.order],
    )
    assert blocked == []
    held = {0: 0, 1: 0, 2: 0}
    running: list[int] = []
    settled: dict[int, State] = {}
    roots: dict[int, set[int]] = {}
    picks = iter(case.picks)

    while scheduler.unsettled:
        while len(running) < case.workers and (place := scheduler.pop()) is not None:
            number = case.order[place]
            limit = case.limit[number]
            assert all(up in settled for up in case.dependencies[number]), "started too early"
            assert number not in settled
            assert number not in running
            if limit is not None and held[limit] >= case.capacity:
                scheduler.park(place, limit)
                continue
            if limit is not None:
                held[limit] += 1
            scheduler.start(place)
            running.append(number)
        assert running, "tasks are left, nothing runs, and nothing is ready"
        number = running.pop(next(picks, 0) % len(running))
        limit = case.limit[number]
        if limit is not None:
            held[limit] -= 1
            scheduler.unpark(limit)
        settled[number] = State.SUCCEEDED if case.succeeds[number] else State.FAILED
        for cause in scheduler.settle(position[number], succeeded=case.succeeds[number]):
            dependent = case.order[cause.number]
            assert dependent not in settled
            settled[dependent] = State.BLOCKED
            roots[dependent] = {case.order[root] for root in cause.root_causes}

    states = expected_states(case)
    assert [settled[n] for n in range(len(states))] == states
    assert roots == expected_roots(case, states)


@given(cases())
def test_a_free_worker_never_waits_while_an_admissible_task_is_ready(case: Case) -> None:
    """With as many workers as tasks, all that is ready and fits its limit starts at once."""
    graph = Graph(
        Node(name, [case.names[up] for up in ups])
        for name, ups in zip(case.names, case.dependencies, strict=True)
    )
    scheduler = Scheduler(graph)
    scheduler.add(range(len(graph)), case.priority, ["all_done"] * len(graph))
    held = {0: 0, 1: 0, 2: 0}
    running: list[int] = []
    picks = iter(case.picks)
    while scheduler.unsettled:
        while (number := scheduler.pop()) is not None:
            limit = case.limit[number]
            if limit is not None and held[limit] >= case.capacity:
                scheduler.park(number, limit)
                continue
            if limit is not None:
                held[limit] += 1
            scheduler.start(number)
            running.append(number)
        for number, state in enumerate(scheduler.state):
            if state is State.READY:
                limit = case.limit[number]
                assert limit is not None
                assert held[limit] == case.capacity, "could have started"
        number = running.pop(next(picks, 0) % len(running))
        if (limit := case.limit[number]) is not None:
            held[limit] -= 1
            scheduler.unpark(limit)
        scheduler.settle(number, succeeded=case.succeeds[number])
