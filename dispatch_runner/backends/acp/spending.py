"""What a prompt over the Agent Client Protocol consumes: as much as the agent tells of it."""

from typing import Any

from dispatch_runner.backends.shared.spending import used_up
from dispatch_runner.backends.shared.values import number_in, object_in
from dispatch_runner.models import JsonObject, Usage
from dispatch_runner.models.budget import Budget


class Spending:
    """What a prompt consumes, as far as an agent tells of it, within a budget."""

    def __init__(self, budget: Budget, max_turns: int | None = None) -> None:
        self._budget = budget
        given = [each for each in (budget.requests, max_turns) if each is not None]
        self._most_requests = min(given, default=None)
        self._began = False
        self._cost_before = 0.0
        self._cost: float | None = None
        """Of the session so far, in USD."""
        self._requests = 1
        self._tool_ended = False

    def begin(self) -> None:
        """What the session cost until now is none of this prompt's."""
        self._began = True
        self._cost_before = self._cost or 0.0

    def update(self, update: JsonObject) -> str | None:
        """Takes in what an agent tells while it works; says which budget is exceeded, if one is."""
        cost = update.get("cost")
        if isinstance(cost, dict) and cost.get("currency") == "USD":
            self._cost = number_in(cost.get("amount"))
        if not self._began:
            return None
        # the context is sent with each request: at least so many tokens were consumed
        context = Usage(_count(update.get("used")), cost_usd=self._spent())
        return used_up(self._budget._replace(requests=None), context, over=True)

    def tool_ended(self) -> None:
        """The model will be asked again."""
        self._tool_ended = True

    def model_speaks(self) -> str | None:
        """The model says or wants something; says which budget is exceeded, if one is."""
        if self._tool_ended:
            self._tool_ended = False
            self._requests += 1
        if self._most_requests is None or self._requests <= self._most_requests:
            return None
        return f"the agent made {self._requests} requests to its model, more than it may"

    def total(self, result: JsonObject) -> Usage | None:
        """What the prompt consumed; null when nothing is known.

        The agents' tools tell requests apart only roughly, so that their number stays unknown.
        """
        cost = self._spent() or None  # agents that do not know the price say 0
        counted = _tokens(result)
        if counted is None:
            return None if cost is None else Usage(cost_usd=cost)
        return Usage(*counted, cost_usd=cost)

    def _spent(self) -> float | None:
        return None if self._cost is None else max(0.0, self._cost - self._cost_before)


def _tokens(result: JsonObject) -> tuple[int, int, int | None] | None:
    """Input, output and cached input; null when the agent does not tell, or says that it was nothing,
    as some do of a prompt that was cancelled."""
    usage = object_in(result, "usage")
    keys = ("inputTokens", "cachedWriteTokens", "outputTokens", "thoughtTokens")
    given, written, output, thought = (_count(usage.get(key)) or 0 for key in keys)
    cached = _count(usage.get("cachedReadTokens"))
    together = given + written + output + thought + (cached or 0)
    if thought and together == _count(usage.get("totalTokens")):  # else output includes it
        output += thought
    if not given + written + output:  # Gemini's own way
        usage = object_in(result, "_meta", "quota", "token_count")
        given, output = (_count(usage.get(key)) or 0 for key in ("input_tokens", "output_tokens"))
    return (given + written, output, cached) if given + written + output else None


def _count(value: Any) -> int | None:
    number = number_in(value)
    return None if number is None else int(number)
