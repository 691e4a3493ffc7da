"""One prompt of an agent that speaks the Agent Client Protocol: what it says, does and consumes."""

from dataclasses import dataclass
from typing import Any

import anyio

from dispatch_runner.backends.acp_policy import CANCELLED, Policy, permission
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.process import cut
from dispatch_runner.protocols import AgentCall

MOST_TEXT = 16 * 1024 * 1024
"""Characters of an answer."""

INPUT_LIMIT = 2_000
"""Characters of a tool's input in the trace."""

TITLE_LIMIT = 200
MOST_ENTRIES = 50
"""Of a plan, in the trace."""


@dataclass(slots=True)
class ToolUse:
    """One call of a tool by the agent, as far as it was told."""

    title: str = "a tool"
    kind: str = "other"
    input: Any = None
    locations: Any = None
    """Of the files that it is about."""
    asked: bool = False
    """Whether leave was asked for it."""
    told: bool = False
    """Whether it is in the trace."""


class Turn:
    """Listens to an agent.

    Before `begin`, such as during the replay of an old session, what it says and does is not heeded.
    """

    def __init__(self, call: AgentCall, policy: Policy, max_turns: int | None) -> None:
        """
        Args:
            max_turns: most requests of the agent to its model, besides the budget's.
        """
        self.halted: AgentError | None = None
        """Why it must stop before it is done."""
        self.scope = anyio.CancelScope()
        """Cancelled when it must stop."""
        self.denied: list[str] = []
        """What it wanted to do and was not allowed to."""
        self.text = ""
        """The last that it said: after its last tool, unless it said nothing then."""
        self.policy = policy
        self._call = call
        self._spending = Spending(call.budget or Budget(), max_turns)
        self._session: str | None = None
        self._parts: list[str] = []
        self._length = 0
        self._uses: dict[str, ToolUse] = {}
        self._running: set[str] = set()

    def begin(self, session: str) -> None:
        """The prompt is sent now."""
        self._session = session
        self._spending.begin()

    def leave(self) -> None:
        """It is told to stop: nothing that it asks for is granted any more."""
        self._session = None

    def end(self, result: JsonObject | None) -> None:
        """The prompt is over; tells what it consumed.

        Args:
            result: what it was answered with, if it was.
        """
        self._close_text()
        usage = self._spending.total(result or {})
        if usage is not None:
            self._call.meter.spend(usage)

    # what the agent tells

    def on_notification(self, method: str, params: JsonObject) -> None:
        update = params.get("update")
        if method == "session/update" and isinstance(update, dict):
            self._take(update, params.get("sessionId"))
        self._call.meter.pulse(working=bool(self._running))

    def _take(self, update: JsonObject, session: Any) -> None:
        kind = update.get("sessionUpdate")
        if kind == "usage_update":
            self._heed(self._spending.update(update))
        if self._session is None or session != self._session:
            return
        if kind == "agent_message_chunk":
            self._heed(self._spending.model_speaks())
            self._say(update.get("content"))
        elif kind == "agent_thought_chunk":
            self._heed(self._spending.model_speaks())
        elif kind in {"tool_call", "tool_call_update"}:
            self._follow(update)
        elif kind == "plan":
            self._call.log.tell("plan", entries=_entries(update.get("entries")))

    def _say(self, content: Any) -> None:
        text = content.get("text") if isinstance(content, dict) else None
        if not isinstance(text, str):
            return
        self._parts.append(text)
        self._length += len(text)
        if self._length > MOST_TEXT:
            self._halt(ErrorType.BAD_OUTPUT, f"the answer has more than {MOST_TEXT} characters")

    def _close_text(self) -> None:
        """What was said until now belongs together; what comes is another message."""
        text = "".join(self._parts)
        self._parts.clear()
        if text.strip():
            self.text = text

    # what it does

    def _follow(self, update: JsonObject) -> None:
        number, status = str(update.get("toolCallId")), update.get("status")
        use = self._use(number, update)
        if not use.told and (use.input or status not in {None, "pending"}):
            self._tell(use)
        if status in {"completed", "failed"}:
            self._finish(number, use, update)
        elif use.told:
            self._running.add(number)

    def _use(self, number: str, update: JsonObject) -> ToolUse:
        """The call of a tool, with what is new of it."""
        if number not in self._uses:
            self._heed(self._spending.model_speaks())
            self._close_text()
        use = self._uses.setdefault(number, ToolUse())
        if isinstance(kind := update.get("kind"), str):
            use.kind = kind
        if isinstance(title := update.get("title"), str) and title and not use.told:
            use.title = cut(title, TITLE_LIMIT)
        use.input = update.get("rawInput") or use.input
        use.locations = update.get("locations") or use.locations
        return use

    def _tell(self, use: ToolUse) -> None:
        use.told = True
        self._call.log.tell("tool", name=use.title, kind=use.kind, input=_bounded(use.input))

    def _finish(self, number: str, use: ToolUse, update: JsonObject) -> None:
        self._running.discard(number)
        self._spending.tool_ended()
        failed = update.get("status") == "failed"
        self._call.log.tell("tool_ended", name=use.title, failed=failed)
        if use.asked or not self.policy.forbids(use.kind, use.locations):
            return
        if failed:  # its own mode or settings refused it
            self.denied.append(use.title)
        else:
            self._halt(
                ErrorType.PERMISSION_DENIED,
                f"the agent used {use.title!r} ({use.kind}), which it was not allowed to,"
                " and did not ask for leave",
                "make its program ask (by its own settings or a mode), or raise the agent's `access`",
            )

    # what it asks

    def on_request(self, method: str, params: JsonObject) -> JsonObject | None:
        answer = self._permission(params) if method == "session/request_permission" else None
        self._call.meter.pulse(working=bool(self._running))
        return answer

    def _permission(self, params: JsonObject) -> JsonObject:
        if self._session is None:
            return CANCELLED
        told = params.get("toolCall")
        update = told if isinstance(told, dict) else {}
        number = str(update.get("toolCallId"))
        use = self._use(number, update)
        use.asked = True
        granted = self.policy.permits(use.kind, use.locations)
        if not use.told:
            self._tell(use)
        self._call.log.tell("permission", name=use.title, kind=use.kind, granted=granted)
        if granted:
            self._running.add(number)
        else:
            self._running.discard(number)
            if use.kind != "switch_mode":
                self.denied.append(use.title)
        return permission(params.get("options"), granted)

    def _heed(self, excess: str | None) -> None:
        if excess:
            self._halt(ErrorType.BUDGET_EXCEEDED, excess, "raise the budget, or ask for less")

    def _halt(self, kind: ErrorType, message: str, hint: str | None = None) -> None:
        self.halted = self.halted or AgentError(kind, message, hint=hint)
        self.scope.cancel()


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
            self._cost = _number(cost.get("amount"))
        if not self._began:
            return None
        # the context is sent with each request: at least so many tokens were consumed
        context = _count(update.get("used"))
        if self._budget.tokens is not None and (context or 0) >= self._budget.tokens:
            return f"the agent's context of {context} tokens exceeds its budget"
        spent = self._spent()
        if self._budget.cost_usd is not None and (spent or 0.0) > self._budget.cost_usd:
            return f"the agent spent {spent:.2f} USD, more than its budget"
        return None

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
    usage = _dig(result, "usage")
    keys = ("inputTokens", "cachedWriteTokens", "outputTokens", "thoughtTokens")
    given, written, output, thought = (_count(usage.get(key)) or 0 for key in keys)
    cached = _count(usage.get("cachedReadTokens"))
    together = given + written + output + thought + (cached or 0)
    if thought and together == _count(usage.get("totalTokens")):  # else output includes it
        output += thought
    if not given + written + output:  # Gemini's own way
        usage = _dig(result, "_meta", "quota", "token_count")
        given, output = (_count(usage.get(key)) or 0 for key in ("input_tokens", "output_tokens"))
    return (given + written, output, cached) if given + written + output else None


def _dig(value: Any, *keys: str) -> JsonObject:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: Any) -> float | None:
    """A finite number that is not negative, or null."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < float("inf") else None


def _entries(entries: Any) -> list[str]:
    """What a plan says, one line an entry."""
    known = (
        [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    )
    return [
        cut(f"{each.get('status')}: {each.get('content')}", TITLE_LIMIT)
        for each in known[:MOST_ENTRIES]
    ]


def _bounded(value: Any) -> Any:
    """A tool's input, or its beginning and end as text."""
    import orjson

    text = orjson.dumps(value).decode()
    return value if len(text) <= INPUT_LIMIT else cut(text, INPUT_LIMIT)
