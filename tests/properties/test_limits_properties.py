"""Scheduler and limits together: nothing is exceeded, and nothing waits that could run."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.engine.limits import Limits
from dispatch_runner.engine.scheduler import Scheduler, State
from dispatch_runner.engine.wants import Needs
from dispatch_runner.paths import overlap

CAPACITY = {"a": 2, "b": 3}
LOCKS = ["/w/x", "/w/y", "/w/*", "/v/z", "/**/z"]


@dataclass
class Case:
    """Independent tasks with needs, in an order of ends."""

    needs: list[Needs]
    picks: list[int]
    workers: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    size = draw(st.integers(1, 12))
    needs = st.builds(
        Needs,
        st.dictionaries(st.sampled_from(["a", "b"]), st.integers(1, 2)),
        st.lists(st.sampled_from(LOCKS), max_size=2, unique=True),
    )
    return Case(
        draw(st.lists(needs, min_size=size, max_size=size)),
        draw(st.lists(st.integers(0, 100), min_size=size, max_size=size)),
        draw(st.integers(1, 12)),
    )


def conflict(one: Needs, other: Needs) -> bool:
    return any(overlap(a, b) for a in one.locks for b in other.locks)


def fits(needs: Needs, running: list[Needs]) -> bool:
    """By definition: looked at all at once."""
    for name, amount in needs.units.items():
        if sum(held.units.get(name, 0) for held in running) + amount > CAPACITY[name]:
            return False
    return not any(conflict(needs, held) for held in running)


@given(cases())
def test_limits_are_never_exceeded_and_whatever_fits_runs(case: Case) -> None:
    scheduler = Scheduler(graph := Graph(Node(str(n)) for n in range(len(case.needs))))
    scheduler.add(range(len(graph)), [0] * len(graph), ["all_success"] * len(graph))
    limits = Limits(CAPACITY)
    running: list[int] = []
    picks = iter(case.picks)
    while scheduler.unsettled:
        while len(running) < case.workers and (number := scheduler.pop()) is not None:
            refusal = limits.take(case.needs[number], 0.0)
            if refusal is not None:
                scheduler.park(number, refusal)
                continue
            assert fits(case.needs[number], [case.needs[n] for n in running]), "exceeded"
            scheduler.start(number)
            running.append(number)
        if len(running) < case.workers:
            held = [case.needs[n] for n in running]
            idle = [n for n, state in enumerate(scheduler.state) if state is State.READY]
            assert not [n for n in idle if fits(case.needs[n], held)], "could run, and waits"
        assert running, "nothing runs, and tasks are left"
        number = running.pop(next(picks) % len(running))
        for limit in limits.release(case.needs[number]):
            scheduler.unpark(limit)
        scheduler.settle(number, succeeded=True)
