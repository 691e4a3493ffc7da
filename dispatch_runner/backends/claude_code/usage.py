"""What a run of Claude Code consumes: counted while it works, completed by its result, never twice."""

from typing import NamedTuple

from dispatch_runner.backends.shared.spending import over_budget, used_up
from dispatch_runner.backends.shared.values import object_in, objects_in
from dispatch_runner.models import JsonObject, Usage
from dispatch_runner.protocols import AgentCall

NOT_PRICED = "unknown"
"""`costBasis` of a model whose price the program does not know: its cost is made up."""


class Counts(NamedTuple):
    """Tokens of one message or of several."""

    input: int = 0
    """Written to the cache included, read from it not."""
    output: int = 0
    cache_read: int = 0


class Tally:
    """What a run consumed, told to the meter as soon as it is known and never twice.

    The cost is told last, when the program says it: until then the parts cost nothing, so that a sum
    that is read in the middle is a lower bound.
    """

    def __init__(self, call: AgentCall) -> None:
        self._call = call
        self._messages: dict[str, Counts] = {}
        self._models: list[JsonObject] = []
        """The usage of each model, sub-agents included, as the results give it."""
        self._told = Counts()
        self._requests = 0

    def message(self, name: str, usage: JsonObject) -> None:
        """What a message of the model consumed so far, by the message's id. Raises `AgentError` when the
        budget is exceeded."""
        new = name not in self._messages
        before = self._messages.get(name, Counts())
        now = Counts(
            count(usage, "input_tokens") + count(usage, "cache_creation_input_tokens"),
            count(usage, "output_tokens"),
            count(usage, "cache_read_input_tokens"),
        )
        growth = _rest(now, before)
        self._messages[name] = _sum(before, growth)
        if new or any(growth):
            self._spend(growth, requests=int(new))

    def result(self, result: JsonObject, *, resumed: bool) -> None:
        """A result's sums. There are several where a run goes on after one; each has its own."""
        sums = result.get("model_usage_since_last_result")
        if sums is None and not resumed:  # of the whole session
            sums = result.get("modelUsage")
        self._models += objects_in(list(object_in(sums).values()))

    def settle(self) -> None:
        """Tells what the results say above what was told, and the cost; null when it is not known."""
        total = Counts()
        for usage in self._models:
            total = _sum(total, _of_model(usage))
        if self._requests or any(total):
            rest = _rest(total, self._told)
            self._call.meter.spend(_usage(rest, 0, _cost(self._models)))

    def _spend(self, counts: Counts, requests: int) -> None:
        self._told = _sum(self._told, counts)
        self._requests += requests
        self._call.meter.spend(_usage(counts, requests, 0.0))
        so_far = _usage(self._told, self._requests, 0.0)
        if reason := used_up(self._call.budget, so_far, over=True):
            raise over_budget("claude", reason)


def _usage(counts: Counts, requests: int, cost: float | None) -> Usage:
    return Usage(counts.input, counts.output, counts.cache_read, requests, cost)


def _of_model(usage: JsonObject) -> Counts:
    return Counts(
        count(usage, "inputTokens") + count(usage, "cacheCreationInputTokens"),
        count(usage, "outputTokens"),
        count(usage, "cacheReadInputTokens"),
    )


def _cost(models: list[JsonObject]) -> float | None:
    """In USD; null when it is not known of any model."""
    costs = [usage.get("costUSD") for usage in models if usage.get("costBasis") != NOT_PRICED]
    known = [float(cost) for cost in costs if isinstance(cost, int | float)]
    return sum(known) if models and len(known) == len(models) else None


def _sum(a: Counts, b: Counts) -> Counts:
    return Counts(a.input + b.input, a.output + b.output, a.cache_read + b.cache_read)


def _rest(whole: Counts, part: Counts) -> Counts:
    return Counts(*(max(0, a - b) for a, b in zip(whole, part, strict=True)))


def count(usage: JsonObject, name: str) -> int:
    """A number of tokens; 0 when it is missing or null."""
    value = usage.get(name)
    return value if isinstance(value, int) else 0
