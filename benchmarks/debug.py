"""The `debug` agent at depth `quick`: ten files, ten tasks at once, and how long the event loop waits.

`python -m benchmarks.debug`. Each task has ten files of its own, of this package, and a traceback. The
whole is run by the command line, records included; one task against ten, in turns, so that what else
the machine does falls on both.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import anyio

import dispatch_runner
from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

ROUNDS = 7
TASKS = 10
FILES = 10
TRACE = """Traceback (most recent call last):
  File "{file}", line 12, in run
    value = found["name"]
            ~~~~~^^^^^^^^
TypeError: 'NoneType' object is not subscriptable
"""


def task_inputs() -> list[JsonObject]:
    """Ten inputs of ten files each, no file twice."""
    files = sorted(str(path) for path in Path(dispatch_runner.__file__).parent.rglob("*.py"))
    groups = [files[index::TASKS][:FILES] for index in range(TASKS)]
    return [
        {
            "problem_description": "a name is missing",
            "affected_files": group,
            "error_traces": [TRACE.format(file=group[0])],
            "analysis_depth": "quick",
        }
        for group in groups
    ]


def request(count: int) -> bytes:
    tasks = [
        {"task_id": str(number), "agent": "debug", "input_data": value}
        for number, value in enumerate(task_inputs()[:count])
    ]
    return json.dumps({"tasks": tasks, "config": {"max_workers": TASKS}}).encode()


def whole_run(data: bytes, folder: str) -> tuple[float, float]:
    """Seconds of the clock and of processors for a run of the command line."""
    root = str(Path(dispatch_runner.__file__).parents[1])
    command = [sys.executable, "-m", "dispatch_runner", "--allow-path", root, "--quiet"]
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, input=data, cwd=folder, stdout=subprocess.PIPE, check=True)
    taken, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system
    return taken, used - before.children_user - before.children_system


def measure_runs() -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    one, ten = request(1), request(TASKS)
    with tempfile.TemporaryDirectory() as folder:
        whole_run(one, folder)
        pairs = [(whole_run(one, folder), whole_run(ten, folder)) for _ in range(ROUNDS)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def call_for(value: JsonObject, number: int) -> AgentCall:
    roots = AllowedRoots(("/",))
    return AgentCall(
        str(number), "debug", "", value, {}, "id", 1, 60.0, Path("/tmp"), roots, None, anyio.Event()
    )


async def solve(role: DebugRole, value: JsonObject, number: int, times: list[float]) -> None:
    began = time.perf_counter()
    call = call_for(value, number)
    await role.verify(call, await role.solve(call))
    times.append(time.perf_counter() - began)


async def measure_loop() -> tuple[list[float], list[float], list[float]]:
    """Seconds of single tasks, of ten at once, and by how much a sleeping task woke too late."""
    role, inputs = DebugRole(), task_inputs()
    single: list[float] = []
    ten: list[float] = []
    late: list[float] = []
    await solve(role, inputs[0], 0, [])
    for _ in range(ROUNDS):
        await solve(role, inputs[0], 0, single)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        async with anyio.create_task_group() as outer:
            outer.start_soon(wake, late)
            async with anyio.create_task_group() as group:
                for number, value in enumerate(inputs):
                    group.start_soon(solve, role, value, number, [])
            ten.append(time.perf_counter() - began)
            outer.cancel_scope.cancel()
    return single, ten, late


async def wake(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await anyio.sleep(0.001)
        late.append(time.perf_counter() - began - 0.001)


def main() -> None:
    """Prints medians; the ratio is the median of the rounds' ratios."""
    ones, tens = measure_runs()
    ratio = median(ten[0] / one[0] for one, ten in zip(ones, tens, strict=True))
    print(
        f"debug at quick, ten files, whole run: one task {median(one[0] for one in ones):.3f} s, ten "
        f"tasks {median(ten[0] for ten in tens):.3f} s, ratio {ratio:.2f} (processor time "
        f"{median(one[1] for one in ones):.3f} s and {median(ten[1] for ten in tens):.3f} s)"
    )
    single, many, late = anyio.run(measure_loop)
    print(
        f"in process: one task {median(single):.3f} s, ten at once {median(many):.3f} s, ratio "
        f"{median(many) / median(single):.2f}; event loop late: longest {max(late) * 1000:.1f} ms, "
        f"99.9 % within {sorted(late)[int(len(late) * 0.999)] * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
