"""Which tool is called for a logical one, what its answer means, and when a server is tried again."""

import math
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.mcp.answers import NOTHING, decode
from dispatch_runner.mcp.breaker import FIRST_OPEN_SECONDS, MOST_OPEN_SECONDS, Breaker
from dispatch_runner.mcp.failures import NoSuchTool, Unavailable
from dispatch_runner.mcp.pool import open_pool
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import CallLog, ToolAnswer
from dispatch_runner.settings.mcp import McpServer, McpSettings, McpTool


class Embedded:
    """Answers with what it was asked."""

    def __init__(self, roots: AllowedRoots) -> None:
        self.roots = roots

    async def call(self, name: str, arguments: JsonObject) -> JsonObject:
        await anyio.lowlevel.checkpoint()
        if name == "raises":
            raise ValueError("the index is gone")
        if name == "hangs":
            await anyio.sleep(math.inf)
        if name == "unknown":
            raise NoSuchTool("there is no tool 'unknown'")
        return {"name": name, "arguments": arguments}


async def ask(
    settings: McpSettings, tool: str, arguments: JsonObject, log: CallLog | None = None
) -> ToolAnswer:
    async with open_pool(
        settings,
        correlation_id="an-id",
        hurry=anyio.Event(),
        roots=AllowedRoots.of(()),
        embedded=Embedded,
    ) as pool:
        return await pool.call(tool, arguments, log or CallLog())


@pytest.mark.anyio
async def test_a_tool_without_a_mapping_is_the_embedded_servers() -> None:
    log = CallLog()
    answer = await ask(McpSettings(), "assess_code_quality", {"content": "x"}, log)
    assert answer.status == "ok"
    assert answer.output == {"name": "assess_code_quality", "arguments": {"content": "x"}}
    (call,) = log.mcp_calls
    assert (call.server, call.tool, call.is_error) == ("embedded", "assess_code_quality", False)
    assert call.output == answer.output
    assert call.duration_ms > 0


@pytest.mark.anyio
async def test_a_mapping_renames_and_drops_arguments() -> None:
    mapped = McpTool("embedded", "search", {"max_results": "match_count"}, frozenset({"context"}))
    wanted = {"query": "q", "max_results": 3, "context": "debugging"}
    answer = await ask(
        McpSettings(tools={"perform_rag_query": mapped}), "perform_rag_query", wanted
    )
    assert answer.output == {"name": "search", "arguments": {"query": "q", "match_count": 3}}
    assert len(wanted) == 3, "the caller's own object stays as it was"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "tool", "reason"),
    [
        (McpSettings(embedded=False), "research", "map it in [mcp.tools]"),
        (McpSettings(embedded=False, tools={"r": McpTool("embedded", "r")}), "r", "turned off"),
        (McpSettings(), "unknown", "there is no tool 'unknown'"),
        (
            McpSettings({"s": McpServer("s", "", problem="it is not enabled")}, {"r": McpTool("s", "r")}),
            "r",
            "MCP server 's' is unavailable: it is not enabled",
        ),
    ],
)  # fmt: skip
async def test_a_tool_that_is_not_there_is_not_assessed_and_in_the_log(
    settings: McpSettings, tool: str, reason: str
) -> None:
    log = CallLog()
    answer = await ask(settings, tool, {"a": 1}, log)
    assert answer.status == "not_assessed"
    assert answer.output is None
    assert reason in (answer.reason or "")
    (call,) = log.mcp_calls
    assert (call.input, call.output, call.is_error) == ({"a": 1}, answer.reason, True)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (McpSettings(), []),
        (McpSettings(tools={"find": McpTool("embedded", "research")}), ["find"]),
        (McpSettings(tools={"find": McpTool("embedded", "no_such_tool")}), []),
        (McpSettings(tools={"find": McpTool("embedded", "research")}, embedded=False), []),
        (McpSettings({"s": McpServer("s", "test", command=("/no/such/server",))}), []),
        (McpSettings({"s": McpServer("s", "test", command=("x",), problem="it is off")}), []),
    ],
)
async def test_what_is_offered_is_what_the_operator_mapped_and_what_can_be_reached(
    settings: McpSettings, names: list[str]
) -> None:
    async with open_pool(
        settings, correlation_id="an-id", hurry=anyio.Event(), roots=AllowedRoots.of(())
    ) as pool:
        offered = await pool.offered()
    assert [tool.name for tool in offered] == names
    assert all(tool.description and tool.input_schema["type"] == "object" for tool in offered)


@pytest.mark.anyio
async def test_an_embedded_tool_that_raises_is_an_error() -> None:
    assert await ask(McpSettings(), "raises", {}) == ToolAnswer("error", reason="the index is gone")


@pytest.mark.anyio
@pytest.mark.parametrize("arguments", [{"a": "\ud800"}, {"a": object()}, {1: 2}, {"a": 1 << 70}])
async def test_arguments_that_are_not_json_are_an_error(arguments: Any) -> None:
    answer = await ask(McpSettings(), "anything", arguments)
    assert answer.status == "error"
    assert "not JSON" in (answer.reason or "")


@pytest.mark.anyio
async def test_a_cancelled_call_is_in_the_log() -> None:
    log = CallLog()
    with anyio.move_on_after(0.01) as scope:
        await ask(McpSettings(), "hangs", {"a": 1}, log)
    assert scope.cancelled_caught
    (call,) = log.mcp_calls
    assert call.is_error
    assert "cancelled" in call.output
    assert call.duration_ms >= 9


def text(*parts: str) -> list[JsonObject]:
    return [{"type": "text", "text": part} for part in parts]


@pytest.mark.parametrize(
    ("structured", "blocks", "output"),
    [
        ({"score": 1}, text("something else"), {"score": 1}),
        ([1, 2], [], [1, 2]),
        (None, text("5"), None),
        (NOTHING, text('{"score": 1}'), {"score": 1}),
        (NOTHING, text("[1]"), [1]),
        (NOTHING, text("in words"), {"text": "in words"}),
        (NOTHING, text("in", "words"), {"text": "in\nwords"}),
        (NOTHING, text('{"a":', "1}"), {"a": 1}),
        (NOTHING, text("NaN"), {"text": "NaN"}),
        (NOTHING, [], {"text": ""}),
        ({"result": '{"success": true}'}, text('{"success": true}'), {"success": True}),
        ({"result": 3}, text("3"), {"result": 3}),
        ({"result": "a"}, text("b"), {"result": "a"}),
    ],
)
def test_structured_content_comes_before_json_before_text(
    structured: Any, blocks: list[JsonObject], output: Any
) -> None:
    assert decode(structured, blocks, is_error=False) == ToolAnswer("ok", output)


def test_content_that_is_no_text_is_kept() -> None:
    blocks = [*text("a chart"), {"type": "image", "data": "AAAA", "mimeType": "image/png"}]
    assert decode(NOTHING, blocks, is_error=False).output == {"text": "a chart", "content": blocks}


@pytest.mark.parametrize(
    ("structured", "blocks", "is_error", "reason"),
    [
        (NOTHING, text("the file is locked"), True, "the file is locked"),
        (NOTHING, text('{"error": "locked"}'), True, "locked"),
        (NOTHING, text('{"error": {"message": "locked"}}'), True, "locked"),
        ({"code": 5}, [], True, '{"code":5}'),
        (NOTHING, [], True, "the tool failed without a reason"),
        (NOTHING, text('{"success": false, "error": "TypeError"}'), False, "TypeError"),
        ({"success": False, "results": []}, [], False, '{"success":false,"results":[]}'),
    ],
)
def test_an_error_is_never_data(
    structured: Any, blocks: list[JsonObject], is_error: bool, reason: str
) -> None:
    assert decode(structured, blocks, is_error=is_error) == ToolAnswer("error", reason=reason)


@given(st.text(max_size=50), st.booleans())
def test_any_text_is_decoded(content: str, is_error: bool) -> None:
    answer = decode(NOTHING, text(content), is_error=is_error)
    assert (answer.status == "ok") is (answer.reason is None)


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def broken(time: Time) -> Breaker:
    """One that has just opened."""
    breaker = Breaker(time)
    for _ in range(3):
        breaker.failed("it is gone")
    return breaker


def test_it_opens_after_three_failures_in_a_row() -> None:
    breaker = Breaker(Time())
    for reason in ("a", "b"):
        breaker.failed(reason)
    assert breaker.admit() is False
    breaker.succeeded()
    for reason in ("a", "b"):
        breaker.failed(reason)
    assert not breaker.is_open
    breaker.failed("c")
    with pytest.raises(Unavailable, match=r"^c; it is tried again in 30 s$"):
        breaker.admit()


def test_a_lasting_failure_opens_it_at_once() -> None:
    breaker = Breaker(Time())
    breaker.failed("no such program", lasting=True)
    assert breaker.is_open


def test_half_open_lets_one_probe_through_which_closes_it() -> None:
    time = Time()
    breaker = broken(time)
    time.now += FIRST_OPEN_SECONDS
    assert breaker.admit() is True
    with pytest.raises(Unavailable, match="it is being tried again"):
        breaker.admit()
    breaker.succeeded()
    breaker.release()
    assert breaker.admit() is False
    assert breaker.pause() == 0


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    time = Time()
    breaker = broken(time)
    spans = []
    for _ in range(6):
        opened_at = time.now
        while True:
            try:
                breaker.admit()
                break
            except Unavailable:
                time.now += 1
        spans.append(time.now - opened_at)
        breaker.failed("still gone")
        breaker.release()
    assert spans == [30, 60, 120, 240, MOST_OPEN_SECONDS, MOST_OPEN_SECONDS]


def test_a_probe_without_an_outcome_makes_room_for_another() -> None:
    time = Time()
    breaker = broken(time)
    time.now += FIRST_OPEN_SECONDS
    assert breaker.admit()
    breaker.release()
    assert breaker.admit()


def test_failures_of_calls_from_before_it_opened_do_not_keep_it_open_longer() -> None:
    time = Time()
    breaker = broken(time)
    for _ in range(7):
        time.now += 1
        breaker.failed("late")
    time.now = 100 + FIRST_OPEN_SECONDS
    assert breaker.admit()


def test_each_failure_doubles_the_pause_before_a_connection() -> None:
    time = Time()
    breaker = Breaker(time)
    assert breaker.pause() == 0
    breaker.failed("a")
    assert breaker.pause() == pytest.approx(0.2)
    time.now += 0.15
    assert breaker.pause() == pytest.approx(0.05)
    breaker.failed("b")
    assert breaker.pause() == pytest.approx(0.4)
    time.now += 5
    assert breaker.pause() == 0


def test_importing_the_pool_imports_no_client_library(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import sys, dispatch_runner.mcp.pool as p; print({'mcp', 'httpx2', 'pydantic'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
