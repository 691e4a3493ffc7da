"""A day on one trace folder, many programs at once, and memory over a long run."""

import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import anyio
import orjson

from benchmarks.whole import DISPATCH, fresh_folder, time_once

FOLDERS = 10_000
PROGRAMS = 500
SESSION = 50_000
BATCH = 1_000
REPEATED = 300


def a_day(count: int = FOLDERS) -> None:
    """Prints what `traces` and `status` cost beside so many earlier dispatches."""
    folder = fresh_folder()
    task = {"task_id": "a", "agent": "echo", "input_data": {"n": 1}}
    request = orjson.dumps({"tasks": [task]})
    time_once([DISPATCH, "--quiet", "--durability", "process"], stdin=request, cwd=str(folder))
    multiply(folder / "traces", count)
    empty = str(fresh_folder())
    for arguments in (
        ("traces", "list"), ("traces", "list", "--limit", "0"), ("traces", "show"), ("status",), ("result",),
        ("wait",), ("traces", "prune", "--older-than", "30d", "--dry-run"),
        ("traces", "prune", "--max-size", "1G", "--dry-run"),
    ):  # fmt: skip
        runs = [time_once([DISPATCH, *arguments], cwd=str(folder)).seconds for _ in range(5)]
        starts = [time_once([DISPATCH, "traces", "list"], cwd=empty).seconds for _ in range(5)]
        print(
            f"{count} run folders, {' '.join(arguments)}: {median(runs) * 1000:.0f} ms"
            f" (to list an empty folder: {median(starts) * 1000:.0f} ms)"
        )
    run = time_once([DISPATCH, "--quiet"], stdin=request, cwd=str(folder)).seconds
    print(f"{count} run folders, a further dispatch: {run * 1000:.0f} ms")
    run = time_once([DISPATCH, "traces", "prune", "--keep", "100"], cwd=str(folder)).seconds
    left = len(list((folder / "traces").glob("*.json")))
    print(f"{count} run folders, prune of all but {left}: {run:.1f} s")


def multiply(traces: Path, count: int) -> None:
    """Copies the one dispatch that is there, under names of earlier times."""
    [index] = traces.glob("dispatch-*.json")
    for number in range(count - 1):
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(time.time() - 8 * number - 60))
        name = f"dispatch-{stamp}-{number:08x}"
        shutil.copytree(index.with_suffix(""), traces / name)
        (traces / f"{name}.json").write_bytes(index.read_bytes())


def programs_at_once(count: int = PROGRAMS) -> None:
    """Prints how so many programs fare that all run at the same time."""
    folder = fresh_folder()
    (folder / "agents.toml").write_text(
        '[agents.waits]\nbackend = "command"\ncommand = ["sleep", "2"]\nstdin = "none"\noutput = "exit"\n'
    )
    tasks = [{"task_id": f"t{n}", "agent": "waits", "input_data": {}} for n in range(count)]
    command = [DISPATCH, "--config", "agents.toml", "--max-workers", str(count), "--stdout", "none"]
    run = time_once(command, stdin=orjson.dumps({"tasks": tasks}), cwd=str(folder))
    [index] = (folder / "traces").glob("dispatch-*.json")
    summary = orjson.loads(index.read_bytes())["summary"]
    print(
        f"{count} programs of 2 s at once: {run.seconds:.1f} s, {summary['successful']} succeeded,"
        f" {summary['peak_concurrency']} ran together, peak {run.peak_mib:.0f} MiB"
    )


def long_session(count: int = SESSION) -> None:
    """Prints how the memory of a session grows, whose caller keeps no result."""
    resident = anyio.run(_session, count)
    first, last = resident[len(resident) // 5], resident[-1]
    each = (last - first) * 1024 / (count * 4 / 5)
    print(
        f"a session of {count} tasks: {first:.0f} MiB after a fifth, {last:.0f} MiB at the end"
        f" ({each:.2f} KiB a task, of which its result is kept for the end)"
    )


async def _session(count: int) -> list[float]:
    from dispatch_runner import Session
    from dispatch_runner.models.request import Config

    resident = []
    with tempfile.TemporaryDirectory() as traces:
        async with Session(Config(trace_dir=traces)) as session:
            for start in range(0, count, BATCH):
                tasks = [
                    {"task_id": f"t{n}", "agent": "echo", "input_data": {"n": n}}
                    for n in range(start, start + BATCH)
                ]
                await session.execute_batch(tasks)
                resident.append(resident_mib())
    return resident


def repeated_dispatches(count: int = REPEATED) -> None:
    """Prints how the memory of a process grows that dispatches again and again."""
    resident = anyio.run(_repeated, count)
    first, last = resident[len(resident) // 5], resident[-1]
    print(
        f"{count} dispatches of 100 tasks in one process: {first:.1f} MiB after a fifth, {last:.1f} MiB at the end"
    )


async def _repeated(count: int) -> list[float]:
    from dispatch_runner import dispatch

    resident = []
    tasks = [{"task_id": f"t{n}", "agent": "echo", "input_data": {"n": n}} for n in range(100)]
    with tempfile.TemporaryDirectory() as traces:
        for _ in range(count):
            await dispatch({"tasks": tasks, "config": {"trace_dir": traces}})
            resident.append(resident_mib())
    return resident


def resident_mib() -> float:
    """Memory of this process that is in use now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


PARTS: tuple[Callable[[], None], ...] = (programs_at_once, a_day, repeated_dispatches, long_session)


def main() -> None:
    """Prints all of it."""
    for part in PARTS:
        part()


if __name__ == "__main__":
    main()
