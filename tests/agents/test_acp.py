"""The backend `acp` with real programs that speak the protocol: the suite of every agent backend."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents import environments
from dispatch_runner.backends.acp import AcpBackend
from dispatch_runner.protocols import Backend
from dispatch_runner.settings.values import BackendOptions
from support.agent_suite import *  # noqa: F403 - the tests themselves
from support.agent_suite import Agent, agent_call, role_of
from support.model_server import (
    ModelServer,
    Request,
    Step,
    Steps,
    empty,
    error,
    hang,
    quota_exhausted,
    refused_key,
    text,
    tool,
)

pytestmark = pytest.mark.anyio

NEVER_SO = "no server can bring the real program to that"
RETRIES = "it tries again by itself for minutes, and says nothing: the watchdog's"


@dataclass(frozen=True)
class Program:
    """A program that speaks the protocol, and its names for what a script asks of it."""

    command: tuple[str, ...]
    read: Callable[[str], Step]
    write: Callable[[str], Step]
    run: Callable[[str], Step]
    lacks: Mapping[str, str]


GEMINI = Program(
    command=("gemini", "-m", environments.GEMINI_MODEL, "--acp"),
    read=lambda path: tool("read_file", {"file_path": path}),
    write=lambda path: tool("write_file", {"file_path": path, "content": "x"}),
    run=lambda line: tool("run_shell_command", {"command": line, "description": "runs"}),
    lacks={
        **dict.fromkeys(("429", "500", "529", "unreachable"), RETRIES),
        **dict.fromkeys(("working", "deaf"), "it does not tell what a cancelled prompt consumed"),
        "refusal": "it takes a refusal for an empty answer",
        "spending": "it does not tell what it consumes while it works",
    },
)
OPENCODE = Program(
    command=("opencode", "acp"),
    read=lambda path: tool("read", {"filePath": path}),
    write=lambda path: tool("write", {"filePath": path, "content": "x"}),
    run=lambda line: tool("bash", {"command": line, "description": "runs"}),
    lacks={
        **dict.fromkeys(("429", "500", "529", "unreachable", "quota"), RETRIES),
        **dict.fromkeys(("400", "403", "404"), "it passes on the provider's words, and no status"),
        "refusal": "it takes a refusal for an empty answer",
        "spending": "it does not tell what it consumes while it works",
        "tool": "it tells what its last request consumed, not all",
    },
)
PROGRAMS = {"gemini": GEMINI, "opencode": OPENCODE}
LACKS = dict.fromkeys(("turns", "garbage", "crash"), NEVER_SO)


def script_of(scenario: str, program: Program, workspace: Path) -> Steps:
    """What the model does in a scenario of the suite."""
    detached = "setsid sleep 1000 >/dev/null 2>&1 </dev/null &"
    deaf = "trap '' INT TERM; "
    scripts: dict[str, Steps] = {
        "echo": lambda request: text(said(request)),
        "reading": [program.read(str(workspace / "notes.txt")), text("hello")],
        "tool": [program.read(str(workspace / "notes.txt")), text("hello")],
        "structured": text('{"answer": 42}'),
        "unstructured": text("forty-two"),
        "repair": [text("wrong"), text("right")],
        "denied": [program.write(str(workspace / "new.txt")), text("all is done")],
        "empty": empty(),
        "401": refused_key(),
        "quota": quota_exhausted(),
        "silence": hang(),
        "working": program.run(f"{detached} sleep 1000"),
        "deaf": program.run(f"{deaf} {detached} sleep 1000; sleep 1000"),
        "orphan": [program.run(detached), text("hello")],
    }
    if scenario.isdigit() and scenario not in scripts:
        return error(int(scenario))
    return scripts.get(scenario, text("hello"))


def said(request: Request) -> str:
    """All that the user said."""
    messages = request.body.get("messages") or request.body.get("contents") or []
    parts = [message.get("content") or message.get("parts") for message in messages]
    flat = [each for part in parts for each in (part if isinstance(part, list) else [part])]
    return "\n".join(each["text"] if isinstance(each, dict) else str(each) for each in flat)


@pytest.fixture
def anyio_backend() -> str:
    """These programs are slow to start, and the stand-in is talked to on both event loops."""
    return "asyncio"


@pytest.fixture(params=PROGRAMS)
def agent(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    server: Callable[..., ModelServer],
    environment: Callable[[str, ModelServer | str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Agent:
    program = PROGRAMS[request.param]

    @asynccontextmanager
    async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
        workspace = folder / "workspace"
        workspace.mkdir(exist_ok=True)
        (workspace / "notes.txt").write_text("a note")
        model = server(script_of(scenario, program, workspace))
        variables = environment(request.param, model)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if scenario in {"working", "deaf", "orphan"}:
            options["access"] = "execute"
        yield AcpBackend(
            BackendOptions("asking", command=program.command, env=tuple(variables), **options)
        )

    return Agent(SimpleNamespace(build=build, LACKS=LACKS | dict(program.lacks)), tmp_path)


async def test_a_tool_is_told_and_the_answer_is_what_follows(agent: Agent) -> None:
    call = agent_call(agent.folder)
    async with agent.backend("reading") as backend:
        answer = await backend.answer(role_of(), call)
    assert answer.output == {"text": "hello"}
    assert [event for event in call.log.events if event.event == "tool"]
