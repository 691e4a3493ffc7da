"""Cost per task of graph, scheduler and executor with no-op work and no records."""

import gc
import time
from pathlib import Path
from statistics import median

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.executor import Executor
from dispatch_runner.engine.runner import Job, Retrying, Surroundings
from dispatch_runner.models import Task
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.testing import scripted_agent


def edges(shape: str, number: int) -> list[str]:
    """Dependencies of one task: `independent`, `chain`, or `layered` (layers of 100, 3 each)."""
    if shape == "chain":
        return [str(number - 1)] if number else []
    if shape == "layered" and number >= 100:
        first = number // 100 * 100 - 100
        return [str(first + (number + step) % 100) for step in (0, 7, 31)]
    return []


async def once(count: int, shape: str) -> float:
    """Microseconds per task."""
    agent = scripted_agent()
    agent.backend.calls = _Forget()  # type: ignore[attr-defined]
    tasks = [
        Task(task_id=str(n), agent="fake", input_data={}, dependencies=edges(shape, n))
        for n in range(count)
    ]
    gc.collect()
    began = time.perf_counter()
    clock = Clock()
    around = Surroundings("benchmark", Path(), AllowedRoots(("/",)), anyio.Event())
    executor = Executor(Retrying(Attempting(around, clock)), max_workers=5, clock=clock)
    executor.add([Job(task, agent, 300.0, 2) for task in tasks])
    executor.close()
    await executor.run()
    return (time.perf_counter() - began) / count * 1e6


class _Forget(list[object]):
    def append(self, item: object) -> None:
        pass


def main(repeat: int = 5) -> None:
    """Prints the median of several runs for each shape and size."""
    for shape in ("independent", "chain", "layered"):
        for count in (1_000, 10_000):
            times = [anyio.run(once, count, shape) for _ in range(repeat)]
            print(f"engine, no-op, {shape:<11} {count:>6} tasks: {median(times):6.1f} us a task")


if __name__ == "__main__":
    main()
