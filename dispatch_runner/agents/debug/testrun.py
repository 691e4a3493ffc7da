"""Runs the named tests in child processes: once with their lines, then on every mutant.

Nothing of the tested project is imported here, and none of its files is changed.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread

from dispatch_runner import process
from dispatch_runner.agents.debug.mutate import Mutant
from dispatch_runner.agents.debug.threads import in_thread
from dispatch_runner.analysis.tools import ToolProblem, clean_environment
from dispatch_runner.errors import AgentError

Outcome = Literal["passed", "failed", "skipped", "hung", "crashed"]
Lines = Mapping[str, frozenset[int]]

TEST_SECONDS = 5.0
MUTANT_SECONDS = 0.05
"""Processor seconds that a test has on a mutant, at least."""
UNSCALED_SECONDS = 0.2
"""The same when no test passes that would show how long tests take."""
SLOWER = 10
"""How many times slower than the slowest passing test (which is traced) a test on a mutant may be."""
MEMORY = 4 << 30
MOST_TESTS = 2_000
MOST_WORKERS = 4
OUTPUT_LIMIT = 1_000_000
GRACE_SECONDS = 0.5
OVERTIME = 0.05
"""Share of its time, and a second, that a run gets beyond it before it is ended from outside."""
MARKS = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git")


@dataclass(frozen=True, slots=True)
class TestPlan:
    """How the tests are started."""

    command: Sequence[str]
    folder: Path
    scratch: Path
    """For everything that is written; removed by whoever made it."""
    hurry: anyio.Event | None


@dataclass(frozen=True, slots=True)
class SeenTest:
    """One test that ran, and which lines of the files under suspicion it ran."""

    name: str
    outcome: Outcome
    seconds: float
    text: str
    lines: Lines
    late: Lines
    """Of a test that hung: the lines that still ran in the second half of its time."""

    @property
    def failed(self) -> bool:
        return self.outcome in ("failed", "hung", "crashed")


@dataclass(slots=True)
class Observed:
    """One run of all tests."""

    tests: list[SeenTest] = field(default_factory=list)
    imported: Lines = field(default_factory=dict)
    """Lines that ran while the tests were imported."""
    problems: list[str] = field(default_factory=list)
    """Texts of what could not be imported."""
    complete: bool = False
    collected: int = 0
    printed: str = ""
    returncode: int | None = None

    @property
    def failing(self) -> list[SeenTest]:
        return [test for test in self.tests if test.failed]

    @property
    def passing(self) -> list[SeenTest]:
        return [test for test in self.tests if test.outcome == "passed"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A mutant after its tests."""

    mutant: Mutant
    fixed: frozenset[str]
    broken: frozenset[str]
    ran_passing: int


@dataclass(slots=True)
class Trials:
    """All mutants that there was time for."""

    judged: list[Judged] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    """The failing tests that fail reliably."""
    planned: int = 0


def pytest_command(paths: Sequence[str]) -> list[str]:
    """How tests at paths are started: by our own interpreter."""
    return [sys.executable, "-m", "pytest", *paths]


def project_folder(paths: Sequence[str]) -> Path:
    """Where tests are started: the nearest folder above all paths that configures a project, else
    the topmost folder with a `conftest.py` above them, else their common folder."""
    common = Path(os.path.commonpath(paths))
    folders = [common, *common.parents] if common.is_dir() else [*common.parents]
    for folder in folders:
        if any((folder / name).exists() for name in MARKS):
            return folder
    with_conftest = [folder for folder in folders if (folder / "conftest.py").exists()]
    return with_conftest[-1] if with_conftest else folders[0]


async def observe(plan: TestPlan, sources: Mapping[str, str], seconds: float) -> Observed:
    """Runs every test once; whatever happens, what was seen so far is told.

    `sources`: the text of each file under suspicion by its real path.

    Raises:
        ToolProblem: the command cannot be started, or does not run pytest.
    """
    job = {"seconds": seconds, "test_seconds": TEST_SECONDS, "sources": dict(sources)}
    records, done = await _run(plan, "observe", job)
    observed = await in_thread(_observed, records)
    if done is not None:
        observed.returncode = done.returncode
        observed.printed = done.stdout.text() + "\n" + done.stderr.text()
    return observed


def _observed(records: list[dict[str, Any]]) -> Observed:
    seen = Observed()
    for record in records:
        if record["kind"] == "test":
            seen.tests.append(
                SeenTest(
                    name=record["test"],
                    outcome=record["outcome"],
                    seconds=record["seconds"],
                    text=record["text"],
                    lines=_lines(record["lines"]),
                    late=_lines(record["late"]),
                )
            )
        elif record["kind"] == "imported":
            seen.imported = _lines(record["lines"])
        elif record["kind"] == "collection":
            seen.problems.append(record["text"])
        elif record["kind"] == "end":
            seen.complete, seen.collected = True, record["collected"]
    return seen


def _lines(value: Mapping[str, list[int]]) -> Lines:
    return {path: frozenset(numbers) for path, numbers in value.items()}


async def try_mutants(
    plan: TestPlan,
    sources: Mapping[str, str],
    observed: Observed,
    mutants: Sequence[tuple[Mutant, Sequence[SeenTest]]],
    seconds: float,
) -> Trials:
    """Runs the failing tests on each mutant (with the passing tests that could notice it), in the
    order given, as long as there is time.

    Raises:
        ToolProblem: the command cannot be started.
    """
    failing = sorted(observed.failing, key=_telling)
    passing = list(dict.fromkeys(test.name for _, tests in mutants for test in tests))
    numbers = {name: index for index, name in enumerate(passing)}
    slowest = max((test.seconds for test in observed.passing), default=UNSCALED_SECONDS / SLOWER)
    job = {
        "seconds": seconds,
        "options": "--assert=plain",
        "test_seconds": min(max(MUTANT_SECONDS, SLOWER * slowest), TEST_SECONDS),
        "sources": dict(sources),
        "failing": [test.name for test in failing],
        "passing": passing,
        "mutants": [
            _mutant(number, mutant, [numbers[test.name] for test in tests], observed)
            for number, (mutant, tests) in enumerate(mutants)
        ],
    }
    records, _ = await _run(plan, "mutants", job)
    return _trials(records, [mutant for mutant, _ in mutants], [test.name for test in failing])


def _telling(test: SeenTest) -> tuple[bool, float]:
    """Fast failures first: a test that hangs costs its limit on every mutant that does not mend it."""
    return test.outcome != "failed", test.seconds


def _mutant(number: int, mutant: Mutant, passing: list[int], observed: Observed) -> dict[str, Any]:
    file = os.path.realpath(mutant.file)
    imported = mutant.import_time or mutant.line in observed.imported.get(file, ())
    return {
        "number": number,
        "file": file,
        "start": mutant.start,
        "end": mutant.end,
        "text": mutant.text,
        "import_time": imported,
        "passing": passing,
    }


def _trials(
    records: list[dict[str, Any]], mutants: Sequence[Mutant], failing: Sequence[str]
) -> Trials:
    """The unchanged control tells which tests are reliable; the others count for nothing."""
    judged = [record for record in records if record["kind"] == "mutant"]
    control = next((record for record in judged if record["number"] < 0), {})
    lucky, weak = set(control.get("fixed", ())), set(control.get("broken", ()))
    trials = Trials(failing=[name for name in failing if name not in lucky], planned=len(mutants))
    for record in judged:
        if record["number"] >= 0:
            ended = set() if record.get("complete", False) else {"the test that ended its process"}
            trials.judged.append(
                Judged(
                    mutants[record["number"]],
                    frozenset(record.get("fixed", ())) - lucky,
                    (frozenset(record.get("broken", ())) - weak) | ended,
                    record.get("ran", 0),
                )
            )
    return trials


async def _run(
    plan: TestPlan, name: str, job: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], process.Completed | None]:
    """The records of one run, and how it ended; null when it had to be ended."""
    results, file = plan.scratch / f"{name}.ndjson", plan.scratch / f"{name}.json"
    whole = {
        "results": str(results),
        "memory_bytes": MEMORY,
        "workers": min(os.cpu_count() or 1, MOST_WORKERS),
        "most_tests": MOST_TESTS,
        "failing": [],
        "passing": [],
        "mutants": [],
        **job,
    }
    options = whole.pop("options", "")
    await anyio.to_thread.run_sync(_write, file, whole)
    done = None
    try:
        with anyio.move_on_after(job["seconds"] * (1 + OVERTIME) + 1):
            done = await process.run(
                plan.command,
                cwd=plan.folder,
                env=_environment(plan, file, options),
                output_limit=OUTPUT_LIMIT,
                grace_seconds=GRACE_SECONDS,
                hurry=plan.hurry,
            )
    except AgentError as error:
        raise ToolProblem(f"{plan.command[0]} cannot be started: {error.message}") from error
    return await anyio.to_thread.run_sync(_read, results), done


def _environment(plan: TestPlan, file: Path, options: str) -> dict[str, str]:
    """Nothing of ours but what a program needs; what pytest and its plugins keep goes to the scratch."""
    probe = Path(__file__).with_name("probe")
    cache = shlex.quote(str(plan.scratch / "cache"))
    return clean_environment(
        HOME=os.environ.get("HOME", str(plan.scratch)),
        TMPDIR=str(plan.scratch),
        PYTHONPATH=str(probe),
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONHASHSEED="0",
        PYTEST_ADDOPTS=f"-p dispatch_runner_probe -s -o cache_dir={cache} {options}",
        COVERAGE_FILE=str(plan.scratch / "coverage"),
        HYPOTHESIS_STORAGE_DIRECTORY=str(plan.scratch / "hypothesis"),
        DEBUG_AGENT_PROBE=str(file),
    )


def _write(file: Path, job: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(job), encoding="utf-8")


def _read(file: Path) -> list[dict[str, Any]]:
    """Every whole record; the run may have ended in the middle of one."""
    records = []
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
