"""What Claude Code prints while it works: what it does, what it consumes, and how it ended."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dispatch_runner.backends.claude_code.usage import Tally
from dispatch_runner.backends.shared.values import object_in, objects_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.protocols import AgentCall

LONGEST_WAIT_SECONDS = 60.0
"""A longer wait for the provider is made by the dispatcher, where the task holds up nobody else."""

EXCERPT = 500
"""Characters of a tool's input in the trace."""

OUTPUT_TOOL = "StructuredOutput"
"""How the program has its model give an answer by schema: no tool that works."""


SHUT_OFF = re.compile(r"No such tool available: (?P<tool>\w+)\. \w+ is disabled")


class ApiFailure(NamedTuple):
    """Why the program gave up asking its provider. An empty text: it did not say."""

    error: str = ""
    """Its own word for it, such as `rate_limit`."""
    detail: str = ""
    """Its word for the finer cause, such as `connection_failed`."""


class ClaudeRun:
    """Reads the events of one run. Tells the call's meter and log as they come."""

    def __init__(self, call: AgentCall, *, resumed: bool) -> None:
        """
        Args:
            call: for which the program runs.
            resumed: an earlier session goes on: some sums of the result are those of the session.
        """
        self.result: JsonObject | None = None
        """The event that ended the run, or its last turn so far."""
        self.session: str | None = None
        """By which it can be continued; null when it is not kept."""
        self.api_failure = ApiFailure()
        self.quota_resets_at: float | None = None
        """Seconds since 1970."""
        self.quota_used_up = False
        self.shut_off: list[str] = []
        """Tools that it tried and that the access does not give it at all."""
        self.retry_after: float | None = None
        """Seconds that the program waited before it asked its provider again, the last time."""
        self._call = call
        self._tally = Tally(call)
        self._resumed = resumed
        self._streamed = ""
        """Id of the message that is being received; those of sub-agents come whole."""
        self._open_tools: set[str] = set()

    def on_event(self, event: JsonObject) -> None:
        """Takes the next event. Raises `AgentError` when the run consumed more than the call may."""
        reader = READERS.get(str(event.get("type")))
        if reader is not None:
            reader(self, event)
        self._call.meter.pulse(working=bool(self._open_tools))

    def settle(self) -> None:
        """The program has ended: what it consumed is told in full, its cost if it is known."""
        self._tally.settle()

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
        if status not in {429, 529}:
            return
        self._call.meter.throttled(self.retry_after)
        if self.retry_after is not None and self.retry_after > LONGEST_WAIT_SECONDS:
            raise AgentError(
                ErrorType.RATE_LIMITED if status == 429 else ErrorType.OVERLOADED,
                f"claude was told to wait for {self.retry_after:.0f} s before it asks again",
                hint="run fewer tasks of this provider at once",
                details={"api_error_status": status},
                retry_after=self.retry_after,
                session=self.session,
            )

    def _rate_limit(self, event: JsonObject) -> None:
        info = object_in(event, "rate_limit_info")
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
        inner = object_in(event, "event")
        if inner.get("type") == "message_start":
            message = object_in(inner, "message")
            self._streamed = str(message.get("id"))
            self._tally.message(self._streamed, object_in(message, "usage"))
        elif inner.get("type") == "message_delta":
            self._tally.message(self._streamed, object_in(inner, "usage"))

    def _assistant(self, event: JsonObject) -> None:
        message = object_in(event, "message")
        if event.get("is_api_error_message") or event.get("error"):
            self.api_failure = ApiFailure(
                str(event.get("error") or ""), str(event.get("api_error") or "")
            )
            return
        self._tally.message(str(message.get("id")), object_in(message, "usage"))
        for block in objects_in(message.get("content")):
            if block.get("type") == "tool_use" and block.get("name") != OUTPUT_TOOL:
                self._open_tools.add(str(block.get("id")))
                self._call.log.tell(
                    "tool", tool=block.get("name"), input=excerpt(block.get("input"))
                )

    def _user(self, event: JsonObject) -> None:
        for block in objects_in(object_in(event, "message").get("content")):
            if block.get("type") == "tool_result":
                self._open_tools.discard(str(block.get("tool_use_id")))
                if block.get("is_error"):
                    said = excerpt(block.get("content"))
                    self._call.log.tell("tool_failed", message=said)
                    if found := SHUT_OFF.search(said):
                        self.shut_off.append(found["tool"])

    def _end(self, event: JsonObject) -> None:
        self.result = event
        self._tally.result(event, resumed=self._resumed)
        self._keep_session(event)
        self._open_tools.clear()
        self._call.log.tell(
            "end",
            subtype=event.get("subtype"),
            is_error=event.get("is_error"),
            reason=event.get("terminal_reason"),
            turns=event.get("num_turns"),
        )


READERS: Mapping[str, Callable[[ClaudeRun, JsonObject], None]] = {
    "system": ClaudeRun._system,
    "rate_limit_event": ClaudeRun._rate_limit,
    "stream_event": ClaudeRun._stream_event,
    "assistant": ClaudeRun._assistant,
    "user": ClaudeRun._user,
    "result": ClaudeRun._end,
}


def excerpt(value: Any) -> str:
    """A value for the trace: its JSON, cut."""
    import orjson

    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"
