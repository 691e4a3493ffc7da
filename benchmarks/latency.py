"""From the end of a task's last dependency to its own start, with a long sibling still running."""

from pathlib import Path
from statistics import median, quantiles

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.executor import Executor
from dispatch_runner.engine.runner import Job, Retrying, Surroundings
from dispatch_runner.models import JsonObject, Task
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall
from dispatch_runner.testing import scripted_agent

ROUNDS = 200


async def measure() -> list[float]:
    """Milliseconds between the end of each link of a chain and the start of the next."""
    clock = Clock()
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    release = anyio.Event()

    async def script(call: AgentCall) -> JsonObject:
        began[call.task_id] = clock.monotonic()
        if call.task_id == "sibling":
            await release.wait()
        else:
            await anyio.sleep(0.002)
        ended[call.task_id] = clock.monotonic()
        if call.task_id == str(ROUNDS - 1):
            release.set()
        return {"done": True}

    agent = scripted_agent("fake", script)
    around = Surroundings("benchmark", Path(), AllowedRoots(("/",)), anyio.Event())
    executor = Executor(Retrying(Attempting(around, clock)), max_workers=4, clock=clock)
    tasks = [Task(task_id="sibling", agent="fake", input_data={})]
    tasks += [
        Task(task_id=str(n), agent="fake", input_data={}, dependencies=[str(n - 1)] if n else [])
        for n in range(ROUNDS)
    ]
    executor.add([Job(task, agent, 300.0, 0) for task in tasks])
    executor.close()
    await executor.run()
    return [(began[str(n)] - ended[str(n - 1)]) * 1000 for n in range(1, ROUNDS)]


def main() -> None:
    """Prints the median and the 99th percentile."""
    times = anyio.run(measure)
    print(
        f"start after the last dependency, long sibling running: median {median(times):.3f} ms,"
        f" p99 {quantiles(times, n=100)[98]:.3f} ms"
    )


if __name__ == "__main__":
    main()
