"""The backend `acp` with real programs that speak the protocol.

The suite of every agent backend is for Gemini's; the most important of it for opencode, which takes
seconds to start.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from agents import environments
from agents.scripted import BUSY, DAEMON, scripts
from dispatch_runner.backends.acp.backend import AcpBackend
from dispatch_runner.models import ErrorType
from dispatch_runner.protocols import Backend, Question, Repair
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import *  # noqa: F403 - the tests themselves
from support.agent_suite import Agent, WatchedMeter, agent_call, descendants, role_of
from support.model_server import ModelServer, Reply, Steps, tool

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

LACKS = {
    **dict.fromkeys(("turns", "garbage", "crash"), "no server can bring the real program to that"),
    **dict.fromkeys(
        ("429", "500", "529", "unreachable"),
        "it tries again by itself for minutes and says nothing: the watchdog's",
    ),
    **dict.fromkeys(("working", "deaf"), "it does not tell what a cancelled prompt consumed"),
    "404": "it calls that 500",
    **dict.fromkeys(
        ("400", "403"), "its words for it are those that the backend `gemini` is tried with"
    ),
    "refusal": "it takes a refusal for an empty answer",
    "spending": "it does not tell what it consumes while it works",
}
"""What Gemini's command line cannot show."""


@dataclass(frozen=True)
class Program:
    """A program that speaks the protocol, and its words for what a script asks of it."""

    name: str
    command: tuple[str, ...]
    tools: tuple[str, str, str]
    """That read, write, run."""
    path: str
    """The parameter of the first two that names the file."""

    def reads(self, path: Path) -> Reply:
        return tool(self.tools[0], {self.path: str(path)})

    def writes(self, path: Path) -> Reply:
        return tool(self.tools[1], {self.path: str(path), "content": "x"})

    def runs(self, line: str) -> Reply:
        return tool(self.tools[2], {"command": line, "description": "runs"})


GEMINI = Program(
    "gemini",
    ("gemini", "-m", environments.GEMINI_MODEL, "--acp"),
    ("read_file", "write_file", "run_shell_command"),
    "file_path",
)
OPENCODE = Program("opencode", ("opencode", "acp"), ("read", "write", "bash"), "filePath")


def script_of(scenario: str, program: Program, workspace: Path) -> Steps:
    """What the model does in a scenario of the suite, or in one of this file."""
    known = scripts(
        program.reads(workspace / "notes.txt"),
        program.writes(workspace / "new.txt"),
        program.runs(BUSY),
        program.runs(DAEMON),
    )
    own = {"stopped": program.runs(f"trap '' INT TERM; {BUSY}")}
    return own.get(scenario) or known[scenario]


@pytest.fixture
def anyio_backend() -> str:
    """These programs are slow to start, and the stand-in is talked to on both event loops."""
    return "asyncio"


@pytest.fixture
def built(
    tmp_path: Path,
    server: Callable[..., ModelServer],
    environment: Callable[[str, ModelServer | str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Program], Agent]:
    """The backend with a real program."""

    def of(program: Program) -> Agent:
        @asynccontextmanager
        async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
            workspace = folder / "workspace"
            workspace.mkdir(exist_ok=True)
            (workspace / "notes.txt").write_text("a note")
            model = server(script_of(scenario, program, workspace))
            variables = environment(program.name, model)
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            if scenario in {"stopped", "orphan"}:
                options["access"] = "execute"
            names = tuple(variables)
            yield AcpBackend(BackendOptions("asking", program.command, env=names, **options))

        return Agent(SimpleNamespace(build=build, LACKS=LACKS), tmp_path)

    return of


@pytest.fixture
def agent(built: Callable[[Program], Agent]) -> Agent:
    return built(GEMINI)


@pytest.fixture
def opencode(built: Callable[[Program], Agent]) -> Agent:
    return built(OPENCODE)


@pytest.fixture(params=[GEMINI, OPENCODE], ids=lambda program: program.name)
def either(request: pytest.FixtureRequest, built: Callable[[Program], Agent]) -> Agent:
    return built(request.param)


async def test_opencode_is_denied_what_it_may_not_do(opencode: Agent) -> None:
    error, call = await opencode.fails("denied")
    assert error.type is ErrorType.PERMISSION_DENIED
    assert not (call.workspace / "new.txt").exists()


async def test_each_may_do_what_it_is_allowed_to(either: Agent) -> None:
    answer, call = await either.ask("denied", Question("write", access="edit"))
    assert answer.output == {"text": "all done"}
    assert (call.workspace / "new.txt").read_text() == "x"
    assert [event for event in call.log.events if event.event == "tool"]
    assert call.meter.usage is not None


async def test_opencode_goes_on_in_its_session(opencode: Agent) -> None:
    call = agent_call(opencode.folder)
    async with opencode.backend("repair") as backend:
        first = await backend.answer(role_of(), call)
        again = replace(call, repair=Repair(1, "wrong is wrong", first.output, first.session))
        assert (await backend.answer(role_of(), again)).output == {"text": "right"}
    assert [e.data["continued"] for e in call.log.events if e.event == "session"] == [False, True]


async def test_opencode_says_when_its_key_is_refused(opencode: Agent) -> None:
    error, _ = await opencode.fails("401")
    assert error.type is ErrorType.AUTH


async def test_each_stopped_at_work_leaves_nothing(either: Agent) -> None:
    call = agent_call(either.folder)
    assert isinstance(call.meter, WatchedMeter)
    with anyio.fail_after(30):
        async with either.backend("stopped", grace_seconds=0.3) as backend:
            async with anyio.create_task_group() as group:
                group.start_soon(backend.answer, role_of(), call)
                await call.meter.working.wait()
                group.cancel_scope.cancel()
    assert descendants() == set()
