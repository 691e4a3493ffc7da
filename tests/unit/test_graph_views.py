"""A request's graph in four formats: complete, bounded, and safe with any id."""

import json
import re
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.errors import InternalError
from dispatch_runner.models import TaskStatus
from dispatch_runner.report.graph import GraphNode, graph_json, render
from dispatch_runner.report.plan import Plan, plan_json

#   model -> api -> lint -> deploy
#        \-> tests -------/
DIAMOND = [
    GraphNode("model", "coder", (), "The user model", 2.5),
    GraphNode("api", "coder", ("model",)),
    GraphNode("tests", "coder", ("model",)),
    GraphNode("lint", "lint", ("api",)),
    GraphNode("deploy", "echo", ("tests", "lint")),
]

HOSTILE = 'a"]\n  n0 --> n1 %% <b>#35;&amp;\\N`x`\x1b[2J'

ids = st.lists(
    st.text(st.characters(), min_size=1, max_size=30), min_size=1, max_size=8, unique=True
)


@st.composite
def graphs(draw):
    """Any graph, with any text as ids, agents and descriptions."""
    names = draw(ids)
    text = st.text(st.characters(), max_size=10)
    return [
        GraphNode(
            name,
            draw(text),
            draw(st.lists(st.sampled_from(names[:n]), unique=True)) if n else (),
            draw(text),
        )
        for n, name in enumerate(names)
    ]


def edges(nodes):
    number = {node.task_id: n for n, node in enumerate(nodes)}
    return {(number[up], n) for n, node in enumerate(nodes) for up in node.dependencies}


def a_chain(length):
    return [GraphNode(f"t{n}", "echo", (f"t{n - 1}",) if n else ()) for n in range(length)]


def test_text_draws_each_task_below_the_deepest_of_its_dependencies():
    assert render("text", DIAMOND).splitlines() == [
        "model  coder  The user model",
        "├─ api  coder",
        "│  └─ lint  lint",
        "│     └─ deploy  echo  (also after tests)",
        "└─ tests  coder",
    ]


def test_text_shows_how_an_earlier_run_ended():
    text = render("text", DIAMOND, {"model": TaskStatus.SUCCESS, "api": TaskStatus.TIMEOUT})
    assert "model  coder  success  The user model\n├─ api  coder  timeout\n" in text


def test_text_names_a_bounded_number_of_other_dependencies():
    many = [GraphNode(f"t{n}", "echo") for n in range(100)]
    text = render("text", [*many, GraphNode("end", "echo", [node.task_id for node in many])])
    assert "end  echo  (also after t1, t2, t3, t4, t5 and 94 more)" in text


def test_text_continues_at_the_margin_when_a_graph_is_deep():
    lines = render("text", a_chain(15)).splitlines()
    assert lines[12:] == [
        "   " * 11 + "└─ t12  echo",
        "   " * 12 + "└─ … 1 task further down",
        "… after t12",
        "t13  echo",
        "└─ t14  echo",
    ]


@pytest.mark.parametrize("form", ["mermaid", "dot", "text", "json"])
def test_a_chain_of_ten_thousand_is_drawn_in_proportion(form):
    text = render(form, a_chain(10_000))
    assert len(re.findall(r"\bt\d+\b", text)) >= 10_000
    assert len(text) < 300 * 10_000


@given(graphs())
def test_text_has_every_task_on_exactly_one_line_of_its_own(nodes):
    marked = [
        GraphNode(node.task_id, f"<agent {n}>", node.dependencies) for n, node in enumerate(nodes)
    ]
    text = render("text", marked)
    lines = text[:-1].split("\n")
    assert all(line.isprintable() for line in lines)
    assert [sum(f"<agent {n}>" in line for line in lines) for n in range(len(nodes))] == [1] * len(
        nodes
    )


def test_mermaid():
    text = render("mermaid", DIAMOND[:2], {"model": TaskStatus.SUCCESS})
    assert text.splitlines() == [
        "flowchart TD",
        '  n0["model<br/>coder"]:::success',
        '  n1["api<br/>coder"]',
        "  n0 --> n1",
        "  classDef success fill:#c8e6c9,color:#000",
    ]


@given(graphs())
def test_no_id_escapes_from_its_mermaid_label(nodes):
    lines = render("mermaid", nodes)[:-1].split("\n")
    labels, arrows = lines[1 : len(nodes) + 1], lines[len(nodes) + 1 :]
    for number, line in enumerate(labels):
        text = r"(?:[^\W]|[ _-]|[^\x00-\x7f]|#\d+;)*"
        assert re.fullmatch(rf'  n{number}\["{text}<br/>{text}"\]', line)
    assert {tuple(map(int, re.findall(r"\d+", line))) for line in arrows} == edges(nodes)


def test_mermaid_labels_read_back_as_the_id():
    line = render("mermaid", [GraphNode(HOSTILE, "x")]).splitlines()[1]
    read = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), line)
    assert read == '  n0["' + HOSTILE.replace("\n", r"\n").replace("\x1b", r"\x1b") + '<br/>x"]'


def test_dot():
    assert render("dot", DIAMOND[:2], {"api": TaskStatus.ERROR}).splitlines() == [
        "digraph dispatch {",
        '  node [shape=box, style="rounded,filled", fillcolor=white];',
        '  n0 [label="model\\ncoder", tooltip="The user model"];',
        '  n1 [label="api\\ncoder", fillcolor="#ffcdd2"];',
        "  n0 -> n1;",
        "}",
    ]


@given(graphs())
def test_no_id_escapes_from_its_dot_string(nodes):
    lines = render("dot", nodes)[:-1].split("\n")
    labels, arrows = lines[2 : len(nodes) + 2], lines[len(nodes) + 2 : -1]
    for number, line in enumerate(labels):
        string = r'"(?:[^"\\]|\\\\|\\"|\\n)*"'
        assert re.fullmatch(rf"  n{number} \[label={string}(?:, tooltip={string})?\];", line)
    assert {tuple(map(int, re.findall(r"\d+", line))) for line in arrows} == edges(nodes)


def test_json_has_nodes_edges_and_layers():
    graph = json.loads(render("json", DIAMOND, {"api": TaskStatus.SUCCESS}))
    assert graph["layers"] == [["model"], ["api", "tests"], ["lint"], ["deploy"]]
    assert graph["edges"][0] == {"from": "model", "to": "api"}
    assert len(graph["edges"]) == 5
    assert graph["nodes"][0] == {
        "task_id": "model",
        "agent": "coder",
        "description": "The user model",
        "estimated_seconds": 2.5,
        "layer": 0,
        "status": None,
    }
    assert graph["nodes"][1]["status"] == "success"


@given(graphs())
def test_json_keeps_every_id_as_it_is(nodes):
    graph = json.loads(render("json", nodes))
    assert graph == graph_json(nodes)
    assert [node["task_id"] for node in graph["nodes"]] == [node.task_id for node in nodes]
    assert sorted(chain.from_iterable(graph["layers"])) == sorted(node.task_id for node in nodes)


def test_a_cycle_was_to_be_rejected_before():
    with pytest.raises(InternalError, match="cycle"):
        render("text", [GraphNode("a", "x", ("b",)), GraphNode("b", "x", ("a",))])


def test_a_plan_as_json():
    plan = Plan(2, {"echo": 2}, [["a"], ["b"]], ["a", "b"], 3.00049, 3.0, None, 1, ["ruff"])
    assert plan_json(plan) == {
        "depth": 2,
        "tasks": 2,
        "agents": {"echo": 2},
        "layers": [["a"], ["b"]],
        "critical_path": ["a", "b"],
        "critical_path_seconds": 3.0,
        "total_estimated_seconds": 3.0,
        "estimated_makespan_seconds": None,
        "widest_point": 1,
        "missing_tools": ["ruff"],
    }
