"""The quality tools as an MCP server over two descriptors, by the official package (extra `mcp`)."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    jsonrpc_message_adapter,
)

from dispatch_runner import __version__
from dispatch_runner.mcp.quality import NoSuchTool, QualityTools

READ_BYTES = 1 << 16
MOST_BYTES = 16 * 1024 * 1024
"""Of one message. A longer line is dropped."""

INSTRUCTIONS = (
    "Measures code and searches the project, offline. Tools say what they could not assess; a null"
    " score is no score."
)
Incoming: TypeAlias = SessionMessage | Exception
Complain: TypeAlias = Callable[[str], None]


async def serve(tools: QualityTools, stdin: int, stdout: int, complain: Complain) -> None:
    """Serves one client until stdin ends or nobody reads stdout; calls that run then are cancelled.

    Only messages of the protocol are written to the descriptor `stdout`. A line of stdin that is none
    is told to `complain` and otherwise ignored.
    """
    to_server, incoming = anyio.create_memory_object_stream[Incoming](0)
    outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](0)
    server = quality_server(tools)
    with to_server, incoming, outgoing, from_server:
        async with anyio.create_task_group() as group:
            group.start_soon(_receive, stdin, to_server, complain)
            group.start_soon(_send, from_server, stdout, group.cancel_scope)
            await server.run(incoming, outgoing, server.create_initialization_options())
            group.cancel_scope.cancel()


def quality_server(tools: QualityTools) -> Server[dict[str, Any]]:
    """The tools behind the protocol."""

    async def list_tools(_: object, params: PaginatedRequestParams | None) -> ListToolsResult:
        listed = [Tool(**each._asdict()) for each in tools.tools()]
        return ListToolsResult(tools=listed)

    async def call_tool(_: object, params: CallToolRequestParams) -> CallToolResult:
        return await _answer(tools, params)

    return Server(
        "dispatch-runner",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _answer(tools: QualityTools, params: CallToolRequestParams) -> CallToolResult:
    """A tool's answer, as structure and as its JSON text; its failure is an answer marked as error."""
    try:
        answer = await tools.call(params.name, params.arguments or {})
    except NoSuchTool as error:
        raise MCPError(INVALID_PARAMS, str(error)) from error
    except Exception as error:  # noqa: BLE001 - one call that fails ends nothing else
        said = str(error) or type(error).__name__
        return CallToolResult(content=[TextContent(text=said)], is_error=True)
    text = orjson.dumps(answer).decode()
    return CallToolResult(content=[TextContent(text=text)], structured_content=answer)


async def _receive(
    stdin: int, to_server: MemoryObjectSendStream[Incoming], complain: Complain
) -> None:
    with to_server, suppress(anyio.BrokenResourceError):
        async for line in _lines(stdin, complain):
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValueError:
                complain(f"ignored a line that is no message: {line[:100]!r}")
            else:
                await to_server.send(SessionMessage(message))


async def _lines(descriptor: int, complain: Complain) -> AsyncIterator[bytes]:
    """The lines that are not blank, until the end; what follows the last line break is one too."""
    parts: list[bytes] = []
    length = 0
    while chunk := await _read(descriptor):
        *ended, rest = chunk.split(b"\n")
        for line in ended:
            whole = b"".join([*parts, line])
            parts, length = [], 0
            if len(whole) > MOST_BYTES:
                complain(f"ignored a line of more than {MOST_BYTES >> 20} MiB")
            elif whole.strip():
                yield whole
        length += len(rest)
        if length <= MOST_BYTES + READ_BYTES:  # of a line that is too long no more is kept
            parts.append(rest)
    if b"".join(parts).strip():
        yield b"".join(parts)


async def _read(descriptor: int) -> bytes:
    if _can_be_waited_for(descriptor):
        await anyio.wait_readable(descriptor)
    else:
        await anyio.lowlevel.checkpoint()
    return os.read(descriptor, READ_BYTES)


async def _send(
    from_server: MemoryObjectReceiveStream[SessionMessage],
    stdout: int,
    scope: anyio.CancelScope,
) -> None:
    async for each in from_server:
        text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            await _write(stdout, text.encode("utf-8", "replace") + b"\n")
        except OSError:  # nobody reads any more
            scope.cancel()
            return


async def _write(descriptor: int, message: bytes) -> None:
    left = memoryview(message)
    waits = _can_be_waited_for(descriptor)
    while left:
        if waits:
            await anyio.wait_writable(descriptor)
        # a pipe that is ready takes so much at once: a write of more could block
        with suppress(BlockingIOError):
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]


def _can_be_waited_for(descriptor: int) -> bool:
    """Files and /dev/null are always ready, and the system refuses to wait for them."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
