"""The pool against real servers over stdio that die, hang, talk rubbish, and leave processes behind."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from dispatch_runner.mcp.pool import open_pool
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import CallLog, ToolAnswer
from dispatch_runner.settings.mcp import McpServer, McpSettings, McpTool

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc"),
]

SERVERS = Path(__file__).parents[1] / "data" / "mcp"
SOON = 0.4
"""Seconds after which a call is given up, in tests of calls that are not answered."""


class Asking:
    """A pool in use."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.log = CallLog()

    async def __call__(self, tool: str, **arguments: Any) -> ToolAnswer:
        return await self._pool.call(tool, arguments, self.log)


class World:
    """Servers that write down what they are asked, and whose processes can be counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = f"MCP_TEST={uuid4().hex}"
        self._log = folder / "requests.log"

    def raw(self, *flags: str, **fields: Any) -> McpServer:
        """The server of the standard library."""
        return self.program("raw_server.py", "--log", str(self._log), *flags, **fields)

    def program(self, script: str, *arguments: str, **fields: Any) -> McpServer:
        name, _, value = self.marker.partition("=")
        env = {"PATH": os.environ["PATH"], name: value}
        command = (sys.executable, str(SERVERS / script), *arguments)
        return McpServer("raw", "test", command=command, env=env, **fields)

    @asynccontextmanager
    async def asking(self, server: McpServer, **options: Any) -> AsyncIterator[Asking]:
        """A pool with this server, all of whose tools are called by their own names."""
        options.setdefault("hurry", anyio.Event())
        settings = McpSettings({"raw": server}, Everything(), embedded=False)
        async with open_pool(
            settings, correlation_id="an-id", roots=AllowedRoots.of(()), **options
        ) as pool:
            yield Asking(pool)

    @property
    def requests(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    @property
    def starts(self) -> int:
        return self.requests.count("start")

    def processes(self) -> list[int]:
        """Ids of what is alive of the servers and of what they started."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if self.marker.encode() in variables:
                found.append(int(folder.name))
        return found


class Everything(dict[str, McpTool]):
    """Maps every tool to the server's own."""

    def get(self, name: str, default: Any = None) -> McpTool:
        return McpTool("raw", name)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    left = world.processes()
    for pid in left:  # so that a failing test leaves nothing either
        os.kill(pid, signal.SIGKILL)
    assert left == [], "a process was left behind"


def is_dead(pid: int) -> bool:
    """Whether it has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def until(condition: Callable[[], bool]) -> None:
    """Waits for another process to do something that can only be seen."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.002)


async def test_one_connection_serves_all_calls(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        assert await ask("echo", a=1) == ToolAnswer("ok", {"a": 1})
        assert (await ask("text", text='{"score": 0.5}')).output == {"score": 0.5}
        assert (await ask("text", text="in words")).output == {"text": "in words"}
    assert world.starts == 1
    assert world.requests.count("tools/list") == 1
    assert [call.tool for call in ask.log.mcp_calls] == ["echo", "text", "text"]
    assert all(call.duration_ms > 0 and not call.is_error for call in ask.log.mcp_calls)


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ("fail", "the file is locked"),
        ("unsuccessful", "TypeError in the scorer"),
        ("broken", "internal trouble"),
        ("malformed", "the answer is not in MCP's form"),
    ],
)
async def test_what_a_tool_says_of_its_failure_is_an_error(
    world: World, tool: str, reason: str
) -> None:
    async with world.asking(world.raw()) as ask:
        answer = await ask(tool)
        assert (await ask("echo")).status == "ok"
    assert (answer.status, answer.output) == ("error", None)
    assert reason in str(answer.reason)
    assert (ask.log.mcp_calls[0].is_error, ask.log.mcp_calls[0].output) == (True, answer.reason)


async def test_a_missing_tool_is_not_assessed_and_not_called(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        answer = await ask("asess_code_quality")
    assert answer.status == "not_assessed"
    assert "has no tool 'asess_code_quality'; it has: broken, die, echo" in str(answer.reason)
    assert not any(line.startswith("tools/call") for line in world.requests)


async def test_a_tool_that_came_later_is_found(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        await ask("echo")
        assert (await ask("late")).output == {"text": "here I am"}
    assert world.requests.count("tools/list") == 2


async def test_a_tool_that_was_taken_away_is_noticed(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        await ask("forget")
        answer = await ask("echo")
    assert answer.status == "not_assessed"
    assert "it has: none" in str(answer.reason)


@pytest.mark.parametrize("tool", ["vanish", "vanish_rpc"])
async def test_a_server_that_no_longer_knows_its_tool_has_not_assessed(
    world: World, tool: str
) -> None:
    async with world.asking(world.raw()) as ask:
        answer = await ask(tool)
    assert answer.status == "not_assessed"
    assert f"has no tool '{tool}'" in str(answer.reason)


async def test_a_tool_that_is_listed_and_yet_unknown_is_an_error(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        assert await ask("phantom") == ToolAnswer("error", reason="Unknown tool: phantom")


async def test_death_during_a_call_is_told_with_its_cause_and_the_server_is_started_again(
    world: World,
) -> None:
    async with world.asking(world.raw()) as ask:
        answer = await ask("die")
        assert answer.status == "error"
        assert "it ended with exit code 3: RuntimeError: out of cheese" in str(answer.reason)
        assert (await ask("echo", a=1)).output == {"a": 1}
    assert world.starts == 2


async def test_death_between_two_calls_is_not_noticed_by_the_caller(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        await ask("echo")
        (pid,) = world.processes()
        os.kill(pid, signal.SIGKILL)
        await until(lambda: is_dead(pid))
        assert (await ask("echo", a=1)).output == {"a": 1}
    assert world.starts == 2


async def test_a_server_that_hangs_is_replaced_after_the_timeout(world: World) -> None:
    async with world.asking(world.raw(timeout_seconds=SOON)) as ask:
        answer = await ask("hang")
        assert answer == ToolAnswer("error", reason=f"no answer within {SOON:g} s")
        assert (await ask("echo", a=1)).output == {"a": 1}
    assert world.starts == 2


async def test_ten_calls_of_a_server_that_hangs_are_one_failure(world: World) -> None:
    async with world.asking(world.raw(timeout_seconds=SOON)) as ask:
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(ask, "hang")
        assert (await ask("echo", a=1)).output == {"a": 1}
    assert {call.output for call in ask.log.mcp_calls[:10]} == {f"no answer within {SOON:g} s"}
    assert world.starts == 2


async def test_a_slow_tool_of_a_server_that_is_well_costs_nobody_the_connection(
    world: World,
) -> None:
    async with world.asking(world.raw(timeout_seconds=SOON)) as ask:
        await ask("echo")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask("slow", until="/nowhere"))
            await until(lambda: "tools/call slow" in world.requests)
            await ask("echo")
        await ask("echo")
    assert ask.log.mcp_calls[1].output == f"no answer within {SOON:g} s"
    assert world.starts == 1


async def test_garbage_is_told_when_no_answer_follows(world: World) -> None:
    async with world.asking(world.raw("--banner", timeout_seconds=SOON)) as ask:
        assert (await ask("echo", a=1)).output == {"a": 1}, "a banner does no harm"
        answer = await ask("garbage")
    assert answer.status == "error"
    assert "on its stdout it wrote '%PDF-1.4 what is this'" in str(answer.reason)


async def test_ten_callers_share_one_slow_start_and_one_connection(world: World) -> None:
    gate = world.folder / "gate"
    async with world.asking(world.raw("--slow-start", "0.1")) as ask:
        answers: dict[int, Any] = {}

        async def one(number: int) -> None:
            answers[number] = (await ask("slow", value=number, until=str(gate))).output

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(one, number)
            await until(lambda: world.requests.count("tools/call slow") == 10)
            gate.touch()
    assert answers == {number: {"value": number} for number in range(10)}
    assert world.starts == 1


async def test_cancelling_one_call_leaves_the_other_its_connection(world: World) -> None:
    gate = world.folder / "gate"
    async with world.asking(world.raw()) as ask:
        other: list[ToolAnswer] = []

        async def call() -> None:
            other.append(await ask("slow", value=2, until=str(gate)))

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(call)
                group.start_soon(_cancel_when, scope, world, 2)
                await ask("slow", value=1, until="/nowhere")
            assert scope.cancelled_caught
            await until(lambda: any("cancelled" in line for line in world.requests))
            gate.touch()
        assert other == [ToolAnswer("ok", {"value": 2})]
        await ask("echo")
    assert world.starts == 1
    cancelled = next(call for call in ask.log.mcp_calls if call.input.get("value") == 1)
    assert (cancelled.is_error, cancelled.output) == (True, "cancelled before it was answered")


async def _cancel_when(scope: anyio.CancelScope, world: World, calls: int) -> None:
    await until(lambda: world.requests.count("tools/call slow") == calls)
    scope.cancel()


async def test_cancelling_the_caller_who_opens_leaves_the_others_the_connection(
    world: World,
) -> None:
    async with world.asking(world.raw("--slow-start", "0.1")) as ask:
        answers: list[ToolAnswer] = []

        async def call() -> None:
            answers.append(await ask("echo", a=1))

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(_cancel_at_start, scope, world)
                group.start_soon(call)
                await ask("echo", a=2)
        assert answers == [ToolAnswer("ok", {"a": 1})]
    assert world.starts == 1


async def _cancel_at_start(scope: anyio.CancelScope, world: World) -> None:
    await until(lambda: world.starts == 1)
    scope.cancel()


async def test_a_server_that_does_not_start_is_tried_three_times_and_then_left_alone(
    world: World,
) -> None:
    server = world.raw("--needs", str(world.folder / "licence"))
    async with world.asking(server, clock=Time()) as ask:
        answer = await ask("echo")
        again = await ask("echo")
    assert answer.status == again.status == "not_assessed"
    words = "MCP server 'raw' is unavailable: it ended with exit code 1: no licence"
    assert answer.reason == words
    assert again.reason == f"{words}; it is tried again in 30 s"
    assert world.starts == 3
    assert len(ask.log.mcp_calls) == 2


class Time:
    """Stands still unless it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_probe_closes_the_circuit_when_the_server_is_back(world: World) -> None:
    licence, time = world.folder / "licence", Time()
    async with world.asking(world.raw("--needs", str(licence)), clock=time) as ask:
        await ask("echo")
        time.now += 31
        assert (await ask("echo")).status == "not_assessed"
        assert world.starts == 4, "one probe"
        licence.touch()
        time.now += 31
        assert (await ask("echo")).status == "not_assessed"
        assert world.starts == 4, "open for a minute now"
        time.now += 30
        assert (await ask("echo")).status == "ok"
        assert (await ask("echo")).status == "ok"
    assert world.starts == 5


async def test_a_server_that_dies_at_every_call_is_left_alone_after_three(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        statuses = [(await ask("die")).status for _ in range(5)]
    assert statuses == ["error", "error", "error", "not_assessed", "not_assessed"]
    assert world.starts == 3


async def test_failures_between_successes_do_not_add_up(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        statuses = [(await ask(tool)).status for tool in ("die", "echo") * 4]
    assert statuses == ["error", "ok"] * 4


async def test_a_server_that_never_answers_is_given_up_once(world: World) -> None:
    async with world.asking(world.raw("--deaf", connect_timeout_seconds=SOON)) as ask:
        answer = await ask("echo")
    assert answer.status == "not_assessed"
    assert f"it did not answer within {SOON:g} s and still runs" in str(answer.reason)
    assert world.starts == 1


async def test_a_program_that_is_not_there_is_told_at_once(world: World) -> None:
    server = McpServer("raw", "test", command=("no-such-server",))
    async with world.asking(server) as ask:
        answer = await ask("echo")
    assert answer.status == "not_assessed"
    assert "cannot start 'no-such-server'" in str(answer.reason)
    assert "install the program" in str(answer.reason)


async def test_a_large_answer_is_read_and_one_above_the_limit_is_an_error(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        answer = await ask("huge", size=3_000_000)
        assert len(answer.output["text"]) == 3_000_000
        answer = await ask("huge", size=17 << 20)
        assert answer.status == "error"
        assert "it sent more than 16 MiB as one message" in str(answer.reason)
        assert (await ask("echo")).status == "ok"


async def test_a_server_is_told_the_correlation_id_and_nothing_of_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEONES_TOKEN", "hunter2")
    async with world.asking(world.raw()) as ask:
        assert (await ask("meta")).output == {"correlation_id": "an-id"}
        seen = set((await ask("environment")).output)
    ours = {"DISPATCH_RUNNER_CORRELATION_ID", "DISPATCH_RUNNER_TASK_MARKER"}
    assert seen - {"LC_CTYPE"} == {"PATH", "MCP_TEST", *ours}


async def test_arguments_that_cannot_be_sent_do_no_harm_to_other_calls(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        await ask("echo")
        assert (await ask("echo", a="\ud800")).status == "error"
        assert (await ask("echo", a=1)).output == {"a": 1}
    assert world.starts == 1


async def test_without_the_client_library_a_server_is_not_assessed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    for name in ("session", "http", "stdio"):
        monkeypatch.delitem(sys.modules, f"dispatch_runner.mcp.{name}", raising=False)
    async with world.asking(world.raw()) as ask:
        answer = await ask("echo")
    assert answer.status == "not_assessed"
    assert "the package 'mcp' 2 is not installed: pip install 'dispatch-runner[mcp]'" in str(
        answer.reason
    )
    assert world.starts == 0


async def test_what_a_server_started_ends_with_it(world: World) -> None:
    async with world.asking(world.raw()) as ask:
        await ask("grandchild")
        await until(lambda: len(world.processes()) == 2)
    assert world.processes() == []


async def test_what_a_server_started_does_not_keep_its_connection_alive(world: World) -> None:
    """The child holds the server's stdout open: its end shows only in the process."""
    async with world.asking(world.raw()) as ask:
        await ask("grandchild")
        answer = await ask("die")
        assert "exit code 3" in str(answer.reason)
        assert (await ask("echo", a=1)).output == {"a": 1}


async def test_a_stubborn_server_is_killed_and_in_a_hurry_at_once(world: World) -> None:
    hurry = anyio.Event()
    async with world.asking(world.raw("--stubborn"), hurry=hurry) as ask:
        await ask("echo")
        hurry.set()
        start = anyio.current_time()
    assert anyio.current_time() - start < 1
    assert world.processes() == []


async def test_a_stubborn_server_is_killed_in_bounded_time(world: World) -> None:
    async with world.asking(world.raw("--stubborn")) as ask:
        await ask("echo")
        start = anyio.current_time()
    assert anyio.current_time() - start < 7
    assert world.processes() == []


@pytest.mark.parametrize("moment", ["start", "tools/call slow"])
async def test_a_dispatch_that_is_cancelled_leaves_nothing(world: World, moment: str) -> None:
    async with anyio.create_task_group() as group:

        async def use() -> None:
            async with world.asking(world.raw("--slow-start", "0.05")) as ask:
                await ask("slow", until="/nowhere")

        group.start_soon(use)
        await until(lambda: moment in world.requests)
        group.cancel_scope.cancel()
    assert world.processes() == []


async def test_closing_does_not_wait_for_a_start_that_nobody_needs(world: World) -> None:
    async with world.asking(world.raw("--deaf")) as ask:
        with anyio.move_on_after(0.1):
            await ask("echo")
        start = anyio.current_time()
    assert anyio.current_time() - start < 1


async def test_the_official_server_is_understood(world: World) -> None:
    async with world.asking(world.program("official_server.py")) as ask:
        score = await ask("assess_code_quality", content="x = 1")
        found = await ask("rag_search_knowledge_base", query="q", match_count=2)
        failed = await ask("explode")
    assert score.output == {"success": True, "analysis": {"quality_score": 0.5, "characters": 5}}
    assert found.output == {"success": True, "results": ["q", "q"], "error": None}
    assert failed.status == "error"
    assert "explode" in str(failed.reason)


async def test_an_old_server_that_ends_at_any_word_but_the_handshake_is_understood(
    world: World,
) -> None:
    async with world.asking(world.raw("--strict")) as ask:
        assert (await ask("echo", a=1)).output == {"a": 1}
        await ask("die")
        assert (await ask("echo", a=2)).output == {"a": 2}
    assert world.starts == 3, "one in vain; and then it is known"
