"""Runs the tests of real agents, several files or parts of files at a time: the programs are slow.

`python tests/agents/jail.py python tests/agents/run.py`: prints the report of each when it is done; exit code 1 when one failed. Bounded in time; whatever is left running then is killed.
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
from typing import NamedTuple

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from support.processes import carrying, kill  # noqa: E402

AT_ONCE = 4
PARTS = {
    "test_opencode": 4, "test_acp": 4, "test_gemini": 3,
    "test_claude_code": 2, "test_codex": 2, "test_roles": 2,
}  # fmt: skip
"""Into how many the longest files are shared out. They go first, so that no long one is left for last."""
FILE_SECONDS = 360.0


class Part(NamedTuple):
    """Tests of one file."""

    file: Path
    number: int
    of: int

    @property
    def name(self) -> str:
        return self.file.stem if self.of == 1 else f"{self.file.stem}-{self.number}-of-{self.of}"


@dataclass(frozen=True, slots=True)
class Done:
    """How one part of a file went."""

    part: Part
    seconds: float
    passed: bool
    report: str


def run(part: Part, temporary: Path) -> Done:
    """Runs one part in a process of its own, within its time."""
    temporary.mkdir(exist_ok=True)
    pytest = [sys.executable, "-m", "pytest", "-q", f"--basetemp={temporary / part.name}"]
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*pytest, str(part.file)],
            env={**os.environ, "TEST_AGENTS_PART": f"{part.number}/{part.of}"},
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
    return Done(part, seconds, passed, report.decode(errors="replace").strip())


def run_all(files: Sequence[Path]) -> list[Done]:
    """Runs all files and prints the reports in their order."""
    shares = {file: PARTS.get(file.stem, 1) for file in files}
    longest_first = sorted(files, key=lambda file: -shares[file])
    parts = [
        Part(file, n, shares[file]) for file in longest_first for n in range(1, shares[file] + 1)
    ]
    with (
        tempfile.TemporaryDirectory(prefix="agents-", ignore_cleanup_errors=True) as name,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        temporary = Path(name).resolve()
        try:
            done = [_told(each) for each in pool.map(lambda part: run(part, temporary), parts)]
            return [each if each.passed else _again(each, temporary) for each in done]
        finally:
            kill(carrying(str(temporary)))


def _again(failed: Done, temporary: Path) -> Done:
    """What failed is tried once more, alone: a program that starts in seconds beside three others on a
    small machine may run into its own limits of time. Both reports are told."""
    sys.stdout.write(f"== {failed.part.name} failed and is run once more, alone\n")
    return _told(run(failed.part, temporary / "again"))


def _told(done: Done) -> Done:
    sys.stdout.write(f"== {done.part.name}, {done.seconds:.0f} s\n{done.report}\n")
    sys.stdout.flush()
    return done


def main(arguments: Sequence[str]) -> int:
    """All files, or those that are named."""
    os.chdir(FOLDER.parents[1])
    files = [Path(each) for each in arguments] or sorted(FOLDER.glob("test_*.py"))
    return int(not all(each.passed for each in run_all(files)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
