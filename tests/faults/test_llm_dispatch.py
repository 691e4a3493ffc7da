"""A model in a whole dispatch with the tools of a real MCP server: traces show its calls, nothing is left."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from dispatch_runner.backends.llm.backend import LlmBackend
from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.models import Result
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent
from dispatch_runner.settings import Flags, load
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import role_of
from support.model_server import ModelServer, Steps, text, tool

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc"),
]

RAW = Path(__file__).parents[1] / "data" / "mcp" / "raw_server.py"
ECHO = "mcp__raw__echo"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OneAgent:
    """The registry of a single agent."""

    warnings: Sequence[str] = ()

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def get(self, name: str) -> Agent | None:
        return self._agent

    def names(self) -> Sequence[str]:
        return [self._agent.name]


class World:
    """A dispatch of tasks that ask a scripted model, with a server that can be counted."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder = folder
        self.marker = uuid4().hex
        self.log = folder / "requests.log"
        self._running = running

    def dispatch(self, script: Steps, tasks: int = 1) -> tuple[Dispatch, ModelServer]:
        server = self._running.enter_context(ModelServer(script))
        backend = LlmBackend(
            BackendOptions("asking", model="openai:gpt-5.2", base_url=f"{server.url}/v1")
        )
        settings = load(self._flags(), self._environ(), self.folder)
        registry: Any = OneAgent(Agent("asking", role_of(), backend))
        operator = Operator(settings, registry, AllowedRoots.of([self.folder]), self._environ())
        document: dict[str, Any] = {
            "tasks": [
                {"task_id": f"t{n}", "agent": "asking", "input_data": {}} for n in range(tasks)
            ],
            "correlation_id": str(uuid4()),
        }
        return Dispatch.of(prepare(operator, document)), server

    def alive(self) -> list[str]:
        """Ids of the server's processes."""
        wanted, found = f"MCP_TEST={self.marker}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(folder.name)
            except OSError:
                continue
        return found

    def _environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "MCP_TEST": self.marker}

    def _flags(self) -> Flags:
        command = json.dumps([sys.executable, str(RAW), "--log", str(self.log)])
        file = self.folder / "dispatch.toml"
        file.write_text(
            f'[mcp.servers.raw]\ncommand = {command}\nenv = ["PATH", "MCP_TEST"]\n'
            '[mcp.servers.gone]\ncommand = ["/no/such/server"]\n'
        )
        return Flags(config=file, trace_dir=self.folder / "traces")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as running:
        yield World(tmp_path, running)


def mcp_calls(result: Result, number: int) -> Any:
    trace = result.results[number].trace_file
    assert trace is not None
    return json.loads(Path(trace).read_text())["mcp_calls"]


async def test_the_calls_of_all_models_share_a_server_and_are_in_the_traces(world: World) -> None:
    def step(request: Any) -> Any:
        return text("done") if '"tool"' in request.text else tool(ECHO, {"number": 7})

    dispatch, server = world.dispatch(step, tasks=3)
    result = await dispatch.run()
    assert [task.status for task in result.results] == ["success"] * 3, result.results[0].error
    for number in range(3):
        (call,) = mcp_calls(result, number)
        assert (call["server"], call["tool"], call["is_error"]) == ("raw", "echo", False)
        assert call["input"] == call["output"] == {"number": 7}
    offered = server.requests[0].tools
    assert ECHO in offered
    assert not [name for name in offered if "gone" in name]
    assert world.log.read_text().splitlines().count("start") == 1
    assert world.alive() == []


async def test_a_model_that_is_interrupted_in_a_tool_leaves_no_server(world: World) -> None:
    dispatch, _ = world.dispatch(tool("mcp__raw__slow", {"until": "/nowhere"}))
    async with anyio.create_task_group() as group:
        group.start_soon(dispatch.run)
        await until(lambda: world.log.exists() and "tools/call slow" in world.log.read_text())
        dispatch.stop("SIGINT")
    assert dispatch.result is not None
    (task,) = dispatch.result.results
    assert task.status == "cancelled"
    assert task.usage is not None
    assert (task.usage.input_tokens, task.usage.requests) == (100, 1)
    assert world.alive() == []


async def until(condition: Callable[[], bool]) -> None:
    """What another process does can only be looked at."""
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.005)
