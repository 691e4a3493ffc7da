"""Questions about graphs that may be wrong."""

import pytest

from dispatch_runner.preflight.graph import MAX_CYCLES, cycles, not_above, topological_order

CHAIN = [[], *([number] for number in range(99_999))]


def test_order_has_dependencies_first_and_leaves_out_what_a_cycle_holds_up() -> None:
    #  0 <- 1 <- 3      4 <-> 5 <- 6
    #  0 <- 2 <- 3
    assert topological_order([[], [0], [0], [1, 2], [5], [4], [5]]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("dependencies", "expected"),
    [
        ([[], [0], [0, 1]], []),
        ([[1], [0]], [[0, 1]]),
        ([[1], [2], [0], [2]], [[0, 1, 2]]),
        ([[1], [0, 2], [1]], [[0, 1], [1, 2]]),
        ([[], [2], [1], [4], [3]], [[1, 2], [3, 4]]),
    ],
)
def test_cycles_are_found(dependencies: list[list[int]], expected: list[list[int]]) -> None:
    assert list(cycles(dependencies)) == expected


def test_number_of_cycles_is_bounded() -> None:
    pairs = [[number ^ 1] for number in range(1000)]
    assert len(list(cycles(pairs))) == MAX_CYCLES


def test_long_chains_are_walked_without_recursion() -> None:
    assert topological_order(CHAIN) == list(range(100_000))
    assert list(cycles([[99_999], *CHAIN[1:]])) == [[0, *range(99_999, 0, -1)]]


def test_targets_above_are_told_from_those_that_are_not() -> None:
    #  0 <- 1 <- 2    3
    dependencies = [[], [0], [1], []]
    pairs = [(2, 0), (2, 1), (2, 3), (0, 2), (1, 1), (2, 3)]
    missing = not_above(pairs, dependencies, [0, 1, 2, 3])
    assert missing == [(2, 3), (0, 2), (1, 1)]


def test_tasks_in_a_cycle_are_not_judged() -> None:
    assert not_above([(0, 2)], [[1], [0], []], [2]) == []


@pytest.mark.timeout(30)
def test_many_different_targets_are_judged_in_bounded_time() -> None:
    pairs = [(number, number // 2) for number in range(2, 100_000)]
    assert not_above([*pairs, (5, 7)], CHAIN, range(100_000)) == [(5, 7)]
