"""The pool against real HTTP servers on the loopback interface."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.mcp.pool import McpPool, open_pool
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import CallLog, ToolAnswer
from dispatch_runner.settings.mcp import McpServer, McpSettings, McpTool

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    # trio notices that the HTTP library does not finish its generators; on asyncio nobody does
    pytest.mark.filterwarnings(
        "ignore:Async generator '(httpx2|httpcore2|dispatch):ResourceWarning"
    ),
]

SERVERS = Path(__file__).parents[1] / "data" / "mcp"
SOON = 0.4
TOOLS = [
    "echo", "hang", "status", "garbage", "breaks", "huge", "sse", "headers", "forget", "die", "gone",
    "assess_code_quality", "explode",
]  # fmt: skip


class Web:
    """A server in a process of its own, which may be ended and started again at the same port."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._file = folder / "port"
        self._flags = flags
        self.port = 0
        self.start()

    def start(self) -> None:
        self._file.unlink(missing_ok=True)
        script = SERVERS / "http_server.py"
        arguments = [str(self._file), str(self.port), *self._flags]
        self._process = subprocess.Popen([sys.executable, str(script), *arguments])
        deadline = time.monotonic() + 10
        while not self._file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        self.port = int(self._file.read_text())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    web = Web(tmp_path)
    yield web
    web.stop()


@asynccontextmanager
async def pool_with(url: str, **fields: Any) -> AsyncIterator[McpPool]:
    server = McpServer("web", "test", url=url, **fields)
    tools = {name: McpTool("web", name) for name in TOOLS}
    async with open_pool(
        McpSettings({"web": server}, tools, embedded=False),
        correlation_id="an-id",
        hurry=anyio.Event(),
        roots=AllowedRoots.of(()),
    ) as pool:
        yield pool


async def ask(pool: McpPool, tool: str, **arguments: Any) -> ToolAnswer:
    return await pool.call(tool, arguments, CallLog())


@pytest.mark.parametrize("tool", ["echo", "sse"])
async def test_an_answer_comes_as_json_or_as_an_event(web: Web, tool: str) -> None:
    async with pool_with(web.url) as pool:
        assert await ask(pool, tool, a=1) == ToolAnswer("ok", {"a": 1})


async def test_headers_of_the_operator_are_sent(web: Web) -> None:
    async with pool_with(web.url, headers={"Authorization": "Bearer t0ken"}) as pool:
        sent = (await ask(pool, "headers")).output
    headers = {name.lower(): value for name, value in sent.items()}
    assert headers["authorization"] == "Bearer t0ken"
    assert "text/event-stream" in headers["accept"]


@pytest.mark.parametrize(
    ("tool", "reason"),
    [
        ("status", "answered HTTP 503 Service Unavailable: <html>down for maintenance</html>"),
        ("garbage", "Failed to parse JSON response"),
        ("breaks", "it broke off"),
    ],
)
async def test_a_request_that_fails_is_one_error(web: Web, tool: str, reason: str) -> None:
    async with pool_with(web.url) as pool:
        answer = await ask(pool, tool)
        assert answer.status == "error"
        assert reason in str(answer.reason)
        assert (await ask(pool, "echo", a=1)).output == {"a": 1}


async def test_a_request_that_fails_does_no_harm_to_others(web: Web) -> None:
    async with pool_with(web.url, timeout_seconds=SOON) as pool:
        await ask(pool, "echo")
        answers = {}

        async def one(tool: str, number: int) -> None:
            answers[tool, number] = (await ask(pool, tool, number=number)).status

        async with anyio.create_task_group() as group:
            for number in range(4):
                for tool in ("echo", "breaks", "hang"):
                    group.start_soon(one, tool, number)
        assert {answers["echo", number] for number in range(4)} == {"ok"}
        assert {answers["breaks", number] for number in range(4)} == {"error"}


async def test_a_hanging_request_ends_at_the_timeout_and_the_next_is_answered(web: Web) -> None:
    async with pool_with(web.url, timeout_seconds=SOON) as pool:
        assert await ask(pool, "hang") == ToolAnswer("error", reason=f"no answer within {SOON:g} s")
        assert (await ask(pool, "echo", a=1)).output == {"a": 1}


async def test_a_server_that_was_restarted_is_found_again(web: Web) -> None:
    async with pool_with(web.url) as pool:
        await ask(pool, "echo")
        web.stop()
        web.start()
        assert (await ask(pool, "echo", a=1)).output == {"a": 1}


async def test_a_session_that_the_server_forgot_is_opened_anew(tmp_path: Path) -> None:
    web = Web(tmp_path, "--sessions")
    try:
        async with pool_with(web.url) as pool:
            assert (await ask(pool, "forget")).status == "ok"
            assert (await ask(pool, "echo", a=1)).output == {"a": 1}
    finally:
        web.stop()


async def test_a_server_that_dies_during_a_call_is_an_error_and_then_not_assessed(web: Web) -> None:
    async with pool_with(web.url) as pool:
        answer = await ask(pool, "die")
        assert answer.status == "error"
        assert "it did not answer" in str(answer.reason)
        answer = await ask(pool, "echo")
        assert answer.status == "not_assessed"
        assert "cannot be reached" in str(answer.reason)


async def test_nobody_there_is_not_assessed(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # not listening: refused
        async with pool_with(f"http://127.0.0.1:{free.getsockname()[1]}/mcp") as pool:
            answer = await ask(pool, "echo")
    assert answer.status == "not_assessed"
    assert "MCP server 'web' is unavailable: it cannot be reached" in str(answer.reason)


async def test_someone_who_accepts_and_says_nothing_is_not_assessed() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"
        async with pool_with(url, connect_timeout_seconds=SOON) as pool:
            answer = await ask(pool, "echo")
    assert answer.status == "not_assessed"
    assert f"it did not answer within {SOON:g} s" in str(answer.reason)


async def test_a_wrong_token_is_told_without_the_token(web: Web) -> None:
    async with pool_with(web.url, headers={"x-token": "wrong"}) as pool:
        answer = await ask(pool, "echo")
    assert answer.status == "not_assessed"
    assert "answered HTTP 401 Unauthorized: who are you?" in str(answer.reason)


async def test_an_answer_above_the_limit_is_an_error(web: Web) -> None:
    async with pool_with(web.url) as pool:
        assert len((await ask(pool, "huge", size=3_000_000)).output["text"]) == 3_000_000
        answer = await ask(pool, "huge", size=17 << 20)
        assert answer.status == "error"
        assert "larger than 16 MiB" in str(answer.reason)
        assert (await ask(pool, "echo")).status == "ok"


async def test_a_missing_tool_is_not_assessed(web: Web) -> None:
    async with pool_with(web.url) as pool:
        answer = await ask(pool, "gone")
    assert answer.status == "not_assessed"
    assert "has no tool 'gone'" in str(answer.reason)


@pytest.fixture
def official() -> Iterator[str]:
    """The URL of a server by the official package."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    program = [sys.executable, str(SERVERS / "official_server.py"), str(address[1])]
    process = subprocess.Popen(program, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{address[1]}/mcp"
    process.kill()
    process.wait()


async def test_the_official_server_is_understood_over_http(official: str) -> None:
    async with pool_with(official) as pool:
        answer = await ask(pool, "assess_code_quality", content="x = 1")
        assert answer.output["analysis"]["quality_score"] == 0.5
        failed = await ask(pool, "explode")
    assert failed.status == "error"
