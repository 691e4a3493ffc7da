"""One turn of Codex: what its events and its record say, and what that amounts to."""

import re
from contextlib import suppress
from typing import Any

from dispatch_runner.backends.codex.record import (
    Called,
    Ended,
    Entry,
    Model,
    Returned,
    SessionRecord,
    Tokens,
    tokens_of,
)
from dispatch_runner.backends.shared.failures import provider_failure
from dispatch_runner.backends.shared.outcomes import crashed, denied, unreadable
from dispatch_runner.backends.shared.programs import evidence
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.process import Completed, cut
from dispatch_runner.protocols import AgentCall

INPUT_LIMIT = 500
"""Characters of a tool's input in the trace."""

_NETWORK = ("waiting for network", "Connection failed", "lookup address", "error sending request")
_REFUSED = re.compile(r"\((?P<said>.*\bstatus:? 40[13]\b.*)\)")
_TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "web_search"})
_INFO = {
    "usage_limit_exceeded": 429,
    "server_overloaded": 503,
    "internal_server_error": 500,
    "unauthorized": 401,
    "context_window_exceeded": 400,
    "bad_request": 400,
}
"""Status of the provider for the kinds of error that Codex names."""


class Turn:
    """Of one run of the program. `event` is called with what it prints, `look` from time to time."""

    def __init__(
        self,
        call: AgentCall,
        program: str,
        record: SessionRecord,
        spending: Spending,
        *,
        resumed: bool,
    ) -> None:
        self.session: str | None = None
        self.text = ""
        """The last thing that the agent said."""
        self.warnings: list[str] = []
        self._call = call
        self._program = program
        self._record = record
        self._spending = spending
        self._resumed = resumed
        self._begun = False
        """Whether a request was made of which the consumption is not known."""
        self._completed: JsonObject | None = None
        """What was consumed, once the turn is complete."""
        self._said = ""
        """The last error."""
        self._failed = False
        self._info: Any = None
        self._denied: list[str] = []
        self._at_work = 0
        """Tools that run now."""
        self._asked_for_tools = False
        """In the answer of which the consumption is not known yet."""

    def event(self, event: JsonObject) -> None:
        """Raises `AgentError` when the program must be stopped."""
        self.look()
        match event.get("type"):
            case "thread.started":
                self._started(event)
            case "turn.started":
                self._begun = True
            case "item.started":
                self._item(event.get("item", {}), begins=True)
            case "item.completed":
                self._item(event.get("item", {}), begins=False)
            case "turn.completed":
                self._completed = event.get("usage") or {}
            case "turn.failed":
                self._failed = True
                self._error((event.get("error") or {}).get("message"))
            case "error":
                self._error(event.get("message"))
            case _:
                pass
        self._call.meter.pulse(working=self._at_work > 0)

    def look(self) -> None:
        """Takes what was added to the record. Raises `AgentError` for a budget that is used up."""
        if self.session is not None:
            self._record.find(self.session)
        for entry in self._record.entries():
            self._enter(entry)
            self._call.meter.pulse(working=self._at_work > 0)

    def settle(self) -> None:
        """Counts what the record has not said. The program has ended."""
        with suppress(AgentError):  # it has ended already
            self.look()
        if self._begun and not (self._completed or self._failed or self._at_work):
            self._spending.told(Usage(requests=1))
        if self._spending.requests or self._completed is None:
            return
        with suppress(KeyError):
            # resumed, it tells the sum of the whole session
            if self._resumed:
                self._spending.told(Usage())
            else:
                self._spending.total(*tokens_of(self._completed))

    def check(self, completed: Completed) -> None:
        """Raises `AgentError` unless the turn came to a good end."""
        if self._failed or (completed.returncode != 0 and self._said):
            raise self._failure(evidence(completed))
        if completed.returncode != 0:
            raise crashed(self._program, completed, session=self.session)
        if self._completed is None:
            raise unreadable(self._program, completed)
        if self._denied:
            raise denied(self._program, self._denied, self.session)
        if not self.text.strip():
            raise AgentError(
                ErrorType.UNVERIFIED,
                f"{self._program!r} ended without an answer: it had nothing to say, or its model refused",
                hint="Codex does not tell the two apart; say it in another way",
                session=self.session,
            )

    def _started(self, event: JsonObject) -> None:
        self.session = str(event.get("thread_id"))
        self._record.find(self.session)
        self._call.log.tell("session", session=self.session)

    def _item(self, item: JsonObject, *, begins: bool) -> None:
        kind = item.get("type")
        if kind == "agent_message" and not begins:
            self.text = str(item.get("text", ""))
        elif kind == "error" and not begins:
            self.warnings.append(cut(str(item.get("message", "")), INPUT_LIMIT))
        elif kind in _TOOLS and not self._record:
            self._tool(item, begins=begins)

    def _tool(self, item: JsonObject, *, begins: bool) -> None:
        """By the event, where there is no record."""
        if begins:
            self._calls(str(item["type"]), item.get("command") or item.get("changes") or item)
        else:
            self._at_work = max(0, self._at_work - 1)
            if item.get("status") == "declined":
                self._denied.append(str(item.get("command") or item.get("type")))

    def _enter(self, entry: Entry) -> None:
        match entry:
            case Tokens(input_, output, cached):
                self._spending.request(input_, output, cached)
                if self._asked_for_tools:
                    self._asked_for_tools = False
                    self._spending.goes_on()
            case Called(name, given):
                self._asked_for_tools = True
                self._calls(name, given)
            case Returned(refused):
                self._at_work = max(0, self._at_work - 1)
                if refused is not None:
                    self._denied.append(refused)
            case Model(name):
                if name != self._spending.model:
                    self._call.log.tell("model", model=name)
                self._spending.model = name
            case Ended(info):
                self._info = info

    def _calls(self, name: str, given: Any) -> None:
        self._at_work += 1
        self._call.log.tell("tool", tool=name, input=cut(str(given), INPUT_LIMIT))

    def _error(self, message: Any) -> None:
        self._said = str(message or "an error without a message")
        if any(words in self._said for words in _NETWORK):
            self._failed = True  # nothing was consumed; it would wait for the network without end
            raise provider_failure(self._program, self._said, session=self.session)
        if self._said.startswith("Reconnecting"):
            self._call.log.tell("retry", reason=cut(self._said, INPUT_LIMIT))
            if refused := _REFUSED.search(self._said):
                self._failed = True  # it would ask five times more with a key that is refused
                raise provider_failure(self._program, refused["said"], session=self.session)
            if "429" in self._said:
                self._call.meter.throttled()

    def _failure(self, details: JsonObject) -> AgentError:
        status, exhausted = _status(self._info), self._info == "usage_limit_exceeded"
        if "max_output_tokens" in self._said:
            return AgentError(
                ErrorType.BUDGET_EXCEEDED,
                f"{self._program!r} reports: {cut(self._said, INPUT_LIMIT)}",
                hint="the answer is longer than the model may give: ask for less at once",
                details=details,
                session=self.session,
            )
        return provider_failure(
            self._program,
            _plain(self._said),
            status=status,
            exhausted=exhausted,
            details=details,
            session=self.session,
        )


def _status(info: Any) -> int | None:
    """The provider's status, from what Codex says of an error."""
    if isinstance(info, str):
        return _INFO.get(info)
    if isinstance(info, dict):
        for value in info.values():
            if isinstance(value, dict) and isinstance(value.get("http_status_code"), int):
                return int(value["http_status_code"])
    return None


def _plain(said: str) -> str:
    """The provider's sentence, where its whole answer was passed on."""
    import orjson

    try:
        return str(orjson.loads(said)["error"]["message"]) + " (invalid_request)"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return said
