"""The quality server as a process of its own, driven by the official client and by raw bytes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("mcp")

from mcp import StdioServerParameters
from mcp.client import Client
from mcp.shared.exceptions import MCPError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "dispatch_runner", "mcp"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
CALLS: dict[str, dict[str, Any]] = {
    "assess_code_quality": {"content": "x = 1\n", "source_path": "a.py", "language": "python"},
    "perform_rag_query": {"query": "circuit breaker", "max_results_per_source": 3},
    "search_code_examples": {"query": "breaker", "match_count": 3},
    "research": {"query": "breaker", "queries": ["circuit"]},
    "check_architectural_compliance": {"content": "x = 1\n", "architecture_type": "onex"},
    "get_quality_patterns": {"content": "x = 1\n", "pattern_type": "anti_patterns"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "breaker.py").write_text("class CircuitBreaker:\n    def admit(self): ...\n")
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder.parent / "cache")}


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=COMMAND[0], args=COMMAND[1:], cwd=folder, env=environment(folder)
    )
    async with Client(server) as client:
        yield client


async def test_every_tool_is_listed_and_answers(folder: Path) -> None:
    async with connected(folder) as client:
        listed = await client.list_tools()
        assert [tool.name for tool in listed.tools] == list(CALLS)
        for name, arguments in CALLS.items():
            result = await client.call_tool(name, arguments)
            assert not result.is_error
            answer = json.loads(result.content[0].text)  # type: ignore[union-attr]
            assert answer == result.structured_content
            assert answer["success"] is True
            if "results" in answer:
                (found,) = answer["results"]["rag_search"]
                assert found["file"] == str(folder / "breaker.py")


async def test_calls_at_once_are_all_answered(folder: Path) -> None:
    async with connected(folder) as client:
        results: list[bool] = []

        async def call(name: str) -> None:
            results.append((await client.call_tool(name, CALLS[name])).is_error)

        async with anyio.create_task_group() as group:
            for name in [*CALLS] * 3:
                group.start_soon(call, name)
    assert results == [False] * 18


async def test_wrong_arguments_and_unknown_tools_are_errors_and_end_nothing(folder: Path) -> None:
    async with connected(folder) as client:
        wrong = await client.call_tool("get_quality_patterns", {"contents": "x"})
        assert wrong.is_error
        assert "contents: there is no such argument" in wrong.content[0].text  # type: ignore[union-attr]
        with pytest.raises(MCPError, match="there is no tool 'nope'"):
            await client.call_tool("nope", {})
        assert not (await client.call_tool("research", CALLS["research"])).is_error


@pytest.fixture
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server, talked to in bytes."""
    with subprocess.Popen(
        COMMAND,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        yield process
        process.kill()


def said(process: subprocess.Popen[bytes], *messages: bytes | dict[str, Any]) -> None:
    assert process.stdin is not None
    for each in messages:
        process.stdin.write(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    message: dict[str, Any] = json.loads(process.stdout.readline())
    return message


def test_garbage_is_survived_and_told_on_stderr(server: subprocess.Popen[bytes]) -> None:
    garbage = (b"\n", b"garbage\n", b"\xff\xfe\0\n", b"[1, 2]\n", b'{"jsonrpc": "1.0"}\n', b"}" * 100_000 + b"\n")  # fmt: skip
    said(server, *garbage, INITIALIZE)
    assert heard(server)["result"]["serverInfo"]["name"] == "dispatch-runner"
    out, err = server.communicate(b"more garbage\n", timeout=20)
    assert (server.returncode, out) == (0, b"")
    assert err.count(b"ignored a line that is no message") == 6


def test_a_line_that_is_too_long_is_dropped(server: subprocess.Popen[bytes]) -> None:
    said(server, b'"' + b"x" * (17 * 1024 * 1024) + b'"\n', INITIALIZE)
    assert heard(server)["id"] == 1
    _, err = server.communicate(timeout=20)
    assert b"ignored a line of more than 16 MiB" in err


def test_the_end_of_stdin_ends_the_process(server: subprocess.Popen[bytes]) -> None:
    out, err = server.communicate(timeout=20)
    assert (server.returncode, out, err) == (0, b"", b"")


def test_a_message_in_pieces_is_put_together(server: subprocess.Popen[bytes]) -> None:
    whole = json.dumps(INITIALIZE).encode() + b"\n"
    said(server, whole[:10])
    said(server, whole[10:])
    assert heard(server)["id"] == 1
    server.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    said(server, INITIALIZE)
    assert heard(server)["id"] == 1
    server.send_signal(number)
    assert server.wait(timeout=20) == 128 + number


def test_a_client_that_reads_no_more_ends_the_process(server: subprocess.Popen[bytes]) -> None:
    said(server, INITIALIZE)
    assert heard(server)["id"] == 1
    assert server.stdout is not None
    server.stdout.close()
    said(server, {**INITIALIZE, "id": 2, "method": "tools/list", "params": {}})
    assert server.wait(timeout=20) == 0


def test_input_may_be_a_file(folder: Path) -> None:
    script = folder / "messages"
    script.write_bytes(b"garbage\n")
    with script.open("rb") as file:
        done = subprocess.run(
            COMMAND,
            stdin=file,
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            timeout=20,
        )
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_folder_that_is_named_is_searched_too(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "zebra.py").write_text("stripes = 1\n")
    with subprocess.Popen(
        [*COMMAND, str(other)],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        call = {"name": "perform_rag_query", "arguments": {"query": "stripes"}}
        said(process, INITIALIZE)
        heard(process)
        said(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        said(process, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})
        answer = heard(process)["result"]["structuredContent"]
        process.communicate(timeout=20)
    assert [each["file"] for each in answer["results"]["rag_search"]] == [str(other / "zebra.py")]


def test_without_the_package_it_says_what_to_install(folder: Path) -> None:
    (folder / "mcp.py").write_text("raise ImportError('there is no mcp')\n")
    done = subprocess.run(
        COMMAND, cwd=folder, env=environment(folder), capture_output=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"there is no mcp; it is in the extra: pip install 'dispatch-runner[mcp]'" in done.stderr
