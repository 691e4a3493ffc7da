"""Acceptance checks by programs: what they read, what passes, and what a failure says."""

import sys
from pathlib import Path

import anyio
import pytest

from dispatch_runner.agents.checks import PRINTED_LIMIT, CommandChecks
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer
from dispatch_runner.settings.schema import CheckSettings

pytestmark = pytest.mark.anyio
PYTHON = [sys.executable, "-I", "-S", "-c"]


def checks(**scripts: str) -> CommandChecks:
    return CommandChecks(
        {name: CheckSettings(command=[*PYTHON, script]) for name, script in scripts.items()}
    )


def call_in(folder: Path) -> AgentCall:
    return AgentCall(
        "t", "a", "", {}, {}, "c", 1, 30.0, folder, AllowedRoots.of(), None, anyio.Event()
    )


async def failed(by: CommandChecks, folder: Path, name: str = "c") -> AgentError:
    with pytest.raises(AgentError) as caught:
        await by.check([name], call_in(folder), Answer({"n": 1}))
    return caught.value


async def test_a_check_reads_the_answer_in_the_workspace_and_passes_with_0(tmp_path: Path) -> None:
    by = checks(c="import sys, pathlib; pathlib.Path('seen').write_text(sys.stdin.read())")
    call = call_in(tmp_path)
    await by.check(["c", "c"], call, Answer({"n": 1}))
    assert (tmp_path / "seen").read_text() == '{"n":1}'
    assert [event.data for event in call.log.events] == [{"check": "c", "passed": True}]


async def test_a_failure_quotes_the_last_line_and_keeps_the_tail_of_the_rest(
    tmp_path: Path,
) -> None:
    error = await failed(
        checks(c="print('x' * 9000); print('2 failed'); raise SystemExit(3)"), tmp_path
    )
    assert error.type is ErrorType.CHECK_FAILED
    assert (
        error.message
        == f"check 'c' did not pass: {sys.executable!r} ended with exit code 3: 2 failed"
    )
    assert error.details["exit_code"] == 3
    assert len(error.details["stdout"]) <= PRINTED_LIMIT
    assert error.details["stdout"].endswith("2 failed\n")


async def test_a_check_that_is_killed_or_prints_nothing_says_so(tmp_path: Path) -> None:
    error = await failed(checks(c="import os; os.kill(os.getpid(), 9)"), tmp_path)
    assert error.message == f"check 'c' did not pass: {sys.executable!r} was killed by SIGKILL"


async def test_a_check_that_does_not_end_fails(tmp_path: Path) -> None:
    settings = CheckSettings(
        command=[*PYTHON, "import time; time.sleep(1000)"], timeout_seconds=0.1
    )
    error = await failed(CommandChecks({"c": settings}), tmp_path)
    assert error.message == "check 'c' did not end within 0.1 s"


async def test_a_program_that_is_not_there_is_told_with_the_check(tmp_path: Path) -> None:
    error = await failed(CommandChecks({"c": CheckSettings(command=["./no-such"])}), tmp_path)
    assert error.type is ErrorType.UNAVAILABLE
    assert error.message.startswith("check 'c': cannot start './no-such'")


async def test_the_first_that_fails_ends_them(tmp_path: Path) -> None:
    by = checks(good="", bad="raise SystemExit(1)", late="open('late', 'w')")
    with pytest.raises(AgentError, match="'bad'"):
        await by.check(["good", "bad", "late"], call_in(tmp_path), Answer({}))
    assert list(tmp_path.iterdir()) == []
