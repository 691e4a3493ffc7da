"""What one round consumes, told as soon as it is known, and held against what it may consume."""

from dispatch_runner.backends.shared.prices import cost_of
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, Usage
from dispatch_runner.models.usage import total_usage
from dispatch_runner.protocols import AgentCall


class Spending:
    """Of one round of a program that keeps no budget by itself."""

    def __init__(
        self, call: AgentCall, program: str, provider: str | None, max_turns: int | None
    ) -> None:
        """
        Args:
            call: whose meter is told; its budget is what the round may consume.
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
        # earlier rounds of the attempt were told to the same meter
        self._consumed = call.meter.usage if call.repair else None

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
        if reason := self._exceeded():
            raise AgentError(
                ErrorType.BUDGET_EXCEEDED,
                f"{self._program!r} was stopped: {reason}",
                hint="raise the limit, or ask for less in one task",
            )

    def _exceeded(self) -> str | None:
        if self._max_turns is not None and self.requests >= self._max_turns:
            return f"it made {self.requests} requests, and max_turns is {self._max_turns}"
        budget, used = self._call.budget, self._consumed
        if budget is None or used is None:
            return None
        tokens = (used.input_tokens or 0) + (used.output_tokens or 0)
        for have, most, unit in (
            (used.cost_usd, budget.cost_usd, "USD"),
            (tokens, budget.tokens, "tokens"),
            (used.requests, budget.requests, "requests"),
        ):
            if have is not None and most is not None and have >= most:
                return f"it consumed {have:g} {unit} of the {most:g} that it may"
        return None
