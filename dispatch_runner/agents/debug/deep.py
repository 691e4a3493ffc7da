"""Depth `deep`: runs the named tests, and then the mutants that they make suspect."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.to_thread

from dispatch_runner.agents.debug import dynamic
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.models import DebugInput, FailedTest, NotAssessed, TestRun
from dispatch_runner.agents.debug.testrun import (
    MOST_TESTS,
    Observed,
    SeenTest,
    TestPlan,
    Trials,
    observe,
    project_folder,
    pytest_command,
    try_mutants,
)
from dispatch_runner.agents.debug.threads import in_thread
from dispatch_runner.analysis.tools import ToolProblem
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType

SHARE_OBSERVING = 0.4
"""Of the task's time, for running all tests once."""
SHARE_MUTATING = 0.7
"""Of what is then left, for mutants."""
MOST_MUTATING = 120.0
"""Seconds."""
MOST_FAILED = 50
ERROR_LINE = re.compile(r"(?!Traceback )[A-Za-z_][\w.]*(?::|$)")
MOST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Running:
    """What this task may run, and how long."""

    seconds: float
    """The whole task's limit."""
    folder: Path
    """Where the operator's commands are started."""
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The operator's test commands by name."""


@dataclass(slots=True)
class Deep:
    """What running the tests brought."""

    observed: Observed
    command: list[str]
    trials: Trials | None = None
    seconds: float = 0.0
    not_assessed: list[NotAssessed] = field(default_factory=list)

    def omit(self, what: str, why: str) -> None:
        self.not_assessed.append(NotAssessed(what=what, why=why))


async def run_tests(
    asked: DebugInput, material: Material, running: Running, hurry: anyio.Event | None
) -> Deep | str:
    """What the named tests show, or why they cannot be run.

    Everything runs in child processes with limits of time and memory; everything written goes to a
    temporary folder that is removed. What was seen before the time was over is used.

    Raises:
        AgentError: `missing_file`, when a named test does not exist.
    """
    began = time.monotonic()
    command, folder = await anyio.to_thread.run_sync(_command, asked, running)
    if isinstance(command, str):
        return command
    scratch = Path(await anyio.to_thread.run_sync(tempfile.mkdtemp, None, "debug-tests-"))
    try:
        plan = TestPlan(command, folder, scratch, hurry)
        deep = await _observe(plan, material, running.seconds * SHARE_OBSERVING)
        left = running.seconds - (time.monotonic() - began)
        await _mutate(deep, plan, material, min(left * SHARE_MUTATING, MOST_MUTATING))
        deep.seconds = round(time.monotonic() - began, 3)
    except ToolProblem as problem:
        return str(problem)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(shutil.rmtree, scratch, True)
    return deep


def _command(asked: DebugInput, running: Running) -> tuple[list[str] | str, Path]:
    """The argument vector and the folder to start it in; instead of the vector why there is none."""
    missing = [path for path in asked.test_paths if not Path(path).exists()]
    if missing:
        raise AgentError(
            ErrorType.MISSING_FILE,
            f"test path {missing[0]!r} does not exist",
            hint="give absolute paths of existing test files or folders",
            details={"missing": missing[:100]},
        )
    if asked.test_command:
        command = running.commands.get(asked.test_command)
        if command is None:
            return (
                f"no test command is defined under the name {asked.test_command!r}",
                running.folder,
            )
        return [*command, *asked.test_paths], running.folder
    if find_spec("pytest") is None:
        return (
            f"pytest is not installed for {sys.executable}: install dispatch-runner[debug]",
            running.folder,
        )
    return pytest_command(asked.test_paths), project_folder(asked.test_paths)


def _sources(material: Material) -> dict[str, str]:
    return {path: code.source.text for path, code in dynamic.real_paths(material).items()}


async def _observe(plan: TestPlan, material: Material, seconds: float) -> Deep:
    sources = await in_thread(_sources, material)
    observed = await observe(plan, sources, seconds)
    deep = Deep(observed, list(plan.command))
    if not observed.tests and not observed.problems:
        said = " ".join(observed.printed.split())[-MOST_TEXT:] or "it printed nothing"
        ended = (
            "was stopped" if observed.returncode is None else f"ended with {observed.returncode}"
        )
        deep.omit("coverage of the tests", f"no test was seen to run; the command {ended}: {said}")
    elif not observed.complete:
        deep.omit("some tests", f"the time for running them, {seconds:.0f} s, was over")
    elif observed.collected > MOST_TESTS:
        further = f"{observed.collected - MOST_TESTS} of {observed.collected} tests"
        deep.omit(further, f"at most {MOST_TESTS} are run")
    return deep


async def _mutate(deep: Deep, plan: TestPlan, material: Material, seconds: float) -> None:
    observed = deep.observed
    if not observed.failing:
        if observed.tests:
            deep.omit("mutants", "no test fails, so no change could mend one")
        return
    planned = await in_thread(dynamic.plan, material, observed)
    if not planned:
        deep.omit("mutants", "no failing test runs a line of the affected files")
        return
    sources = await in_thread(_sources, material)
    deep.trials = trials = await try_mutants(plan, sources, observed, planned, seconds)
    if not trials.failing:
        deep.omit("mutants", "the failing tests pass when they are run alone")
    elif dynamic.not_mutated(trials):
        said = f"{dynamic.not_mutated(trials)} of {trials.planned} mutants"
        deep.omit(said, f"the time for them, {seconds:.0f} s, was over")


def report(deep: Deep) -> TestRun:
    """The run as it is told."""
    observed = deep.observed
    outcomes = [test.outcome for test in observed.tests]
    return TestRun(
        command=deep.command,
        passed=outcomes.count("passed"),
        failed=outcomes.count("failed"),
        hung=outcomes.count("hung"),
        crashed=outcomes.count("crashed"),
        skipped=outcomes.count("skipped"),
        not_imported=[text[-MOST_TEXT:] for text in observed.problems[:MOST_FAILED]],
        failures=[_failed(test) for test in observed.failing[:MOST_FAILED]],
        mutants_tried=len(deep.trials.judged) if deep.trials is not None else 0,
        mutants_planned=deep.trials.planned if deep.trials is not None else 0,
        seconds=deep.seconds,
    )


def _failed(test: SeenTest) -> FailedTest:
    said = [line for line in test.text.splitlines() if ERROR_LINE.match(line)]
    return FailedTest(
        test=test.name,
        outcome=test.outcome,
        message=said[-1][:MOST_TEXT] if said and test.outcome == "failed" else "",
        seconds=round(test.seconds, 3),
    )


def is_test_file(path: str, test_paths: Sequence[str]) -> bool:
    """Whether a file is no suspect: it holds tests (by pytest's names, or because it was named as
    one), or belongs to what runs them."""
    name = Path(path).name
    if "dispatch_runner_probe" in path:
        return True
    if name == "conftest.py" or name.startswith("test_") or name.endswith("_test.py"):
        return True
    return any(os.path.commonpath((path, each)) == each for each in test_paths if path[:1] == "/")
