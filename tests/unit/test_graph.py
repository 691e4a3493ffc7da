"""The graph: what depends on what, and how much follows."""

import pytest

from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.errors import InternalError


#    a(1) ──► b(5) ──► d(1)
#      └────► c(2) ─────┘
def diamond() -> Graph:
    return Graph(
        [Node("d", ["b", "c"], 1), Node("b", ["a"], 5), Node("c", ["a"], 2), Node("a", [], 1)]
    )


def test_tasks_are_numbered_in_request_order_and_may_name_later_ones() -> None:
    graph = diamond()
    assert graph.ids == ["d", "b", "c", "a"]
    assert graph.dependencies[0] == (1, 2)
    assert sorted(graph.dependents[3]) == [1, 2]


def test_remaining_is_the_longest_path_to_the_end() -> None:
    graph = diamond()
    assert dict(zip(graph.ids, graph.remaining, strict=True)) == {"a": 7, "b": 6, "c": 3, "d": 1}


def test_unknown_durations_count_as_the_median_of_the_known_ones() -> None:
    graph = Graph([Node("a", [], 2), Node("b", [], 4), Node("c", [], 10), Node("d")])
    assert graph.weight == [2, 4, 10, 4]


def test_without_any_duration_each_task_counts_one() -> None:
    assert Graph([Node("a"), Node("b", ["a"])]).remaining == [2.0, 1.0]


def test_critical_path_follows_the_measured_times_when_given() -> None:
    graph = diamond()
    assert [graph.ids[n] for n in graph.critical_path()] == ["a", "b", "d"]
    assert [graph.ids[n] for n in graph.critical_path([1, 1, 9, 1])] == ["a", "c", "d"]


def test_critical_path_of_nothing_is_empty() -> None:
    assert Graph().critical_path() == []


def test_layers_are_depths() -> None:
    graph = diamond()
    assert [[graph.ids[n] for n in layer] for layer in graph.layers()] == [["a"], ["b", "c"], ["d"]]


def test_a_later_extension_may_depend_on_earlier_tasks() -> None:
    graph = Graph([Node("a")])
    assert graph.extend([Node("c", ["b"]), Node("b", ["a"])]) == range(1, 3)
    assert graph.order == [0, 2, 1]


def test_a_dependency_named_twice_counts_once() -> None:
    graph = Graph([Node("a"), Node("b", ["a", "a"])])
    assert graph.dependencies[1] == (0,)
    assert graph.dependents[0] == [1]


@pytest.mark.parametrize(
    ("nodes", "what"),
    [
        ([Node("a", ["b"]), Node("b", ["a"])], "cycle"),
        ([Node("a", ["a"])], "cycle"),
        ([Node("a", ["x"])], "unknown 'x'"),
        ([Node("a"), Node("a")], "already"),
    ],
)
def test_what_preflight_should_have_rejected_is_our_own_fault(nodes: list[Node], what: str) -> None:
    with pytest.raises(InternalError, match=what):
        Graph(nodes)


def test_a_chain_of_fifty_thousand_needs_no_recursion() -> None:
    graph = Graph(Node(str(n), [str(n - 1)] if n else []) for n in range(50_000))
    assert graph.remaining[0] == 50_000
    assert len(graph.critical_path()) == 50_000
