"""Which task may start next. A pure state machine: no clock, no I/O, no event loop.

Promises, each tried by a property test over any graph and any interleaving:

* a task becomes ready exactly once, and only when all its dependencies have settled;
* among ready tasks the order is priority, then longest remaining path, then request order;
* a task is blocked if and only if `run_when` can no longer hold, and names every root cause;
* every task settles exactly once; settling costs time in proportion to the dependents only.
"""

from collections.abc import Hashable, Mapping, Sequence
from enum import Enum
from heapq import heappop, heappush
from types import MappingProxyType
from typing import NamedTuple

from dispatch_runner.engine.graph import Graph
from dispatch_runner.errors import InternalError
from dispatch_runner.models import RunWhen

MAX_ROOT_CAUSES = 100
"""How many root causes a blocked task names; a join of ten thousand failures stays readable."""


class State(Enum):
    """Where a task is."""

    WAITING = "waiting"
    """Some dependency has not settled."""
    READY = "ready"
    """Could start; also while it is parked at a limit."""
    RUNNING = "running"
    RESTING = "resting"
    """Ran, and waits for another attempt."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Ran or was cancelled, and did not succeed."""
    BLOCKED = "blocked"
    """Never ran, because of the tasks it depends on."""


class Blocked(NamedTuple):
    """A task that can no longer run, and the tasks whose failure stopped it."""

    number: int
    root_causes: tuple[int, ...]


class Settled(NamedTuple):
    """How a task has settled before it was added."""

    state: State
    """`SUCCEEDED`, `FAILED` or `BLOCKED`."""
    root_causes: tuple[int, ...] = ()


Entry = tuple[int, float, int]
"""A place in the ready queue: negated priority, negated remaining path, number."""


class Scheduler:
    """The ready queue and the states of all tasks of a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.state: list[State] = []
        self._entry: list[Entry] = []
        self._run_when: list[RunWhen] = []
        self._waiting: list[int] = []
        self._failed: list[int] = []
        self._roots: dict[int, tuple[int, ...]] = {}
        self._ready: list[Entry] = []
        self._parked: dict[Hashable, list[Entry]] = {}
        self._sent_by: dict[int, Hashable] = {}
        self._sending: set[Hashable] = set()
        self.unsettled = 0

    def add(
        self,
        new: range,
        priorities: Sequence[int],
        run_when: Sequence[RunWhen],
        known: Mapping[int, Settled] = MappingProxyType({}),
    ) -> list[Blocked]:
        """Takes in tasks that were just added to the graph; some may be blocked at once, and those that
        are `known` have settled."""
        self.state.extend(known[n].state if n in known else State.WAITING for n in new)
        self._roots.update((n, each.root_causes) for n, each in known.items())
        after = new.stop if known else new.start  # no task from here on has settled
        for number, priority in zip(new, priorities, strict=True):
            self._entry.append((-priority, -self._graph.remaining[number], number))
            ups = self._graph.dependencies[number]
            dependencies = [self.state[up] for up in ups if up < after]
            settled = [s for s in dependencies if s in _SETTLED]
            self._waiting.append(len(self._graph.dependencies[number]) - len(settled))
            self._failed.append(sum(s is not State.SUCCEEDED for s in settled))
        self._run_when.extend(run_when)
        self.unsettled += len(new) - len(known)
        blocked: list[Blocked] = []
        for number in new:
            if not self._waiting[number] and self.state[number] is State.WAITING:
                self._release(number, blocked)
        self._spread(blocked)
        return blocked

    def pop(self) -> int | None:
        """The best ready task, out of the queue. The caller starts it or parks it."""
        return heappop(self._ready)[2] if self._ready else None

    def start(self, number: int) -> None:
        """A popped task was admitted."""
        self.state[number] = State.RUNNING
        sender = self._sent_by.pop(number, None)
        if sender is not None:
            self._send(sender)

    def requeue(self, number: int, *, last: bool) -> None:
        """A running task that rested may start its next attempt: behind the others of its priority if
        it shall be the `last`."""
        if last:
            priority, place, _ = self._entry[number]
            self._entry[number] = (priority, max(place, 0.0) + 1.0, number)
        self.state[number] = State.RESTING
        heappush(self._ready, self._entry[number])

    def park(self, number: int, limit: Hashable) -> None:
        """A popped task was refused by a limit: it waits there until `unpark`."""
        heappush(self._parked.setdefault(limit, []), self._entry[number])
        sender = self._sent_by.pop(number, None)
        if sender is None:
            return
        if sender == limit:
            self._sending.discard(sender)
        else:
            self._send(sender)

    def unpark(self, limit: Hashable) -> None:
        """A limit may admit again: its best waiter goes back into the queue.

        One at a time: the next waiter follows when that one was admitted, so that a lock with ten
        thousand waiters costs one try a release and not ten thousand.
        """
        if limit not in self._sending:
            self._send(limit)

    def _send(self, limit: Hashable) -> None:
        waiters = self._parked.get(limit)
        if not waiters:
            self._parked.pop(limit, None)
            self._sending.discard(limit)
            return
        entry = heappop(waiters)
        self._sent_by[entry[2]] = limit
        self._sending.add(limit)
        heappush(self._ready, entry)

    def settle(self, number: int, *, succeeded: bool) -> list[Blocked]:
        """A running task ended. Returns what is blocked by that, in the order in which it happened."""
        state = self.state[number]
        if state is not State.RUNNING and state is not State.RESTING:
            task = self._graph.ids[number]
            raise InternalError(f"task '{task}' settles while it is {state.value}")
        self._settle(number, State.SUCCEEDED if succeeded else State.FAILED)
        blocked: list[Blocked] = []
        self._tell_dependents(number, blocked)
        self._spread(blocked)
        return blocked

    def _spread(self, blocked: list[Blocked]) -> None:
        for cause in blocked:  # grows while it is walked: blocked tasks block others
            self._tell_dependents(cause.number, blocked)

    def abandon(self) -> list[int]:
        """Settles everything that has not started, as failed; returns it. What runs is left alone."""
        rest = [n for n, state in enumerate(self.state) if state in {State.WAITING, State.READY}]
        for number in rest:
            self._settle(number, State.FAILED)
        self._ready.clear()
        self._parked.clear()
        self._sent_by.clear()
        self._sending.clear()
        return rest

    def under_way(self) -> list[int]:
        """What was started and has not settled."""
        return [number for number, state in enumerate(self.state) if state in _STARTED]

    def _settle(self, number: int, state: State) -> None:
        self.state[number] = state
        self.unsettled -= 1

    def _tell_dependents(self, number: int, blocked: list[Blocked]) -> None:
        failed = self.state[number] is not State.SUCCEEDED
        for dependent in self._graph.dependents[number]:
            if self.state[dependent] is not State.WAITING:
                continue  # abandoned
            self._waiting[dependent] -= 1
            self._failed[dependent] += failed
            if not self._waiting[dependent]:
                self._release(dependent, blocked)

    def _release(self, number: int, blocked: list[Blocked]) -> None:
        """All dependencies have settled: the task is ready, or it is blocked."""
        if self._may_run(number):
            self.state[number] = State.READY
            heappush(self._ready, self._entry[number])
            return
        self._roots[number] = roots = self._root_causes(number)
        self._settle(number, State.BLOCKED)
        blocked.append(Blocked(number, roots))

    def _may_run(self, number: int) -> bool:
        failed = self._failed[number]
        match self._run_when[number]:
            case "all_success":
                return failed == 0
            case "all_done":
                return True
            case "one_success":
                return failed == 0 or failed < len(self._graph.dependencies[number])

    def _root_causes(self, number: int) -> tuple[int, ...]:
        roots: dict[int, None] = {}
        for dependency in self._graph.dependencies[number]:
            if self.state[dependency] is State.BLOCKED:
                roots.update(dict.fromkeys(self._roots[dependency]))
            elif self.state[dependency] is State.FAILED:
                roots[dependency] = None
            if len(roots) >= MAX_ROOT_CAUSES:
                break
        return tuple(roots)[:MAX_ROOT_CAUSES]


_STARTED = frozenset({State.RUNNING, State.RESTING})
_SETTLED = frozenset({State.SUCCEEDED, State.FAILED, State.BLOCKED})
