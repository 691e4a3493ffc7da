"""The tools of a dispatch: nothing is loaded, and no server started, before an agent calls one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dispatch_runner.dispatching.prepare import Operator

if TYPE_CHECKING:
    from anyio import Event
    from anyio.abc import TaskGroup

    from dispatch_runner.mcp.pool import McpPool
    from dispatch_runner.models import JsonObject
    from dispatch_runner.protocols import CallLog, ToolAnswer, ToolInfo


class LazyTools:
    """Opens the pool of MCP servers at the first call. See `protocols.Tools`."""

    def __init__(self, operator: Operator, correlation_id: str, hurry: "Event") -> None:
        self._operator = operator
        self._correlation_id = correlation_id
        self._hurry = hurry
        self._group: TaskGroup | None = None
        self._pool: McpPool | None = None

    @contextmanager
    def opened_in(self, group: "TaskGroup") -> Iterator[None]:
        """Servers live in this group, which is left next, and are asked to end before."""
        self._group = group
        try:
            yield
        finally:
            if self._pool is not None:
                self._pool.close()

    async def call(self, tool: str, arguments: "JsonObject", log: "CallLog") -> "ToolAnswer":
        """The tool's answer; never raises for a failure of the tool."""
        return await self._opened().call(tool, arguments, log)

    async def offered(self) -> "Sequence[ToolInfo]":
        """What the operator's servers offer, for an agent to choose from. Nothing is loaded when there
        are none."""
        settings = self._operator.settings.mcp
        if settings is None or not (settings.servers or settings.tools):
            return ()
        return await self._opened().offered()

    def _opened(self) -> "McpPool":
        if self._pool is None:
            assert self._group is not None, "a tool was called by no task"
            self._pool = self._open(self._group)
        return self._pool

    def _open(self, group: "TaskGroup") -> "McpPool":
        from dispatch_runner.mcp.pool import McpPool
        from dispatch_runner.settings.mcp import McpSettings

        return McpPool(
            self._operator.settings.mcp or McpSettings(),
            group,
            correlation_id=self._correlation_id,
            hurry=self._hurry,
            roots=self._operator.roots,
        )
