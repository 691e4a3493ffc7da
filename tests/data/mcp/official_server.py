"""An MCP server by the official package, over stdio or, with a port, over streamable HTTP."""

import sys
from typing import Any

from mcp.server import MCPServer

server = MCPServer("official")


@server.tool()
def assess_code_quality(
    content: str, source_path: str = "", language: str = "python"
) -> dict[str, Any]:
    """A score."""
    return {"success": True, "analysis": {"quality_score": 0.5, "characters": len(content)}}


@server.tool()
def rag_search_knowledge_base(query: str, match_count: int = 5) -> str:
    """JSON as a text, as the old servers answer."""
    import json

    return json.dumps({"success": True, "results": [query] * match_count, "error": None})


@server.tool()
def explode() -> str:
    """Raises."""
    raise ValueError("the index is gone")


if len(sys.argv) > 1:
    server.run("streamable-http", port=int(sys.argv[1]))
else:
    server.run()
