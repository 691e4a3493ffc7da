"""Tools in a whole dispatch: agents call them, traces show them, and nothing of them is left."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from dispatch_runner.backends.offline import OfflineBackend
from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.models import JsonObject, Result
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall, Answer, InputProblem
from dispatch_runner.settings import Flags, load

pytestmark = pytest.mark.anyio

RAW = Path(__file__).parents[1] / "data" / "mcp" / "raw_server.py"


class Asker:
    """Calls the tool that its input names, and answers with what became of it."""

    name = "asker"

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        return []

    def writes(self, value: JsonObject) -> Sequence[str]:
        return []

    def missing_tools(self) -> Sequence[str]:
        return []

    async def solve(self, call: AgentCall) -> Answer:
        answer = await call.tools.call(call.input["tool"], call.input["arguments"], call.log)
        return Answer({"status": answer.status, "said": answer.output, "reason": answer.reason})

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        return answer


class OneAgent:
    """The registry of a single agent."""

    warnings: Sequence[str] = ()

    def get(self, name: str) -> Agent | None:
        return Agent("asker", Asker(), OfflineBackend())

    def names(self) -> Sequence[str]:
        return ["asker"]


def settings_text(log: Path) -> str:
    command = json.dumps([sys.executable, str(RAW), "--log", str(log)])
    return f"""
        [mcp]
        embedded = false
        [mcp.servers.raw]
        command = {command}
        env = ["PATH", "MCP_TEST"]
        [mcp.tools]
        look_up = "raw/echo"
        wait = {{ tool = "raw/slow", rename = {{ gate = "until" }} }}
        ruin = "raw/die"
    """


def dispatch_of(folder: Path, *calls: tuple[str, JsonObject], marker: str = "") -> Dispatch:
    file = folder / "dispatch.toml"
    file.write_text(settings_text(folder / "requests.log"))
    environ = {"PATH": os.environ["PATH"], "MCP_TEST": marker}
    settings = load(Flags(config=file, trace_dir=folder / "traces"), environ, folder)
    registry: Any = OneAgent()
    operator = Operator(settings, registry, AllowedRoots.of([folder]), environ)
    tasks: list[JsonObject] = [
        {"task_id": f"t{n}", "agent": "asker", "input_data": {"tool": tool, "arguments": arguments}}
        for n, (tool, arguments) in enumerate(calls)
    ]
    for task in tasks:
        if task["input_data"]["tool"] == "ruin":  # after the others, which share its server
            task["dependencies"] = [each["task_id"] for each in tasks if each is not task]
    return Dispatch.of(prepare(operator, {"tasks": tasks, "correlation_id": str(uuid4())}))


def trace_of(result: Result, number: int) -> Any:
    trace = result.results[number].trace_file
    assert trace is not None
    return json.loads(Path(trace).read_text())


def alive(marker: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"MCP_TEST={marker}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


async def test_calls_of_all_tasks_share_a_server_and_are_in_their_traces(tmp_path: Path) -> None:
    marker = uuid4().hex
    calls = [("look_up", {"number": number}) for number in range(4)]
    result = await dispatch_of(tmp_path, *calls, ("ruin", {}), ("other", {}), marker=marker).run()
    outputs = [task.output or {} for task in result.results]
    assert [output["status"] for output in outputs[:4]] == ["ok"] * 4
    assert [output["said"] for output in outputs[:4]] == [{"number": n} for n in range(4)]
    assert outputs[4]["status"] == "error"
    assert outputs[5]["status"] == "not_assessed"
    (call,) = trace_of(result, 1)["mcp_calls"]
    assert (call["server"], call["tool"], call["is_error"]) == ("raw", "echo", False)
    assert call["input"] == call["output"] == {"number": 1}
    assert call["duration_ms"] > 0
    (call,) = trace_of(result, 4)["mcp_calls"]
    assert call["is_error"]
    assert "exit code 3" in call["output"]
    assert alive(marker) == []


@pytest.mark.parametrize("how", ["stop", "cancel"])
async def test_an_interrupted_dispatch_leaves_no_server(tmp_path: Path, how: str) -> None:
    marker, log = uuid4().hex, tmp_path / "requests.log"
    dispatch = dispatch_of(tmp_path, ("wait", {"gate": "/nowhere"}), marker=marker)
    async with anyio.create_task_group() as group:
        group.start_soon(dispatch.run)
        with anyio.fail_after(10):
            while not (log.exists() and "tools/call slow" in log.read_text()):  # noqa: ASYNC110
                await anyio.sleep(0.002)
        if how == "stop":
            dispatch.stop("SIGINT")
        else:
            group.cancel_scope.cancel()
    assert dispatch.fault is None
    assert dispatch.result is not None
    assert dispatch.result.results[0].status == "cancelled"
    (call,) = trace_of(dispatch.result, 0)["mcp_calls"]
    assert call["output"] == "cancelled before it was answered"
    assert alive(marker) == []


def test_a_dispatch_that_calls_no_tool_imports_nothing_of_them(tmp_path: Path) -> None:
    (tmp_path / "dispatch.toml").write_text(settings_text(tmp_path / "requests.log"))
    request = {"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"a": 1}}]}
    program = [sys.executable, "-X", "importtime", "-m", "dispatch_runner"]
    done = subprocess.run(
        [*program, "--config", "dispatch.toml"],
        input=json.dumps(request).encode(),
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines()}
    assert "dispatch_runner.settings.mcp" in imported, "the file has servers"
    assert not {name for name in imported if name.split(".")[0] in {"mcp", "httpx2"}}
    assert not {name for name in imported if name.startswith("dispatch_runner.mcp")}
