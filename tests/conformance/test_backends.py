"""What every backend must do, whatever it reaches: one suite, each backend with its own stand-in.

A new backend adds one function to `BACKENDS` that builds it for a scenario.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest

from dispatch_runner.backends.command import CommandBackend, ProgramRole
from dispatch_runner.backends.offline import OfflineBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.process import MARKER
from dispatch_runner.protocols import AgentCall, Answer, Backend, Role
from dispatch_runner.testing import AnyInputRole

pytestmark = pytest.mark.anyio

OUTPUT = {"answer": 42, "text": "ünïcode"}
Built = tuple[Backend, Role]


class ScenarioRole(AnyInputRole):
    """A role that plays a scenario when the offline backend asks it."""

    def __init__(self, scenario: str) -> None:
        super().__init__("scenario")
        self.scenario = scenario

    async def solve(self, call: AgentCall) -> Answer:
        match self.scenario:
            case "success":
                return Answer(OUTPUT)
            case "echo":
                return Answer({"input": call.input, "dependencies": dict(call.dependencies)})
            case "refused":
                raise AgentError(ErrorType.PERMISSION_DENIED, "not allowed", hint="ask somebody")
            case "transient":
                raise AgentError(ErrorType.UNAVAILABLE, "come back later")
            case _:
                await anyio.sleep_forever()
                raise AssertionError


def offline(scenario: str, folder: Path) -> Built:
    return OfflineBackend(), ScenarioRole(scenario)


PROGRAMS: Mapping[str, str] = {
    "success": f"print({json.dumps(json.dumps(OUTPUT))})",
    "echo": "import json, sys; e = json.load(sys.stdin);"
    "print(json.dumps({'input': e['input'], 'dependencies': e['dependencies']}))",
    "refused": "import json, sys; print(json.dumps({'error': {'type': 'permission_denied',"
    " 'message': 'not allowed', 'hint': 'ask somebody'}})); sys.exit(1)",
    "transient": "import sys; sys.exit(75)",
    "silent": "import time; time.sleep(1000)",
}


def command(scenario: str, folder: Path) -> Built:
    return CommandBackend([sys.executable, "-c", PROGRAMS[scenario]]), ProgramRole("scenario")


BACKENDS: list[Callable[[str, Path], Built]] = [offline, command]


@pytest.fixture(params=BACKENDS, ids=lambda build: build.__name__)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Built]:
    return lambda scenario: request.param(scenario, tmp_path)


def call_of(folder: Path, input_data: JsonObject | None = None) -> AgentCall:
    return AgentCall(
        task_id="task/1",
        agent="scenario",
        description="",
        input=input_data or {},
        dependencies={"up": {"x": [1]}, "failed": None},
        correlation_id="1f0c9a52-7c1e-4b7e-9d0a-3f5b8e2c6a41",
        attempt=1,
        timeout_seconds=30,
        workspace=folder,
        roots=AllowedRoots((str(folder),)),
        output_prefix=folder / "task",
        hurry=anyio.Event(),
    )


def descendants() -> set[int]:
    """Living processes that any program of this test process started."""
    ours = f"{MARKER}={os.getpid()}-".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if ours in entry.joinpath("environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


async def test_an_answer_is_a_json_object(build: Callable[[str], Built], tmp_path: Path) -> None:
    backend, role = build("success")
    assert backend.unavailable(role) is None
    answer = await backend.answer(role, call_of(tmp_path))
    assert answer.output == OUTPUT
    assert await role.verify(call_of(tmp_path), answer) == answer


async def test_input_and_dependencies_arrive_unchanged(
    build: Callable[[str], Built], tmp_path: Path
) -> None:
    backend, role = build("echo")
    given = {"text": "'; rm -rf / #\n\u2028", "n": 2**53, "deep": [{"a": None}]}
    answer = await backend.answer(role, call_of(tmp_path, given))
    assert answer.output["input"] == given
    assert answer.output["dependencies"] == {"up": {"x": [1]}, "failed": None}


async def test_a_refusal_keeps_its_type_and_hint(
    build: Callable[[str], Built], tmp_path: Path
) -> None:
    backend, role = build("refused")
    with pytest.raises(AgentError) as caught:
        await backend.answer(role, call_of(tmp_path))
    assert caught.value.type is ErrorType.PERMISSION_DENIED
    assert (caught.value.message, caught.value.hint) == ("not allowed", "ask somebody")
    assert not caught.value.retryable


async def test_a_passing_lack_is_retryable(build: Callable[[str], Built], tmp_path: Path) -> None:
    backend, role = build("transient")
    with pytest.raises(AgentError) as caught:
        await backend.answer(role, call_of(tmp_path))
    assert caught.value.type is ErrorType.UNAVAILABLE
    assert caught.value.retryable


async def test_a_cancelled_call_leaves_nothing_and_ends_soon(
    build: Callable[[str], Built], tmp_path: Path
) -> None:
    backend, role = build("silent")
    call = call_of(tmp_path)
    call.hurry.set()
    with anyio.fail_after(10):
        with anyio.move_on_after(0.2) as scope:
            await backend.answer(role, call)
    assert scope.cancelled_caught
    assert descendants() == set()


async def test_calls_share_nothing(build: Callable[[str], Built], tmp_path: Path) -> None:
    backend, role = build("echo")
    answers: dict[int, Answer] = {}

    async def ask(number: int) -> None:
        call = call_of(tmp_path / str(number), {"number": number})
        call.workspace.mkdir()
        answers[number] = await backend.answer(role, call)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(ask, number)
    assert {n: a.output["input"]["number"] for n, a in answers.items()} == {n: n for n in range(5)}
