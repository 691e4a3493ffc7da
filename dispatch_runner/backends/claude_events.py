"""What Claude Code prints while it works: what it does, what it consumes, and how it ended."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dispatch_runner.models import JsonObject, Usage
from dispatch_runner.protocols import AgentCall

EXCERPT = 500
"""Characters of a tool's input in the trace."""

OUTPUT_TOOL = "StructuredOutput"
"""How the program has its model give an answer by schema: no tool that works."""

NOT_PRICED = "unknown"
"""`costBasis` of a model whose price the program does not know: its cost is made up."""


class ApiFailure(NamedTuple):
    """Why the program gave up asking its provider. Empty texts and null: it did not say."""

    error: str = ""
    """Its own word for it, such as `rate_limit`."""
    detail: str = ""
    """Its word for the finer cause, such as `connection_failed`."""


class ClaudeRun:
    """Reads the events of one run. Tells the call's meter and log as they come."""

    def __init__(
        self, call: AgentCall, over_budget: Callable[[str], None], *, resumed: bool
    ) -> None:
        """
        Args:
            call: for which the program runs.
            over_budget: called with what the run consumed above what the call may.
            resumed: an earlier session goes on: some sums of the result are those of the session.
        """
        self.result: JsonObject | None = None
        """The event that ends the run, where there was one."""
        self.session: str | None = None
        """By which it can be continued; null when it is not kept."""
        self.api_failure = ApiFailure()
        self.quota_resets_at: float | None = None
        """Seconds since 1970."""
        self.quota_used_up = False
        self.retry_after: float | None = None
        """Seconds that the program waited before it asked its provider again, the last time."""
        self._call = call
        self._tally = Tally(call, over_budget)
        self._resumed = resumed
        self._open_tools: set[str] = set()

    def on_event(self, event: JsonObject) -> None:
        """Takes the next event."""
        reader = READERS.get(str(event.get("type")))
        if reader is not None:
            reader(self, event)
        self._call.meter.pulse(working=bool(self._open_tools))

    def settle(self) -> None:
        """The program has ended: what it consumed is told in full, its cost if it is known."""
        self._tally.settle(self.result, resumed=self._resumed)

    def _system(self, event: JsonObject) -> None:
        subtype = event.get("subtype")
        if subtype == "init":
            self._keep_session(event)
            self._call.log.tell(
                "session",
                session=event.get("session_id"),
                model=event.get("model"),
                version=event.get("claude_code_version"),
                tools=event.get("tools"),
            )
        elif subtype == "api_retry":
            self._retry(event)
        elif subtype == "permission_denied":
            self._call.log.tell("denied", tool=event.get("tool_name"))

    def _keep_session(self, event: JsonObject) -> None:
        session = event.get("session_id")
        if isinstance(session, str) and self._call.output_prefix is not None:
            self.session = session

    def _retry(self, event: JsonObject) -> None:
        status, delay = event.get("error_status"), event.get("retry_delay_ms")
        self.retry_after = delay / 1000 if isinstance(delay, int | float) else None
        self._call.log.tell(
            "retry", status=status, error=event.get("error"), delay_seconds=self.retry_after
        )
        if status in {429, 529}:
            self._call.meter.throttled(self.retry_after)

    def _rate_limit(self, event: JsonObject) -> None:
        info = mapping(event.get("rate_limit_info"))
        self.quota_used_up = info.get("status") == "rejected"
        resets_at = info.get("resetsAt")
        self.quota_resets_at = float(resets_at) if isinstance(resets_at, int | float) else None
        self._call.log.tell(
            "rate_limit",
            status=info.get("status"),
            kind=info.get("rateLimitType"),
            resets_at=self.quota_resets_at,
        )

    def _stream_event(self, event: JsonObject) -> None:
        inner = mapping(event.get("event"))
        if inner.get("type") == "message_start":
            self._tally.message(mapping(inner.get("message")))
        elif inner.get("type") == "message_delta":
            self._tally.more(mapping(inner.get("usage")))

    def _assistant(self, event: JsonObject) -> None:
        message = mapping(event.get("message"))
        if event.get("is_api_error_message") or event.get("error"):
            self.api_failure = ApiFailure(
                str(event.get("error") or ""), str(event.get("api_error") or "")
            )
            return
        self._tally.message(message)
        for block in blocks(message):
            if block.get("type") == "tool_use" and block.get("name") != OUTPUT_TOOL:
                self._open_tools.add(str(block.get("id")))
                self._call.log.tell(
                    "tool", tool=block.get("name"), input=excerpt(block.get("input"))
                )

    def _user(self, event: JsonObject) -> None:
        for block in blocks(mapping(event.get("message"))):
            if block.get("type") == "tool_result":
                self._open_tools.discard(str(block.get("tool_use_id")))
                if block.get("is_error"):
                    self._call.log.tell("tool_failed", message=excerpt(block.get("content")))

    def _end(self, event: JsonObject) -> None:
        self.result = event
        self._keep_session(event)
        self._open_tools.clear()
        self._call.log.tell(
            "end",
            subtype=event.get("subtype"),
            is_error=event.get("is_error"),
            reason=event.get("terminal_reason"),
            turns=event.get("num_turns"),
            cost_usd=event.get("total_cost_usd"),
        )


READERS: Mapping[str, Callable[[ClaudeRun, JsonObject], None]] = {
    "system": ClaudeRun._system,
    "rate_limit_event": ClaudeRun._rate_limit,
    "stream_event": ClaudeRun._stream_event,
    "assistant": ClaudeRun._assistant,
    "user": ClaudeRun._user,
    "result": ClaudeRun._end,
}


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

    def __init__(self, call: AgentCall, over_budget: Callable[[str], None]) -> None:
        self._call = call
        self._over_budget = over_budget
        self._messages: dict[str, Counts] = {}
        self._current = ""
        self._told = Counts()
        self._requests = 0

    def message(self, message: JsonObject) -> None:
        """A message of the model begins, or is repeated with what is known of it by now."""
        self._current = str(message.get("id"))
        if self._current not in self._messages:
            self._messages[self._current] = Counts()
            self._requests += 1
            self._spend(Counts(), requests=1)
        self.more(mapping(message.get("usage")))

    def more(self, usage: JsonObject) -> None:
        """What the message that is being received consumed so far."""
        before = self._messages.get(self._current)
        if before is None:
            return
        now = Counts(
            count(usage, "input_tokens") + count(usage, "cache_creation_input_tokens"),
            count(usage, "output_tokens"),
            count(usage, "cache_read_input_tokens"),
        )
        growth = Counts(*(max(0, new - old) for new, old in zip(now, before, strict=True)))
        if any(growth):
            self._messages[self._current] = _sum(before, growth)
            self._spend(growth)

    def settle(self, result: JsonObject | None, *, resumed: bool) -> None:
        """Tells what the result says above what was told, and the cost."""
        models = _per_model(result or {}, resumed=resumed)
        total = Counts()
        for usage in models:
            total = _sum(total, _of_model(usage))
        rest = Counts(*(max(0, new - old) for new, old in zip(total, self._told, strict=True)))
        if self._requests or any(total):
            self._call.meter.spend(_usage(rest, 0, _cost(models)))

    def _spend(self, counts: Counts, requests: int = 0) -> None:
        self._told = _sum(self._told, counts)
        self._call.meter.spend(_usage(counts, requests, 0.0))
        budget = self._call.budget
        if budget is None:
            return
        tokens = self._told.input + self._told.output
        if budget.tokens is not None and tokens > budget.tokens:
            self._over_budget(f"{tokens} tokens, more than the {budget.tokens} that it may")
        if budget.requests is not None and self._requests > budget.requests:
            self._over_budget(f"{self._requests} requests of the {budget.requests} that it may")


def _usage(counts: Counts, requests: int, cost: float | None) -> Usage:
    return Usage(counts.input, counts.output, counts.cache_read, requests, cost)


def _per_model(result: JsonObject, *, resumed: bool) -> list[JsonObject]:
    """The usage of each model in this run, sub-agents included; empty when it is not known."""
    sums = result.get("model_usage_since_last_result")
    if sums is None and not resumed:  # of the whole session
        sums = result.get("modelUsage")
    return [mapping(usage) for usage in mapping(sums).values()]


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


def count(usage: JsonObject, name: str) -> int:
    """A number of tokens; 0 when it is missing or null."""
    value = usage.get(name)
    return value if isinstance(value, int) else 0


def blocks(message: JsonObject) -> list[JsonObject]:
    """The content blocks of a message."""
    content = message.get("content")
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []


def excerpt(value: Any) -> str:
    """A value for the trace: its JSON, cut."""
    import orjson

    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"


def mapping(value: Any) -> JsonObject:
    """The value if it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}
