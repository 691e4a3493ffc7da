"""Budgets are reserved before, counted while, and settled after; they are never exceeded by design."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.engine.budgets import Account, Budgets
from dispatch_runner.models import Usage
from dispatch_runner.models.budget import Budget

FREE = Budget()


def account(budgets: Budgets, cap: Budget = FREE, agent: str = "a") -> Account:
    made = budgets.account(agent, FREE, cap)
    assert made is not None
    return made


def test_without_any_limit_nothing_is_counted() -> None:
    assert Budgets(FREE, shares=5).account("a", FREE, FREE) is None


def test_the_first_task_of_an_unknown_agent_gets_everything_that_is_left() -> None:
    budgets = Budgets(Budget(cost_usd=10), shares=5)
    first, second = account(budgets), account(budgets)
    assert budgets.reserve(first) is None
    assert budgets.allowance(first) == Budget(cost_usd=10)
    assert budgets.reserve(second) == "wait"
    budgets.spend(first, Usage(cost_usd=0.5))
    budgets.settle(first)
    assert budgets.reserve(second) is None
    assert budgets.allowance(second) == Budget(cost_usd=1.9), "a fifth of what is left"


def test_more_than_a_share_is_reserved_for_an_agent_that_is_known_to_need_it() -> None:
    budgets = Budgets(Budget(tokens=1_000), shares=10)
    first, second = account(budgets), account(budgets)
    budgets.reserve(first)
    budgets.spend(first, Usage(input_tokens=100, output_tokens=100))
    budgets.settle(first)
    assert budgets.reserve(second) is None
    assert budgets.allowance(second) == Budget(tokens=400)


def test_a_task_with_a_limit_reserves_just_that() -> None:
    budgets = Budgets(Budget(cost_usd=1), shares=2)
    both = [account(budgets, Budget(cost_usd=0.5)) for _ in range(3)]
    assert [budgets.reserve(each) for each in both] == [None, None, "wait"]


def test_the_agent_and_the_task_may_both_set_a_limit() -> None:
    budgets = Budgets(FREE, shares=2)
    made = budgets.account("a", Budget(cost_usd=3, requests=4), Budget(cost_usd=2))
    assert made is not None
    assert budgets.reserve(made) is None
    assert budgets.allowance(made) == Budget(cost_usd=2, requests=4)


def test_what_is_left_is_given_when_nobody_else_runs() -> None:
    budgets = Budgets(Budget(cost_usd=1), shares=2)
    first, second = (account(budgets, Budget(cost_usd=0.8)) for _ in range(2))
    budgets.reserve(first)
    budgets.spend(first, Usage(cost_usd=0.75))
    assert budgets.reserve(second) == "wait"
    budgets.settle(first)
    assert budgets.reserve(second) is None
    assert budgets.allowance(second) == Budget(cost_usd=0.25)


def test_a_spent_budget_starts_nothing() -> None:
    budgets = Budgets(Budget(requests=2), shares=2)
    first = account(budgets)
    budgets.reserve(first)
    assert budgets.spend(first, Usage(requests=2)) is None
    budgets.settle(first)
    assert budgets.reserve(account(budgets)) == "spent"
    assert budgets.spent() == "2 of 2 requests"


def test_a_task_that_overruns_its_own_limit_ends() -> None:
    budgets = Budgets(FREE, shares=2)
    made = account(budgets, Budget(tokens=100))
    budgets.reserve(made)
    assert budgets.spend(made, Usage(input_tokens=60)) is None
    assert budgets.spend(made, Usage(output_tokens=60)) == (
        "the task has used 120 tokens, more than the 100 that it may"
    )
    budgets.settle(made)
    assert budgets.reserve(made) == "spent", "a further attempt has nothing to go on"
    assert budgets.spent() is None, "which is not the dispatch's fault"


def test_a_task_may_overrun_its_share_while_the_dispatch_has_room() -> None:
    budgets = Budgets(Budget(cost_usd=10), shares=5)
    first, second = account(budgets), account(budgets)
    budgets.reserve(first)
    budgets.spend(first, Usage(cost_usd=0.1))
    budgets.settle(first)
    budgets.reserve(second)
    assert budgets.spend(second, Usage(cost_usd=5)) is None
    assert budgets.spend(second, Usage(cost_usd=5)) == (
        "the dispatch has used 10.1 USD, more than the 10 that it may"
    )


@pytest.mark.parametrize(("free", "left"), [(True, Budget(cost_usd=1)), (False, Budget(0))])
def test_an_unknown_cost_counts_as_all_that_was_reserved(free: bool, left: Budget) -> None:
    budgets = Budgets(FREE, shares=1, unknown_cost_is_free=free)
    made = account(budgets, Budget(cost_usd=1))
    budgets.reserve(made)
    budgets.spend(made, Usage(input_tokens=5))
    assert budgets.allowance(made) == left


@given(
    limit=st.floats(0.5, 20),
    shares=st.integers(1, 8),
    costs=st.lists(st.floats(0.01, 3), min_size=1, max_size=40),
)
def test_agents_that_keep_to_their_allowance_never_exceed_the_budget(
    limit: float, shares: int, costs: list[float]
) -> None:
    budgets = Budgets(Budget(cost_usd=limit), shares=shares)
    running: list[Account] = []
    total = 0.0
    for cost in costs:
        made = account(budgets)
        while (refusal := budgets.reserve(made)) == "wait":
            budgets.settle(running.pop(0))
        if refusal == "spent":
            break
        allowed = budgets.allowance(made).cost_usd
        assert allowed is not None
        spent = min(cost, allowed)
        total += spent
        assert budgets.spend(made, Usage(cost_usd=spent)) is None
        running.append(made)
        if len(running) > shares:
            budgets.settle(running.pop(0))
    assert total <= limit * (1 + 1e-9)
