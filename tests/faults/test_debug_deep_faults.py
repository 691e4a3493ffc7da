"""Running tests that mean harm, or are ended from outside: nothing is left, nothing is changed."""

import tempfile
from pathlib import Path

import anyio
import pytest

from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROGRAM = "def twice(x):\n    return x + x + 1\n"


def call_for(folder: Path, seconds: float = 60.0) -> AgentCall:
    value: JsonObject = {
        "problem_description": "it is wrong",
        "affected_files": [str(folder / "twice.py")],
        "analysis_depth": "deep",
        "test_paths": [str(folder / "test_twice.py")],
    }
    roots = AllowedRoots((str(folder),))
    return AgentCall(
        "t", "debug", "", value, {}, "id", 1, seconds, folder, roots, None, anyio.Event()
    )


def write(folder: Path, test: str) -> None:
    (folder / "twice.py").write_text(PROGRAM)
    (folder / "test_twice.py").write_text(f"from twice import twice\n\n\n{test}")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_cancelled_analysis_leaves_no_process_and_no_scratch(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    pid_file = tmp_path / "pid"
    write(
        tmp_path,
        "def test_sleeps():\n    import os, pathlib, time\n"
        f"    pathlib.Path({str(pid_file)!r}).write_text(f'{{os.getpid()}} {{os.getppid()}}')\n"
        "    time.sleep(600)\n",
    )
    async with anyio.create_task_group() as group:
        group.start_soon(DebugRole().solve, call_for(tmp_path))
        with anyio.fail_after(20):
            while not pid_file.exists() or len(pid_file.read_text().split()) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()
    assert not any(alive(int(pid)) for pid in pid_file.read_text().split())
    assert list(scratch.iterdir()) == []


async def test_a_test_that_catches_everything_is_killed_and_the_next_ones_run(tmp_path):
    write(
        tmp_path,
        "def test_stubborn():\n    import time\n    while True:\n        try:\n"
        "            time.sleep(0.01)\n        except BaseException:\n            pass\n\n\n"
        "def test_twice():\n    assert twice(2) == 4\n",
    )
    output = (await DebugRole().solve(call_for(tmp_path, seconds=30.0))).output
    assert [item["outcome"] for item in output["tests"]["failures"]] == ["crashed", "failed"]
    assert output["suspects"][0]["line_start"] == 2


async def test_children_of_a_hanging_mutant_are_ended_too(tmp_path):
    pid_file = tmp_path / "pids"
    write(
        tmp_path,
        "def test_starts_a_program():\n    import pathlib, subprocess\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        f"    with pathlib.Path({str(pid_file)!r}).open('a') as file:\n"
        "        file.write(f'{child.pid}\\n')\n"
        "    assert twice(2) == 4\n",
    )
    await DebugRole().solve(call_for(tmp_path))
    pids = [int(pid) for pid in pid_file.read_text().split()]
    assert len(pids) > 2
    assert not any(alive(pid) for pid in pids)


async def test_output_of_tests_goes_nowhere_and_does_not_fill_memory(tmp_path):
    write(
        tmp_path,
        "def test_loud():\n    print('x' * 50_000_000)\n    assert twice(2) == 4\n",
    )
    output = (await DebugRole().solve(call_for(tmp_path))).output
    assert output["suspects"][0]["line_start"] == 2


async def test_a_test_that_removes_the_program_is_survived(tmp_path):
    write(
        tmp_path,
        "def test_removes():\n    import os, twice as module\n    os.remove(module.__file__)\n"
        "    assert twice(2) == 4\n",
    )
    output = (await DebugRole().solve(call_for(tmp_path))).output
    assert output["tests"]["failed"] == 1
