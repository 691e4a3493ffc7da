"""Injects every fault of docs/faults.md and prints what became of it.

`python tests/faults/run.py [--quick] [--seed N]`: the tests that the page names, in several processes;
then a line for each class of faults. Exit code 1 when anything was lost. `--quick`: without the slow
ones. The seed decides where faults strike that strike by chance.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from support.faults.page import PAGE, ROOT, Class, Tally, classes, table, total  # noqa: E402

AT_ONCE = 2
LONGEST = "faults/test_system_calls.py"
"""It takes as long as all the others together, and so goes first."""
Row = tuple[str, int, int]
"""A test, how many faults it injected, and how many were survived; none: it cannot be done here."""


class Recorder:
    """A plugin of pytest: for each test, how many faults it injected and how many were survived.

    A test that does not count injects one, and survives it if it passes.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._counts: dict[str, tuple[int, int]] = {}
        self._failed: set[str] = set()
        self._skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        counted = dict(report.user_properties).get("faults", (0, 0))
        self._counts[report.nodeid] = counted
        if report.failed:
            self._failed.add(report.nodeid)
        if report.skipped:
            self._skipped.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        rows = [(name, *self._of(name, *counts)) for name, counts in self._counts.items()]
        self._file.write_text(json.dumps(rows))

    def _of(self, name: str, injected: int, survived: int) -> tuple[int, int]:
        if name in self._skipped:
            return 0, 0
        injected = max(injected, 1)
        if name not in self._failed:
            return injected, injected
        return injected, min(survived, injected - 1)


def run_file(file: str, names: set[str], quick: bool, temporary: Path) -> list[Row]:
    """The faults of the named tests of one file; the report of pytest is shown when one fails.

    When pytest itself could not do it, all of them count as lost.
    """
    out = temporary / f"{file.replace('/', '-')}.json"
    command = [sys.executable, __file__, "--child", str(out), "-q", "--no-header"]
    command += [f"tests/{name}" for name in sorted(names)]
    command += ["-m", "not slow"] if quick else []
    command += [f"--basetemp={temporary / file.replace('/', '-')}", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode not in {0, 5}:  # 5: none was left by --quick
        say(done.stdout)
    elif sys.stderr.isatty():
        sys.stderr.write(f"{file}: {done.stdout.strip().splitlines()[-1]}\n")
    if done.returncode not in {0, 1, 5} or not out.exists():
        return [(f"tests/{name}", 1, 0) for name in names]
    return json.loads(out.read_text())


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def child(out: str, arguments: list[str]) -> int:
    import pytest

    return int(pytest.main(arguments, plugins=[Recorder(Path(out))]))


def tally(wanted: list[Class], quick: bool) -> list[tuple[str, Tally]]:
    """Runs the tests of all classes and counts."""
    by_file: dict[str, set[str]] = {}
    for name in {name for each in wanted for name in each.tests}:
        by_file.setdefault(name.partition("::")[0], set()).add(name)
    counts: dict[str, Tally] = {}
    with (
        tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        rows = pool.map(
            lambda file: run_file(file, by_file[file], quick, Path(folder)),
            sorted(by_file, key=lambda file: (file != LONGEST, file)),
        )
        for name, injected, survived in (row for of_file in rows for row in of_file):
            if not injected:
                say(f"not possible here: {name}")
            test = name.removeprefix("tests/").partition("[")[0]
            counts.setdefault(test, Tally()).add(Tally(injected, survived))
    return [(each.name, total(counts.get(test, Tally()) for test in each.tests)) for each in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ["FAULTS_SEED"] = str(options.seed)
    found = tally(classes(PAGE.read_text()), options.quick)
    say("\n".join(table(found)))
    say(f"\nseed {options.seed}")
    return int(any(each.lost for _, each in found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2], sys.argv[3:]))
    sys.exit(main())
