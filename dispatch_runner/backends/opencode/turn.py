"""One turn of opencode: what its events and its log say, and what that amounts to."""

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from dispatch_runner.backends.shared.failures import provider_failure
from dispatch_runner.backends.shared.following import Tail
from dispatch_runner.backends.shared.outcomes import crashed, denied, unreadable
from dispatch_runner.backends.shared.programs import TAIL_LIMIT, evidence
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.process import Completed, cut
from dispatch_runner.protocols import AgentCall

INPUT_LIMIT = 500
"""Characters of a tool's input in the trace."""
PROVIDER_FAILED = {ErrorType.RATE_LIMITED, ErrorType.OVERLOADED, ErrorType.UNAVAILABLE}
"""It would try again for a minute and more; the dispatcher does that."""
MOST_EMPTY_STEPS = 3
"""It asks again without end when it cannot make sense of the provider's answers."""

PERMISSIONS = {
    "apply_patch": "edit", "bash": "bash", "edit": "edit", "patch": "edit", "task": "task",
    "webfetch": "webfetch", "websearch": "websearch", "write": "edit",
}  # fmt: skip
"""Of tools that are not offered when the permission is denied."""

_STREAM_ERROR = re.compile(rb'message="stream error".* small=false .*error\.error="(.*)"')
_DENIED = re.compile(r"(?i)rejected permission|a rule which prevents|permission denied by")


class Turn:
    """Of one run of the program. `event` is called with what it prints, `look` from time to time."""

    def __init__(
        self,
        call: AgentCall,
        program: str,
        log: Path | None,
        spending: Spending,
        allowed: Collection[str],
    ) -> None:
        """
        Args:
            log: where its stderr goes, with its log of errors; null: it cannot be read.
            allowed: the permissions that it has.
        """
        self.session: str | None = None
        self.text = ""
        """All that the agent said since it last used a tool."""
        self._call = call
        self._program = program
        self._tail = Tail(log) if log else None
        self._spending = spending
        self._allowed = allowed
        self._open = False
        """Whether a step has begun of which the consumption is not known."""
        self._reason = ""
        """Why the last step ended."""
        self._empty_steps = 0
        self._failures = 0
        """Requests that failed, by its log."""
        self._error: JsonObject | None = None
        self._denied: list[str] = []

    def event(self, event: JsonObject) -> None:
        """Raises `AgentError` when the program must be stopped."""
        part = event.get("part") or {}
        if self.session is None and event.get("sessionID"):
            self.session = str(event["sessionID"])
            self._call.log.tell("session", session=self.session)
        match event.get("type"):
            case "step_start":
                self._open = True
                self._call.meter.pulse(working=True)  # it tells of tools only when they have ended
                return
            case "text":
                self.text += str(part.get("text", ""))
            case "tool_use":
                self._used(part)
            case "step_finish":
                self._finished(part)
            case "error":
                self._error = event.get("error") or {}
            case _:
                pass
        self._call.meter.pulse(working=self._open)

    def look(self) -> None:
        """Reads its log. Raises `AgentError` for a failure of the provider that it would try to outlast."""
        for line in self._tail.lines() if self._tail else ():
            if found := _STREAM_ERROR.search(line):
                self._failing(found[1].decode(errors="replace"))

    def settle(self) -> None:
        """Counts what it has not told. The program has ended."""
        if self._open:
            self._spending.told(Usage(requests=1))

    def check(self, completed: Completed) -> None:
        """Raises `AgentError` unless the turn came to a good end."""
        if self._error is not None:
            raise self._failure(self._error, evidence(completed))
        if completed.returncode != 0:
            raise self._ended_badly(completed)
        if self._denied:
            raise denied(self._program, self._denied, self.session)
        if not self._reason:
            raise unreadable(self._program, completed)
        self._require_end()

    def _require_end(self) -> None:
        if self._reason == "length":
            raise AgentError(
                ErrorType.BUDGET_EXCEEDED,
                f"{self._program!r} ended in the middle: its model reached its limit of output",
                hint="ask for less at once",
                session=self.session,
            )
        if self._reason == "content-filter" or not self.text.strip():
            raise AgentError(
                ErrorType.UNVERIFIED,
                f"{self._program!r} ended without an answer: it had nothing to say, or its model refused",
                hint="say it in another way, or use another model",
                session=self.session,
            )
        if self._reason != "stop":
            raise AgentError(
                ErrorType.UNVERIFIED,
                f"{self._program!r} ended in the middle: its last step ended with '{self._reason}'",
                session=self.session,
            )

    def _used(self, part: JsonObject) -> None:
        self.text = ""
        name, state = str(part.get("tool")), part.get("state") or {}
        given = cut(str(state.get("input")), INPUT_LIMIT)
        self._call.log.tell("tool", tool=name, input=given, status=state.get("status"))
        said = cut(str(state.get("error", "")), INPUT_LIMIT)
        missing = "unavailable tool" in said and PERMISSIONS.get(name, "") not in {
            "",
            *self._allowed,
        }
        if missing or _DENIED.search(said):
            self._denied.append(f"{name}: {said}")

    def _finished(self, part: JsonObject) -> None:
        self._open = False
        self._reason = str(part.get("reason"))
        tokens = part.get("tokens") or {}
        if not any(tokens.get(kind) for kind in ("input", "output")):
            self._empty_step()
            return
        self._empty_steps = 0
        cache: dict[str, Any] = tokens.get("cache") or {}
        self._spending.request(
            tokens.get("input", 0) + cache.get("write", 0),
            tokens.get("output", 0) + tokens.get("reasoning", 0),
            cache.get("read", 0),
            cost_usd=part.get("cost") or None,  # it says 0 when it does not know
        )
        if self._reason == "tool-calls":
            self._spending.goes_on()

    def _empty_step(self) -> None:
        self._empty_steps += 1
        if self._empty_steps >= MOST_EMPTY_STEPS:
            raise AgentError(
                ErrorType.BAD_OUTPUT,
                f"{self._program!r} cannot make sense of what its provider answers",
                hint="check base_url, and that the provider speaks the protocol of the model",
                session=self.session,
            )

    def _failing(self, said: str) -> None:
        """It tries again by itself, unless it ends now: then its event says more than its log."""
        self._call.log.tell("provider_error", message=cut(said, INPUT_LIMIT))
        failure = provider_failure(self._program, said, session=self.session)
        self._failures += 1
        if failure.type in PROVIDER_FAILED:
            raise failure
        if self._failures > 1:
            if failure.type is ErrorType.CRASHED:  # what it tries again is for the provider to mend
                failure.type, failure.retryable = ErrorType.OVERLOADED, True
            raise failure

    def _failure(self, error: JsonObject, details: JsonObject) -> AgentError:
        data = error.get("data") or {}
        said = str(data.get("message") or error.get("name") or "")
        status = data.get("statusCode")
        failure = provider_failure(
            self._program,
            said,
            status=status if isinstance(status, int) else None,
            details=details,
            session=self.session,
        )
        headers = data.get("responseHeaders") or {}
        with suppress(KeyError, ValueError):
            failure.retry_after = float(headers["retry-after"])
        return failure

    def _ended_badly(self, completed: Completed) -> AgentError:
        said = completed.stderr.tail(TAIL_LIMIT)
        if "Failed query" in said or "database is locked" in said:
            return AgentError(
                ErrorType.UNAVAILABLE,
                f"{self._program!r} could not open its database, which others use at the same time",
                hint="start opencode once before several of them run at once: that makes the database",
                details=evidence(completed),
                retry_after=1.0,
            )
        return crashed(self._program, completed, session=self.session)
