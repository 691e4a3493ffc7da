"""The tools by their names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from dispatch_runner.mcp.quality import arguments as takes
from dispatch_runner.mcp.quality import assess, judge, search
from dispatch_runner.models import JsonObject


class Tool(NamedTuple):
    """One tool: what it takes and what answers it."""

    name: str
    about: str
    arguments: type[takes.Arguments]
    run: Callable[[search.Searcher, Any], Awaitable[JsonObject]]

    def description(self) -> takes.ToolDescription:
        return takes.ToolDescription(self.name, self.about, self.arguments.schema_of())


_ALL = (
    Tool(
        "assess_code_quality",
        "Measures one text: lint findings, complexity, maintainability, documentation, typing and"
        " structure, each explained, and a weighted score. A text that does not parse scores 0.",
        takes.AssessArguments,
        assess.assess,
    ),
    Tool(
        "perform_rag_query",
        "Full-text search (BM25) in the code and documents of the project: file, lines, snippet and"
        " score. Two to five telling words work best.",
        takes.SearchArguments,
        search.rag_query,
    ),
    Tool(
        "search_code_examples",
        "The same search in definitions of code only.",
        takes.SearchArguments,
        search.code_examples,
    ),
    Tool(
        "research",
        "Several searches at once, merged into one ranking without duplicates.",
        takes.ResearchArguments,
        search.research,
    ),
    Tool(
        "check_architectural_compliance",
        "Whether Python code keeps the rules of ONEX nodes: every violation with its line, and a score.",
        takes.ComplianceArguments,
        judge.check_compliance,
    ),
    Tool(
        "get_quality_patterns",
        "Good habits or anti-patterns in Python code, each with its line and a confidence.",
        takes.PatternArguments,
        judge.quality_patterns,
    ),
)
TOOLS = {tool.name: tool for tool in _ALL}


def unknown_tool(name: str) -> str:
    """What is said of a name that no tool has."""
    from difflib import get_close_matches

    close = get_close_matches(name, TOOLS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(TOOLS)}"
    return f"there is no tool '{name}'; {hint}"
