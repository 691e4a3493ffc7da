"""Lets tasks in: limits, providers' gates and budgets, taken all together or not at all.

Loaded when the first task wants anything; most want nothing. See `limits`, `gates` and `budgets` for the rules.
"""

from collections.abc import Callable, Hashable

from dispatch_runner.clock import Clock, utc_text
from dispatch_runner.engine.budgets import Account, Budgets
from dispatch_runner.engine.gates import Gates, Report, Shut
from dispatch_runner.engine.limits import Limits
from dispatch_runner.engine.runner import Outcome
from dispatch_runner.engine.wants import Wants, Withdrawal
from dispatch_runner.events import ProviderHeld
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.protocols import Backend


class Admission:
    """Limits, gates and budgets of one dispatch."""

    def __init__(
        self,
        limits: Limits,
        gates: Gates,
        budgets: Budgets,
        clock: Clock,
        report: Callable[[ProviderHeld], None],
    ) -> None:
        """`report` is told when a provider begins to hold calls back."""
        self._report = report
        self.limits = limits
        self.budgets = budgets
        self._gates = gates
        self._clock = clock
        self._waiting_for_budget = False

    @classmethod
    def of(
        cls,
        clock: Clock,
        report: Callable[[ProviderHeld], None],
        *,
        limits: Limits | None = None,
        gates: Gates | None = None,
        budgets: Budgets | None = None,
    ) -> "Admission":
        """What is not given limits nothing."""
        budgets = budgets or Budgets(Budget(), shares=1)
        return cls(limits or Limits(), gates or Gates(), budgets, clock, report)

    def take(self, wants: Wants) -> Hashable | Withdrawal | None:
        """Takes everything and returns null; or takes nothing and returns the limit that refuses, or
        why the task will never start."""
        now = self._clock.monotonic()
        self._prepare(wants)
        provider = self._gates.choose(wants.providers)
        if isinstance(provider, Shut):
            return _shut_out(provider)
        refusal = self._gates.refusal(provider, now)
        if refusal is not None:
            return refusal
        if wants.account is not None and provider is not None:
            refusal = self._refused_by_budget(wants.account)
            if refusal is not None:
                return refusal
        refusal = self.limits.take(wants.needs, now)
        if refusal is not None:
            if wants.account is not None:
                self.budgets.settle(wants.account)
            return refusal
        if provider is not None:
            wants.ticket = self._gates.enter(provider, now)
        return None

    def give_back(self, wants: Wants) -> list[Hashable]:
        """Gives everything back; returns the limits that may admit again."""
        opened = self.limits.release(wants.needs)
        if wants.account is not None:
            self.budgets.settle(wants.account)
            if self._waiting_for_budget:
                self._waiting_for_budget = False
                opened.append("budget")
        if wants.ticket is not None:
            self._gates.leave(wants.ticket)
            wants.ticket = None
            opened += self._gates.opened(self._clock.monotonic())
        return opened

    def hear(self, wants: Wants, outcome: Outcome) -> float | None:
        """Learns from how an attempt ended. Seconds that everybody at its provider waits now."""
        if outcome.provider is None:
            return None
        now, error = self._clock.monotonic(), outcome.error
        report = Report(
            outcome.provider,
            outcome.status,
            error.type if error else None,
            error.message if error else "",
            outcome.retry_after,
            outcome.exhausted,
            outcome.resets_at,
        )
        since = wants.ticket.since if wants.ticket else now
        wait = self._gates.hear(report, since, now, self._clock.wall())
        self._tell_news()
        return wait

    def throttled(self, wants: Wants, provider: str, retry_after: float | None) -> None:
        """An agent was told to slow down in the middle of its work, and waits by itself."""
        now = self._clock.monotonic()
        since = wants.ticket.since if wants.ticket else now
        self._gates.throttled(provider, retry_after, since, now)
        self._tell_news()

    def usable(self, backend: Backend) -> bool:
        """Whether the backend's provider has not refused every further call."""
        return self._gates.shut(backend.provider) is None

    @property
    def waits_for_reset(self) -> bool:
        """Whether providers without quota are waited for."""
        return self._gates.waits_for_reset

    def allowance(self, wants: Wants) -> Budget | None:
        return None if wants.account is None else self.budgets.allowance(wants.account)

    def spend(self, wants: Wants, usage: Usage) -> str | None:
        """So much more was consumed. Why the task has to end now, or null."""
        return None if wants.account is None else self.budgets.spend(wants.account, usage)

    def next_opening(self) -> float | None:
        """Monotonic time at which something may open by itself, or null if only a release can."""
        times = (self.limits.next_opening(), self._gates.next_opening(self._clock.monotonic()))
        return min((time for time in times if time is not None), default=None)

    def opened(self) -> list[Hashable]:
        """What has opened by itself since the last call."""
        now = self._clock.monotonic()
        return [*self.limits.opened(now), *self._gates.opened(now)]

    def _prepare(self, wants: Wants) -> None:
        """What is there only once a task asks for it: its agent's cap, and its account."""
        if wants.cap is not None:
            self.limits.define(*wants.cap)
        if wants.account is None and any(wants.providers):
            wants.account = self.budgets.account(wants.agent, *wants.budgets, used=wants.used)

    def _tell_news(self) -> None:
        news, self._gates.news = self._gates.news, []
        for held in news:
            self._report(held)

    def _refused_by_budget(self, account: Account) -> Hashable | Withdrawal | None:
        refusal = self.budgets.reserve(account)
        if refusal == "wait":
            self._waiting_for_budget = True
            return "budget"
        if refusal is None:
            return None
        spent = self.budgets.spent()
        whose = "of the dispatch" if spent else "of the task"
        told = f" ({spent})" if spent else ""
        details = {"cause": ErrorType.BUDGET_EXCEEDED}
        return Withdrawal(f"the budget {whose} is spent{told}", details, bool(spent))


def _shut_out(shut: Shut) -> Withdrawal:
    details: JsonObject = {"cause": shut.cause, "provider": shut.provider}
    when = ""
    if shut.resets_at is not None:
        details["resets_at"] = shut.resets_at
        when = f"; it resets at {utc_text(shut.resets_at)}"
    return Withdrawal(
        f"'{shut.provider}' takes no more calls: {shut.message}{when}", details, False
    )
