"""The embedded quality server: its tools as plain calls, without a process or a protocol around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatch_runner.mcp.failures import NoSuchTool
from dispatch_runner.mcp.quality.arguments import ToolDescription, WrongArguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dispatch_runner.models import JsonObject

__all__ = ["NoSuchTool", "QualityTools", "ToolDescription", "WrongArguments"]


class QualityTools:
    """The tools, over some folders. One object serves any number of calls at once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Cheap: nothing is read before the first call. Searches stay within the folders; the system's
        temporary folder itself is not searched."""
        from dispatch_runner.mcp.quality.search import Searcher

        self._searcher = Searcher(folders)

    def tools(self) -> list[ToolDescription]:
        """What can be called, in the order of importance."""
        from dispatch_runner.mcp.quality.table import TOOLS

        return [tool.description() for tool in TOOLS.values()]

    async def call(self, name: str, arguments: JsonObject) -> JsonObject:
        """The answer of a tool: a JSON object.

        Raises:
            NoSuchTool: no tool has this name.
            WrongArguments: the message says what is wrong with each.
        """
        from dispatch_runner.mcp.quality.table import TOOLS, unknown_tool

        tool = TOOLS.get(name)
        if tool is None:
            raise NoSuchTool(unknown_tool(name))
        return await tool.run(self._searcher, tool.arguments.read(name, arguments))
