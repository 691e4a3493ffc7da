"""A graph drawn as an indented tree: every task on one line, exactly once. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from dispatch_runner.engine.graph import Graph
from dispatch_runner.report.wording import label

DEEPEST = 12
"""Levels of indentation; what is deeper continues as a tree of its own at the left margin."""
NAMED_OTHERS = 5


def tree_lines(graph: Graph, captions: Sequence[str]) -> list[str]:
    """Each task below the deepest of its dependencies, with the others named behind it.

    Such as `deploy  echo  (also after gen-tests)`. Time and space are in proportion to the graph,
    however deep or wide it is.
    """
    parents = _parents(graph)
    children: list[list[int]] = [[] for _ in parents]
    tops: list[int] = []
    for number, parent in enumerate(parents):
        (tops if parent is None else children[parent]).append(number)
    lines: list[str] = []
    for top in tops:  # grows while it is walked
        above = parents[top]
        lines += [] if above is None else [f"… after {label(graph.ids[above])}"]
        branches = [Branch(top, "", "", 0)]
        while branches:
            branch = branches.pop()
            number, below = branch.number, children[branch.number]
            lines.append(
                f"{branch.lead}{captions[number]}{_others(graph, number, parents[number])}"
            )
            if below and branch.depth == DEEPEST:
                lines.append(f"{branch.indent}└─ … {_tasks(len(below))} further down")
                tops += below
            else:
                branches += _branches(branch, below)
    return lines


class Branch(NamedTuple):
    """A task that is still to be drawn."""

    number: int
    lead: str
    """What its own line begins with."""
    indent: str
    """What the lines below it begin with."""
    depth: int


def _branches(branch: Branch, below: Sequence[int]) -> list[Branch]:
    """Last one first, because they are taken from the end."""
    indent, depth = branch.indent, branch.depth + 1
    drawn = [Branch(each, f"{indent}├─ ", f"{indent}│  ", depth) for each in below]
    if drawn:
        drawn[-1] = Branch(below[-1], f"{indent}└─ ", f"{indent}   ", depth)
    return drawn[::-1]


def _parents(graph: Graph) -> list[int | None]:
    depth = {number: n for n, layer in enumerate(graph.layers()) for number in layer}
    return [max(each, key=depth.__getitem__, default=None) for each in graph.dependencies]


def _others(graph: Graph, number: int, parent: int | None) -> str:
    others = [each for each in graph.dependencies[number] if each != parent]
    if not others:
        return ""
    names = ", ".join(label(graph.ids[each]) for each in others[:NAMED_OTHERS])
    more = len(others) - NAMED_OTHERS
    return f"  (also after {names}{f' and {more} more' if more > 0 else ''})"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
