"""Runs the tests of real agents, several files at a time: the programs are slow, and mostly wait.

`python tests/agents/jail.py python tests/agents/run.py`: prints the report of each file when it is
done; exit code 1 when one failed. Bounded in time; whatever is left running then is killed.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from support.processes import carrying, kill  # noqa: E402

AT_ONCE = 3
FILE_SECONDS = 360.0


@dataclass(frozen=True, slots=True)
class Done:
    """How one file went."""

    file: Path
    seconds: float
    passed: bool
    report: str


def run(file: Path, temporary: Path) -> Done:
    """Runs one file in a process of its own, within its time."""
    pytest = [sys.executable, "-m", "pytest", "-q", f"--basetemp={temporary / file.stem}"]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*pytest, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FILE_SECONDS,
            check=False,
        )
        passed, report = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired as error:
        passed, report = False, (error.stdout or b"") + b"\nnot done within its time"
    seconds = time.monotonic() - began
    return Done(file, seconds, passed, report.decode(errors="replace").strip())


def run_all(files: Sequence[Path]) -> list[Done]:
    """Runs all files and prints each report as it comes."""
    with (
        tempfile.TemporaryDirectory(prefix="agents-", ignore_cleanup_errors=True) as name,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        temporary = Path(name).resolve()
        try:
            return [_told(each) for each in pool.map(lambda file: run(file, temporary), files)]
        finally:
            kill(carrying(str(temporary)))


def _told(done: Done) -> Done:
    sys.stdout.write(f"== {done.file.name}, {done.seconds:.0f} s\n{done.report}\n")
    sys.stdout.flush()
    return done


def main(arguments: Sequence[str]) -> int:
    """All files, or those that are named."""
    os.chdir(FOLDER.parents[1])
    files = [Path(each) for each in arguments] or sorted(FOLDER.glob("test_*.py"))
    return int(not all(each.passed for each in run_all(files)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
