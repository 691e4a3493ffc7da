"""The tools of one dispatch: which server stands behind a logical tool, and what became of each call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import orjson

from dispatch_runner.mcp.answers import decode
from dispatch_runner.mcp.failures import NoSuchTool
from dispatch_runner.mcp.remote import RemoteServer
from dispatch_runner.models.trace import McpCall
from dispatch_runner.protocols import ToolAnswer, ToolInfo
from dispatch_runner.settings.mcp import TIMEOUT_SECONDS, McpSettings, McpTool
from dispatch_runner.settings.names import EMBEDDED

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from dispatch_runner.models import JsonObject
    from dispatch_runner.paths import AllowedRoots
    from dispatch_runner.protocols import CallLog

CLOSING_SECONDS = 5.0
"""How long servers may take for their farewells; the ends of processes have limits of their own."""

UNMAPPED = "none"
"""The server in the log of a call for which there is none."""


class Embedded(Protocol):
    """Tools in our own process."""

    async def call(self, name: str, arguments: JsonObject) -> JsonObject:
        """The answer. Raises `NoSuchTool`, or any other exception when the tool failed."""
        ...


def embedded_tools(roots: AllowedRoots) -> Embedded:
    """The embedded quality server, without a process or a protocol around it."""
    from dispatch_runner.mcp.quality import QualityTools

    return QualityTools([Path(root) for root in roots.roots])


class McpPool:
    """The servers of a dispatch and the tools behind the logical ones; a `Tools`.

    Connections are opened when they are first needed and live in a task group that is given: `close`
    is called before it is left, which then takes at most `CLOSING_SECONDS` and the time that stubborn
    processes need to be ended.
    """

    def __init__(
        self,
        settings: McpSettings,
        group: TaskGroup,
        *,
        correlation_id: str,
        hurry: anyio.Event,
        roots: AllowedRoots,
        embedded: Callable[[AllowedRoots], Embedded] = embedded_tools,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._group = group
        self._correlation_id = correlation_id
        self._roots = roots
        self._make_embedded = embedded
        self._embedded: Embedded | None = None
        self._servers = {
            name: RemoteServer(
                server,
                group,
                env={"DISPATCH_RUNNER_CORRELATION_ID": correlation_id},
                hurry=hurry,
                clock=clock,
            )
            for name, server in settings.servers.items()
        }

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        """Calls what stands behind a logical tool. Never raises for a failure.

        The call is in the log from its start, also if it is cancelled.
        """
        target = self._target(tool)
        sent = _translated(arguments, target) if target else arguments
        record = McpCall(
            target.server if target else UNMAPPED,
            target.tool if target else tool,
            sent,
            "cancelled before it was answered",
            is_error=True,
            duration_ms=0.0,
        )
        log.mcp_calls.append(record)
        began = time.monotonic()
        try:
            answer = await self._answer(tool, target, sent)
            record.is_error = answer.status != "ok"
            record.output = answer.reason if record.is_error else answer.output
        finally:
            record.duration_ms = (time.monotonic() - began) * 1000
        return answer

    async def offered(self) -> Sequence[ToolInfo]:
        """The tools of all servers that can be reached, as `SERVER/TOOL`, and those of the embedded one
        that the operator mapped, by their logical names. Servers are asked at once."""
        found: dict[str, Sequence[ToolInfo]] = {}

        async def look(name: str) -> None:
            found[name] = await self._servers[name].tools()

        async with anyio.create_task_group() as group:
            for name in self._servers:
                group.start_soon(look, name)
        of_servers = [
            each._replace(name=f"{name}/{each.name}")
            for name in self._servers
            for each in found[name]
        ]
        return (*self._mapped_to_embedded(), *of_servers)

    def close(self) -> None:
        """Closes all connections. Nothing is called any more."""
        for server in self._servers.values():
            server.close()
        self._group.cancel_scope.deadline = anyio.current_time() + CLOSING_SECONDS

    def _target(self, tool: str) -> McpTool | None:
        mapped = self._settings.tools.get(tool)
        if mapped is not None:
            return mapped
        server, _, name = tool.partition("/")
        if name and server in self._servers:
            return McpTool(server, name)
        return McpTool(EMBEDDED, tool) if self._settings.embedded else None

    def _mapped_to_embedded(self) -> Iterator[ToolInfo]:
        mapped = {
            name: target.tool
            for name, target in self._settings.tools.items()
            if target.server == EMBEDDED
        }
        if not mapped or not self._settings.embedded:
            return
        from dispatch_runner.mcp.quality.table import TOOLS

        for name, tool in mapped.items():
            if tool in TOOLS:
                yield ToolInfo(name, *TOOLS[tool].description()[1:])

    async def _answer(self, tool: str, target: McpTool | None, sent: JsonObject) -> ToolAnswer:
        if target is None:
            reason = f"no server is defined for tool '{tool}': map it in [mcp.tools]"
            return ToolAnswer("not_assessed", reason=reason)
        try:
            orjson.dumps(sent)  # what cannot be sent must not end the connection for others
        except TypeError as error:
            return ToolAnswer("error", reason=f"the arguments are not JSON: {error}")
        if target.server == EMBEDDED:
            return await self._ask_embedded(target.tool, sent)
        return await self._servers[target.server].call(target.tool, sent, self._correlation_id)

    async def _ask_embedded(self, tool: str, arguments: JsonObject) -> ToolAnswer:
        if not self._settings.embedded:
            return ToolAnswer("not_assessed", reason="the embedded server is turned off")
        try:
            with anyio.move_on_after(TIMEOUT_SECONDS):
                if self._embedded is None:
                    self._embedded = self._make_embedded(self._roots)
                return decode(await self._embedded.call(tool, arguments), [], is_error=False)
        except NoSuchTool as error:
            return ToolAnswer("not_assessed", reason=str(error))
        except Exception as error:  # noqa: BLE001 - a tool that fails is a value
            return ToolAnswer("error", reason=str(error) or type(error).__name__)
        return ToolAnswer("error", reason=f"no answer within {TIMEOUT_SECONDS:g} s")


@asynccontextmanager
async def open_pool(
    settings: McpSettings,
    *,
    correlation_id: str,
    hurry: anyio.Event,
    roots: AllowedRoots,
    embedded: Callable[[AllowedRoots], Embedded] = embedded_tools,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[McpPool]:
    """A pool for as long as the context: when it is left, nothing that it started is alive."""
    async with anyio.create_task_group() as group:
        pool = McpPool(
            settings,
            group,
            correlation_id=correlation_id,
            hurry=hurry,
            roots=roots,
            embedded=embedded,
            clock=clock,
        )
        try:
            yield pool
        finally:
            pool.close()


def _translated(arguments: JsonObject, target: McpTool) -> dict[str, Any]:
    kept: Iterable[str] = (name for name in arguments if name not in target.drop)
    return {target.rename.get(name, name): arguments[name] for name in kept}
