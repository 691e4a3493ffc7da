"""What a graph would do: the real scheduler on a virtual clock. Pure."""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from dispatch_runner.engine.graph import Graph
from dispatch_runner.engine.scheduler import Scheduler


class Simulated(NamedTuple):
    """One simulated run: nothing fails, only workers are limited."""

    makespan: float
    """From the first start to the last end, in the unit of the durations."""
    peak: int
    """The most tasks that ran at one moment."""
    starts: list[float]
    """When each task started."""


def simulate(
    graph: Graph,
    workers: int | None,
    *,
    durations: Sequence[float] | None = None,
    priorities: Sequence[int] | None = None,
) -> Simulated:
    """Runs the graph on `workers` (null: without end) with the given or the estimated durations."""
    scheduler = Scheduler(graph)
    numbers = range(len(graph))
    times = graph.weight if durations is None else durations
    scheduler.add(numbers, priorities or [0] * len(graph), ["all_success"] * len(graph))
    free = len(graph) if workers is None else workers
    starts = [0.0] * len(graph)
    running: list[tuple[float, int]] = []
    now, peak = 0.0, 0
    while scheduler.unsettled:
        while free and (number := scheduler.pop()) is not None:
            scheduler.start(number)
            free -= 1
            starts[number] = now
            heappush(running, (now + times[number], number))
        peak = max(peak, len(running))
        now, ended = heappop(running)
        free += 1
        scheduler.settle(ended, succeeded=True)
        while running and running[0][0] == now:  # what ends together frees its workers together
            free += 1
            scheduler.settle(heappop(running)[1], succeeded=True)
    return Simulated(now, peak, starts)
