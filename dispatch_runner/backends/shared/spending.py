"""What one round consumes, told as soon as it is known, and held against what it may consume."""

from dispatch_runner.backends.shared.prices import cost_of
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.models.usage import total_usage
from dispatch_runner.protocols import AgentCall


class Spending:
    """Of one round of a program that keeps no budget by itself."""

    def __init__(
        self, call: AgentCall, program: str, provider: str | None, max_turns: int | None
    ) -> None:
        """
        Args:
            call: whose meter is told; its budget is what was left at the start of the round.
            program: for messages.
            provider: for prices; null: no price is known.
            max_turns: most requests of the round, besides the budget.
        """
        self.model: str | None = None
        """As the provider calls it, once it is known: for prices."""
        self.requests = 0
        self._call = call
        self._program = program
        self._provider = provider
        self._max_turns = max_turns
        self._consumed: Usage | None = None

    def request(
        self,
        input_tokens: int,
        output_tokens: int,
        cached_tokens: int = 0,
        *,
        cost_usd: float | None = None,
    ) -> None:
        """One more request of the program was answered.

        Args:
            input_tokens: without those that were read from a cache.
            cost_usd: where the program knows it; null: by the price list.
        """
        usage = Usage(input_tokens, output_tokens, cached_tokens, 1, cost_usd)
        self.requests += 1
        self.told(self._priced(usage))

    def total(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> None:
        """What all requests of the program to one model consumed, where no more is known."""
        self.told(self._priced(Usage(input_tokens, output_tokens, cached_tokens)))

    def told(self, usage: Usage) -> None:
        """So much more was consumed."""
        self._consumed = total_usage([self._consumed, usage])
        self._call.meter.spend(usage)

    def _priced(self, usage: Usage) -> Usage:
        if usage.cost_usd is None and self._provider is not None:
            usage.cost_usd = cost_of(self._provider, self.model, usage)
        return usage

    def goes_on(self) -> None:
        """The program wants another request. Raises `AgentError` when it may not have it."""
        if self._max_turns is not None and self.requests >= self._max_turns:
            turns = f"it made {self.requests} requests, and max_turns is {self._max_turns}"
            raise over_budget(self._program, turns)
        if reason := used_up(self._call.budget, self._consumed):
            raise over_budget(self._program, reason)


def over_budget(program: str, reason: str) -> AgentError:
    """It was stopped since it may consume no more."""
    return AgentError(
        ErrorType.BUDGET_EXCEEDED,
        f"{program!r} was stopped: {reason}",
        hint="raise the limit, or ask for less in one task",
    )


def used_up(budget: Budget | None, used: Usage | None, *, over: bool = False) -> str | None:
    """Which amount of a budget is used up, in words, or null. What is not known is nothing.

    Args:
        over: an amount that is just used up is no reason yet.
    """
    budget, used = budget or Budget(), used or Usage()
    for have, most, unit in (
        (used.cost_usd, budget.cost_usd, "USD"),
        ((used.input_tokens or 0) + (used.output_tokens or 0), budget.tokens, "tokens"),
        (used.requests, budget.requests, "requests"),
    ):
        if most is not None and ((have or 0) > most or ((have or 0) == most and not over)):
            return f"it consumed {have or 0:.10g} {unit} of the {most:.10g} that it may"
    return None
