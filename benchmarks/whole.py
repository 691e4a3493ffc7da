"""Times whole processes, side by side: A B A B ..., medians, and the ratio pair by pair."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PYTHON = sys.executable
DISPATCH = str(Path(PYTHON).with_name("dispatch-runner"))


_FOLDERS: list[Path] = []


def fresh_folder() -> Path:
    """A new empty folder, removed only when everything was measured: on ext4, creating files is several
    times slower for minutes after many were deleted."""
    if not _FOLDERS:
        atexit.register(lambda: [shutil.rmtree(folder, ignore_errors=True) for folder in _FOLDERS])
    _FOLDERS.append(Path(tempfile.mkdtemp(prefix="dispatch-runner-bench-")))
    return _FOLDERS[-1]


@dataclass(frozen=True)
class Run:
    """One run of a program."""

    seconds: float
    peak_mib: float


def time_once(command: Sequence[str], *, stdin: bytes = b"", cwd: str | None = None) -> Run:
    """Wall time and peak memory of the process itself. Raises when it exits with anything but 0."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(stdin)
        given.seek(0)
        began = time.perf_counter()
        child = subprocess.Popen(
            command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, cwd=cwd
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            said.seek(0)
            raise RuntimeError(
                f"{command[0]} exits with {child.returncode}: {said.read()[-2000:]!r}"
            )
    return Run(seconds, usage.ru_maxrss / 1024)


def side_by_side(
    programs: dict[str, tuple[Sequence[str], bytes]], *, runs: int, cwd: str | None = None
) -> dict[str, list[Run]]:
    """All programs in turn, `runs` times after one warm-up of each."""
    results: dict[str, list[Run]] = {name: [] for name in programs}
    for turn in range(runs + 1):
        for name, (command, stdin) in programs.items():
            run = time_once(command, stdin=stdin, cwd=cwd)
            if turn:
                results[name].append(run)
    return results


def ratio(a: Sequence[Run], b: Sequence[Run]) -> float:
    """Median of the ratios of wall times, pair by pair."""
    return median(x.seconds / y.seconds for x, y in zip(a, b, strict=True))


def milliseconds(runs: Sequence[Run]) -> float:
    """Median wall time."""
    return median(run.seconds for run in runs) * 1000
