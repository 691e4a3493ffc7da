"""What agents may consume: reserved before a start, counted while they work, settled after. Pure.

A reservation is the task's own limit. Where it has none, it is what such a task may well consume: twice
the most that one of this agent has consumed so far, or an equal share of the budget if that is more;
and everything that is left while nothing is known of the agent. So the sum of all reservations never
exceeds the budget, and a task that would need more is ended.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dispatch_runner.models import Usage
from dispatch_runner.models.budget import Budget

CAUTION = 2.0
"""How many times the most that was seen is reserved."""

Amounts = tuple[float, float, float]
"""USD, tokens, requests."""

NOTHING: Amounts = (0.0, 0.0, 0.0)
UNITS = ("USD", "tokens", "requests")


@dataclass(slots=True, eq=False)
class Account:
    """What one task has consumed and may consume, over all its attempts."""

    agent: str
    cap: Amounts
    """Of the task itself; infinite where it has no limit."""
    used: Amounts = NOTHING
    reserved: Amounts = NOTHING
    """Of the dispatch's budget, for the attempt that runs; what it uses counts against it."""
    before: Amounts = NOTHING
    """Used before the attempt that runs."""


class Budgets:
    """The budget of a dispatch and the accounts of its tasks."""

    def __init__(self, limit: Budget, *, shares: int, unknown_cost_is_free: bool = False) -> None:
        """
        Args:
            limit: of the whole dispatch.
            shares: into how many equal shares it may be split.
            unknown_cost_is_free: a cost that is not known counts as nothing; else as all that was
                reserved.
        """
        self.limit = _amounts(limit)
        self._shares = max(1, shares)
        self._free = unknown_cost_is_free
        self._settled = NOTHING
        self._open: list[Account] = []
        self._most: dict[str, Amounts] = {}

    def account(self, agent: str, *caps: Budget, used: Usage | None = None) -> Account | None:
        """A task's account, or null when neither it nor the dispatch has a limit.

        `used` is what the task consumed in an earlier process.
        """
        cap = _least(*map(_amounts, caps))
        if all(math.isinf(amount) for amount in (*cap, *self.limit)):
            return None
        return Account(agent, cap, NOTHING if used is None else _told(used))

    def carry_over(self, usage: Usage) -> None:
        """So much of the budget was consumed in an earlier process; what is not known is nothing."""
        self._settled = _plus(self._settled, _told(usage))

    def reserve(self, account: Account) -> str | None:
        """Reserves for an attempt and returns null; else why not: `wait` for others to end, or
        `spent`."""
        free = self._unreserved()
        own = _minus(account.cap, account.used)
        if any(amount <= 0 for amount in own):
            return "spent"
        expected = self._expected(account.agent, free)
        limited = zip(own, expected, self.limit, strict=True)
        wanted = tuple(e if math.isinf(o) else min(o, most) for o, e, most in limited)
        if any(amount <= 0 for amount in free):
            return "wait" if self._open else "spent"
        if any(want > have for want, have in zip(wanted, free, strict=True)):
            if self._open:
                return "wait"
            wanted = tuple(map(min, wanted, free))
        account.reserved, account.before = _three(wanted), account.used
        self._open.append(account)
        return None

    def spend(self, account: Account, usage: Usage) -> str | None:
        """So much more was consumed. Why the task has to end now, or null."""
        account.used = _plus(account.used, self._known(account, usage))
        over = _exceeded(account.used, account.cap)
        if over is not None:
            return f"the task has used {over}"
        over = _exceeded(self._running_total(), self.limit)
        if over is not None and _exceeded(_of_attempt(account), account.reserved):
            return f"the dispatch has used {over}"
        return None

    def settle(self, account: Account) -> None:
        """The attempt has ended: what it did not use is free again."""
        if account not in self._open:
            return
        self._open.remove(account)
        used = _of_attempt(account)
        self._settled = _plus(self._settled, used)
        most = self._most.get(account.agent, NOTHING)
        self._most[account.agent] = _three(map(max, most, used))
        account.reserved, account.before = NOTHING, account.used

    def allowance(self, account: Account) -> Budget:
        """What the attempt that runs may still consume."""
        left = _minus(account.reserved, _of_attempt(account))
        cost, tokens, requests = (max(0.0, amount) for amount in left)
        return Budget(
            None if math.isinf(cost) else cost,
            None if math.isinf(tokens) else int(tokens),
            None if math.isinf(requests) else int(requests),
        )

    def spent(self) -> str | None:
        """What of the dispatch's budget is used up, in words; null: there is some left."""
        total = self._running_total()
        for used, limit, unit in zip(total, self.limit, UNITS, strict=True):
            if used >= limit:
                return f"{used:g} of {limit:g} {unit}"
        return None

    def _unreserved(self) -> Amounts:
        """Of the dispatch's budget; a task that overran its reservation has taken more than that."""
        held = NOTHING
        for account in self._open:
            held = _plus(held, _three(map(max, account.reserved, _of_attempt(account))))
        return _three(
            limit if math.isinf(limit) else limit - settled - taken
            for limit, settled, taken in zip(self.limit, self._settled, held, strict=True)
        )

    def _expected(self, agent: str, free: Amounts) -> Amounts:
        most = self._most.get(agent)
        if most is None:
            return free
        return _three(
            max(CAUTION * seen, have / self._shares) for seen, have in zip(most, free, strict=True)
        )

    def _running_total(self) -> Amounts:
        total = self._settled
        for account in self._open:
            total = _plus(total, _of_attempt(account))
        return total

    def _known(self, account: Account, usage: Usage) -> Amounts:
        cost = usage.cost_usd
        if cost is None:
            limited = not math.isinf(account.reserved[0])
            left = max(0.0, account.reserved[0] - _of_attempt(account)[0]) if limited else 0.0
            cost = 0.0 if self._free else left
        _, tokens, requests = _told(usage)
        return cost, tokens, requests


def _told(usage: Usage) -> Amounts:
    tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    return usage.cost_usd or 0.0, float(tokens), float(usage.requests or 0)


def _amounts(budget: Budget) -> Amounts:
    return _three(math.inf if each is None else float(each) for each in budget)


def _three(values: Iterable[float]) -> Amounts:
    cost, tokens, requests = values
    return cost, tokens, requests


def _of_attempt(account: Account) -> Amounts:
    return _minus(account.used, account.before)


def _plus(a: Amounts, b: Amounts) -> Amounts:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _minus(a: Amounts, b: Amounts) -> Amounts:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _least(*all_: Amounts) -> Amounts:
    return _three(min(each) for each in zip(*all_, strict=True))


def _exceeded(used: Amounts, limit: Amounts) -> str | None:
    for have, most, unit in zip(used, limit, UNITS, strict=True):
        if have > most:
            return f"{have:g} {unit}, more than the {most:g} that it may"
    return None
