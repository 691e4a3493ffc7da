"""One connection to a server, by the official `mcp` package. Imported when the first is opened."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import anyio.to_thread
import mcp_types as types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from dispatch_runner import __version__
from dispatch_runner.errors import AgentError
from dispatch_runner.mcp.answers import NOTHING, REASON_LENGTH, decode
from dispatch_runner.mcp.failures import ConnectionLost, NoSuchTool, NotDelivered, Unavailable
from dispatch_runner.mcp.http import BROKEN, UNDELIVERED, RequestClient
from dispatch_runner.mcp.stdio import MOST_BYTES, Line
from dispatch_runner.models import JsonObject
from dispatch_runner.process.dialogue import dialogue
from dispatch_runner.protocols import ToolAnswer, ToolInfo
from dispatch_runner.settings.mcp import McpServer

if TYPE_CHECKING:
    from mcp.client._transport import Transport
    from mcp.client.session import IncomingMessage

CLOSING_SECONDS = 2.0
"""How long a server's farewell may take; ending its process has limits of its own."""

MOST_PAGES = 100
"""Of a list of tools."""

HTTP_MARGIN_SECONDS = 5.0
"""How much longer than a call a request may be silent, so that the call's own limit decides."""

LAST_WORDS_SECONDS = 0.5
"""How long the end of a program is waited for that has closed its stdout."""

SESSION_ENDED = "Session terminated"
"""The official client's words for a session that the server has forgotten."""

for _name in ("mcp", "client"):  # else a server's faults are printed over the progress on stderr
    logging.getLogger(_name).addHandler(logging.NullHandler())


class Wire(NamedTuple):
    """How a server is reached."""

    transport: Transport
    heard_at: Callable[[], float]
    """When the last message came, by the event loop's clock."""
    line: Line | None = None
    """To a program."""


class Session:
    """A connection. It is open within `open_session` only."""

    def __init__(self, wire: Wire, *, legacy: bool) -> None:
        self.tools: Mapping[str, ToolInfo] | None = None
        """The server's tools by their names; null when they have changed."""
        self.client = Client(
            wire.transport,
            mode="legacy" if legacy else "auto",
            cache=None,
            client_info=types.Implementation(name="dispatch-runner", version=__version__),
            message_handler=self._heed,
        )
        self._wire = wire
        self._line = wire.line

    def alive(self) -> bool:
        """Whether there is any point in calling."""
        return self._line is None or not (self._line.dead or self._line.program.ended())

    def require_alive(self) -> None:
        """Raises `ConnectionLost` when there is none."""
        if not self.alive():
            raise ConnectionLost("has ended")

    def silent_since(self, moment: float) -> bool:
        """Whether nothing at all came from the server since then, by the event loop's clock."""
        return self._wire.heard_at() < moment

    def noise(self) -> str | None:
        """The last thing that the server wrote in the place of a message."""
        return self._line.noise if self._line else None

    async def refresh(self) -> Mapping[str, ToolInfo]:
        """The tools as they are now. Raises `NotDelivered`, `ConnectionLost`."""
        found: dict[str, ToolInfo] = {}
        cursor = None
        for _ in range(MOST_PAGES):
            try:
                page = await self.client.list_tools(cursor=cursor)
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND:
                    break
                raise _told_apart(error) from error
            for tool in page.tools:
                found[tool.name] = ToolInfo(tool.name, tool.description or "", tool.input_schema)
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = found
        return found

    async def call(self, tool: str, arguments: JsonObject, correlation_id: str) -> ToolAnswer:
        """Calls a tool. An error of the tool, and an answer that is none, is a value.

        Raises `NotDelivered`, `ConnectionLost`, `NoSuchTool`.
        """
        meta: Any = {"correlation_id": correlation_id}
        try:
            result = await self.client.call_tool(tool, arguments, meta=meta)
        except MCPError as error:
            return _answer_of(error)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            return ToolAnswer("error", reason=f"the answer is not in MCP's form: {problem['msg']}")
        except Exception as error:  # noqa: BLE001 - the library's view of a strange answer
            return ToolAnswer("error", reason=str(error)[:REASON_LENGTH] or type(error).__name__)
        has_structure = "structured_content" in result.model_fields_set
        answer = decode(
            result.structured_content if has_structure else NOTHING,
            [block.model_dump(mode="json", exclude_none=True) for block in result.content],
            is_error=result.is_error,
        )
        if result.is_error and str(answer.reason).lower().startswith("unknown tool"):
            raise NoSuchTool(answer.reason)
        return answer

    async def _heed(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.tools = None


def _answer_of(error: MCPError) -> ToolAnswer:
    """What a JSON-RPC error says about the tool; raises when it says something about the connection."""
    if error.code in {types.INVALID_PARAMS, types.METHOD_NOT_FOUND}:
        raise NoSuchTool(error.message) from error
    told = _told_apart(error)
    if told is not error:
        raise told from error
    return ToolAnswer("error", reason=error.message)


def _told_apart(error: MCPError) -> Exception:
    if error.code == UNDELIVERED or error.message == SESSION_ENDED:
        return NotDelivered(error.message)
    if error.code in {BROKEN, types.CONNECTION_CLOSED}:
        return ConnectionLost(error.message)
    return error


@asynccontextmanager
async def open_session(
    server: McpServer,
    *,
    env: Mapping[str, str],
    hurry: anyio.Event,
    on_end: Callable[[], None],
    legacy: bool,
) -> AsyncIterator[Session]:
    """A connection whose tools are known, for as long as the context; `on_end` when it ends by itself.

    `env` is added to what the server's program sees. `legacy`: the handshake is the first thing that
    is said; else the server is asked first whether it needs one, which some take amiss.

    Raises:
        Unavailable: it cannot be opened, or it broke; the reason says how the server's process ended.
    """
    async with _wire(server, env, hurry, on_end) as wire:
        line = wire.line
        connecting = anyio.current_time() + server.connect_timeout_seconds
        with anyio.CancelScope(deadline=connecting) as scope:
            try:
                session = Session(wire, legacy=legacy)
                async with session.client:
                    await session.refresh()
                    scope.deadline = math.inf
                    yield session
                    session.require_alive()
                    scope.deadline = anyio.current_time() + CLOSING_SECONDS
            except Exception as error:
                raise Unavailable(await _last_words(line, error)) from error
        if scope.cancelled_caught and scope.deadline == connecting:
            waited = f"it did not answer within {server.connect_timeout_seconds:g} s"
            words = f" and {line.program.epitaph()}" if line else ""
            raise Unavailable(waited + words + _noise(line), lasting=True)


@asynccontextmanager
async def _wire(
    server: McpServer, env: Mapping[str, str], hurry: anyio.Event, on_end: Callable[[], None]
) -> AsyncIterator[Wire]:
    if server.url is not None:
        async with await _request_client(server) as client:
            transport = streamable_http_client(
                server.url, http_client=client, max_sse_event_size=MOST_BYTES
            )
            yield Wire(transport, lambda: client.heard_at)
        return
    try:
        async with dialogue(
            server.command, env={**server.env, **env}, cwd=server.cwd, hurry=hurry
        ) as program:
            line = Line(program, on_end)
            yield Wire(line.transport(), lambda: line.heard_at, line)
    except AgentError as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise Unavailable(f"{error.message}{hint}", lasting=not error.retryable) from error
    except OSError as error:
        raise Unavailable(f"cannot start {server.command[0]!r}: {error.strerror}") from error


async def _request_client(server: McpServer) -> RequestClient:
    """In a thread: it loads certificates for tens of milliseconds."""
    silence = server.timeout_seconds + HTTP_MARGIN_SECONDS
    return await anyio.to_thread.run_sync(
        RequestClient, server.headers, server.connect_timeout_seconds, silence
    )


async def _last_words(line: Line | None, error: Exception) -> str:
    """Why a connection ended, as far as can be known: its process tells more than the protocol."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    said = str(error) or type(error).__name__
    if line is None:
        return f"it {said}" if isinstance(error, (ConnectionLost, MCPError)) else said
    if line.complaint:
        return f"it {line.complaint}"
    if not line.dead:
        return said + _noise(line)
    with anyio.move_on_after(LAST_WORDS_SECONDS):
        await line.program.wait_end()
    return f"it {line.program.epitaph()}" + _noise(line)


def _noise(line: Line | None) -> str:
    return f"; on its stdout it wrote {line.noise!r}" if line and line.noise else ""
