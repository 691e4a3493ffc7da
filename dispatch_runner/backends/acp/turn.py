"""One prompt of an agent that speaks the Agent Client Protocol: what it says, does and asks for."""

from dataclasses import dataclass
from typing import Any

import anyio

from dispatch_runner.backends.acp.policy import CANCELLED, Policy, permission
from dispatch_runner.backends.acp.spending import Spending
from dispatch_runner.backends.shared.spending import over_budget
from dispatch_runner.backends.shared.values import object_in, objects_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
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

    def __init__(
        self, call: AgentCall, program: str, policy: Policy, max_turns: int | None
    ) -> None:
        """
        Args:
            program: for messages.
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
        self._program = program
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
            message = f"the answer has more than {MOST_TEXT} characters"
            self._halt(AgentError(ErrorType.BAD_OUTPUT, message))

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
            self._halt(_unasked(use))

    # what it asks

    def on_request(self, method: str, params: JsonObject) -> JsonObject | None:
        answer = self._permission(params) if method == "session/request_permission" else None
        self._call.meter.pulse(working=bool(self._running))
        return answer

    def _permission(self, params: JsonObject) -> JsonObject:
        if self._session is None:
            return CANCELLED
        update = object_in(params.get("toolCall"))
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
            self._halt(over_budget(self._program, excess))

    def _halt(self, reason: AgentError) -> None:
        self.halted = self.halted or reason
        self.scope.cancel()


def _unasked(use: ToolUse) -> AgentError:
    return AgentError(
        ErrorType.PERMISSION_DENIED,
        f"the agent used {use.title!r} ({use.kind}), which it was not allowed to, and did not ask for"
        " leave",
        hint="make its program ask (by its own settings or a mode), or raise the agent's `access`",
    )


def _entries(entries: Any) -> list[str]:
    """What a plan says, one line an entry."""
    return [
        cut(f"{each.get('status')}: {each.get('content')}", TITLE_LIMIT)
        for each in objects_in(entries)[:MOST_ENTRIES]
    ]


def _bounded(value: Any) -> Any:
    """A tool's input, or its beginning and end as text."""
    import orjson

    text = orjson.dumps(value).decode()
    return value if len(text) <= INPUT_LIMIT else cut(text, INPUT_LIMIT)
