"""What depends on what, and how much work follows each task. Pure: no clock, no I/O, no event loop."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dispatch_runner.errors import InternalError


class Node(NamedTuple):
    """One task as the graph sees it."""

    task_id: str
    dependencies: Sequence[str] = ()
    estimate: float | None = None
    """Expected duration in seconds; null when unknown."""


class Graph:
    """A directed acyclic graph that only grows. Tasks are numbered in the order in which they came.

    A task may depend on tasks of its own or of an earlier `extend`; what came earlier never depends
    on what comes later. Unknown ids and cycles are rejected before a graph is built; here they are
    an `InternalError`.
    """

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self.ids: list[str] = []
        self.number: dict[str, int] = {}
        self.dependencies: list[tuple[int, ...]] = []
        self.dependents: list[list[int]] = []
        self.weight: list[float] = []
        """Expected duration; where unknown, the (upper) median of those known beside it, else 1."""
        self.remaining: list[float] = []
        """Longest path from the start of a task to the end of the graph, by weight."""
        self.order: list[int] = []
        """A topological order of all tasks."""
        self.extend(nodes)

    def __len__(self) -> int:
        return len(self.ids)

    def extend(self, nodes: Iterable[Node]) -> range:
        """Adds tasks and returns their numbers."""
        added = list(nodes)
        first = len(self.ids)
        for node in added:
            if node.task_id in self.number:
                raise InternalError(f"task '{node.task_id}' is in the graph already")
            self.number[node.task_id] = len(self.ids)
            self.ids.append(node.task_id)
            self.dependents.append([])
        for number, node in enumerate(added, first):
            self._connect(number, node)
        self._weigh(added)
        new = range(first, len(self.ids))
        self._sort(new)
        self._measure(new)
        return new

    def _connect(self, number: int, node: Node) -> None:
        try:
            # a dependency named twice counts once: settling it must not count down twice
            dependencies = tuple(dict.fromkeys(map(self.number.__getitem__, node.dependencies)))
        except KeyError as error:
            raise InternalError(f"task '{node.task_id}' depends on unknown {error}") from None
        self.dependencies.append(dependencies)
        for dependency in dependencies:
            self.dependents[dependency].append(number)

    def _weigh(self, added: Sequence[Node]) -> None:
        known = sorted(node.estimate for node in added if node.estimate is not None)
        usual = known[len(known) // 2] if known else 1.0
        self.weight.extend(usual if node.estimate is None else node.estimate for node in added)

    def _sort(self, new: range) -> None:
        waiting = [
            sum(dependency >= new.start for dependency in self.dependencies[number])
            for number in new
        ]
        order = [number for number in new if not waiting[number - new.start]]
        for number in order:  # grows while it is walked
            for dependent in self.dependents[number]:
                waiting[dependent - new.start] -= 1
                if not waiting[dependent - new.start]:
                    order.append(dependent)
        if len(order) != len(new):
            raise InternalError("the graph has a cycle that was not rejected")
        self.order.extend(order)

    def _measure(self, new: range) -> None:
        self.remaining.extend([0.0] * len(new))
        for number in reversed(self.order[new.start :]):
            after = max((self.remaining[later] for later in self.dependents[number]), default=0.0)
            self.remaining[number] = self.weight[number] + after

    def layers(self) -> list[list[int]]:
        """Tasks by depth: each layer depends only on earlier ones. For people; nothing runs by layers."""
        depth = [0] * len(self)
        layers: list[list[int]] = []
        for number in self.order:
            depth[number] = max((depth[up] + 1 for up in self.dependencies[number]), default=0)
            if depth[number] == len(layers):
                layers.append([])
            layers[depth[number]].append(number)
        return [sorted(layer) for layer in layers]

    def critical_path(self, weight: Sequence[float] | None = None) -> list[int]:
        """The longest chain of dependent tasks, from first to last, by `weight` or by estimate."""
        cost = self.weight if weight is None else weight
        total = [0.0] * len(self)
        previous = [-1] * len(self)
        for number in self.order:
            best = max(self.dependencies[number], key=total.__getitem__, default=-1)
            previous[number] = best
            total[number] = cost[number] + (total[best] if best >= 0 else 0.0)
        number = max(range(len(self)), key=total.__getitem__, default=-1)
        path = []
        while number >= 0:
            path.append(number)
            number = previous[number]
        return path[::-1]
