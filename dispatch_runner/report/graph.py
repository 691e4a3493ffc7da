"""A request's graph as text for people and programs. Pure.

Ids are any text, so no format uses them as its own names: tasks are `n0`, `n1`, ... and their ids are
labels, spelled out and escaped by the rules of the format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.models import JsonObject, TaskStatus
from dispatch_runner.report.json_text import json_document
from dispatch_runner.report.tree import tree_lines
from dispatch_runner.report.wording import label, one_line

GraphFormat = Literal["mermaid", "dot", "text", "json"]
Statuses = Mapping[str, TaskStatus]
"""How the tasks of an earlier run ended, by id; a task that is missing has no colour."""

DESCRIPTION_LENGTH = 80
FILL = {
    TaskStatus.SUCCESS: "#c8e6c9",
    TaskStatus.ERROR: "#ffcdd2",
    TaskStatus.TIMEOUT: "#ffcdd2",
    TaskStatus.BLOCKED: "#fff3c4",
    TaskStatus.CANCELLED: "#e0e0e0",
}
"""Light enough for black text."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A task as the drawings see it."""

    task_id: str
    agent: str
    dependencies: Sequence[str] = ()
    description: str = ""
    estimated_seconds: float | None = None


def render(
    format: GraphFormat,  # noqa: A002 - the flag's name
    nodes: Sequence[GraphNode],
    statuses: Statuses | None = None,
) -> str:
    """The graph in a format, ending in a line end.

    The ids are unique, the dependencies exist and there is no cycle, as the checks before a run
    guarantee; else `InternalError`.
    """
    graph = _graph(nodes)
    known = statuses or {}
    match format:
        case "mermaid":
            lines = _mermaid(graph, nodes, known)
        case "dot":
            lines = _dot(graph, nodes, known)
        case "text":
            lines = tree_lines(graph, [_caption(node, known) for node in nodes])
        case "json":
            return json_document(_as_json(graph, nodes, known)) + "\n"
        case _:
            assert_never(format)
    return "".join(f"{line}\n" for line in lines)


def graph_json(nodes: Sequence[GraphNode], statuses: Statuses | None = None) -> JsonObject:
    """`nodes` in request order with the number of their layer, `edges` from dependency to dependent,
    and `layers` of ids, each depending only on earlier ones.
    """
    return _as_json(_graph(nodes), nodes, statuses or {})


def _graph(nodes: Sequence[GraphNode]) -> Graph:
    return Graph(Node(each.task_id, each.dependencies, each.estimated_seconds) for each in nodes)


def _as_json(graph: Graph, nodes: Sequence[GraphNode], statuses: Statuses) -> JsonObject:
    layers = graph.layers()
    depth = {number: index for index, layer in enumerate(layers) for number in layer}
    return {
        "nodes": [
            {
                "task_id": node.task_id,
                "agent": node.agent,
                "description": node.description,
                "estimated_seconds": node.estimated_seconds,
                "layer": depth[number],
                "status": statuses.get(node.task_id),
            }
            for number, node in enumerate(nodes)
        ],
        "edges": [{"from": graph.ids[a], "to": graph.ids[b]} for a, b in _edges(graph)],
        "layers": [[graph.ids[number] for number in layer] for layer in layers],
    }


def _edges(graph: Graph) -> list[tuple[int, int]]:
    """From dependency to dependent, in request order of the dependents."""
    return [(up, down) for down in range(len(graph)) for up in graph.dependencies[down]]


def _caption(node: GraphNode, statuses: Statuses) -> str:
    """The task on one line: `gen-api  coder  ok  Generate the API`."""
    status = statuses.get(node.task_id)
    words = (label(node.task_id), label(node.agent), status.value if status else "")
    return "  ".join(filter(None, (*words, one_line(node.description, DESCRIPTION_LENGTH))))


def _mermaid(graph: Graph, nodes: Sequence[GraphNode], statuses: Statuses) -> list[str]:
    lines = ["flowchart TD"]
    for number, node in enumerate(nodes):
        status = statuses.get(node.task_id)
        style = f":::{status.value}" if status else ""
        lines.append(f'  n{number}["{_mermaid_text(node)}"]{style}')
    lines += [f"  n{up} --> n{down}" for up, down in _edges(graph)]
    used = sorted({status for node in nodes if (status := statuses.get(node.task_id))})
    lines += [f"  classDef {each.value} fill:{FILL[each]},color:#000" for each in used]
    return lines


def _mermaid_text(node: GraphNode) -> str:
    return f"{_mermaid_quoted(label(node.task_id))}<br/>{_mermaid_quoted(label(node.agent))}"


def _mermaid_quoted(text: str) -> str:
    """Everything that might mean something to Mermaid, Markdown or HTML becomes `#NN;`."""
    return "".join(
        each if each.isalnum() or each in " -_" or ord(each) > 127 else f"#{ord(each)};"
        for each in text
    )


def _dot(graph: Graph, nodes: Sequence[GraphNode], statuses: Statuses) -> list[str]:
    lines = ["digraph dispatch {", '  node [shape=box, style="rounded,filled", fillcolor=white];']
    for number, node in enumerate(nodes):
        lines.append(f"  n{number} [{_dot_attributes(node, statuses.get(node.task_id))}];")
    lines += [f"  n{up} -> n{down};" for up, down in _edges(graph)]
    return [*lines, "}"]


def _dot_attributes(node: GraphNode, status: TaskStatus | None) -> str:
    caption = f"{_dot_quoted(label(node.task_id))}\\n{_dot_quoted(label(node.agent))}"
    attributes = [f'label="{caption}"']
    if node.description:
        attributes.append(f'tooltip="{_dot_quoted(one_line(node.description))}"')
    if status:
        attributes.append(f'fillcolor="{FILL[status]}"')
    return ", ".join(attributes)


def _dot_quoted(text: str) -> str:
    """For a double-quoted string: no escape sequence, no end of the string, no HTML entity."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
