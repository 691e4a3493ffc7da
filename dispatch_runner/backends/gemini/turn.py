"""One turn of Gemini CLI: what its events say, what it writes down, and what that amounts to."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dispatch_runner.backends.shared.failures import provider_failure
from dispatch_runner.backends.shared.following import Tail
from dispatch_runner.backends.shared.outcomes import crashed, denied, unreadable
from dispatch_runner.backends.shared.programs import evidence
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.process import Completed, cut
from dispatch_runner.protocols import AgentCall

INPUT_LIMIT = 500
"""Characters of a tool's input in the trace."""
NOT_OFFERED = frozenset({"replace", "run_shell_command", "web_fetch", "write_file"})
"""Tools that are not there when the access does not allow them."""
UNTRUSTED = 55
TURN_LIMIT = 53
STATUSES = range(400, 512)
"""Of the provider: the exit code is one of these modulo 256."""
KINDS = {41: ErrorType.AUTH, 42: ErrorType.INVALID_INPUT, 52: ErrorType.INVALID_INPUT}
"""Of other exit codes."""

_DENIED = re.compile(
    r"(?i)not in workspace|denied by policy|requires? (?:user )?(?:confirmation|approval)"
)
_REFUSED = re.compile(r"(?i)blocked|safety|prohibited|recitation")
_MESSAGE = re.compile(r'"message":\s*"((?:[^"\\]|\\.)+)"')


class Turn:
    """Of one run of the program. `event` is called with what it prints, `look` from time to time."""

    def __init__(self, call: AgentCall, program: str, home: Path, spending: Spending) -> None:
        """
        Args:
            home: the folder in which Gemini CLI writes its sessions down.
        """
        self.text = ""
        """All that the agent said since it last used a tool."""
        self.warnings: list[str] = []
        self._call = call
        self._program = program
        self._home = home
        self._spending = spending
        self._tail: Tail | None = None
        self._session: str | None = None
        self._counted: set[str] = set()
        """Messages of the session, which are written down more than once."""
        self._result: JsonObject | None = None
        self._said = ""
        """The last error."""
        self._denied: list[str] = []
        self._tools: dict[str, str] = {}
        """Tools that run now, by the identifier of their call."""

    def event(self, event: JsonObject) -> None:
        """Raises `AgentError` when the program must be stopped."""
        self.look()
        match event.get("type"):
            case "init":
                self._started(event)
            case "message" if event.get("role") == "assistant":
                self.text += str(event.get("content", ""))
            case "tool_use":
                self._uses(event)
            case "tool_result":
                self._returned(event)
            case "error":
                self._error(event)
            case "result":
                self._result = event
            case _:
                pass
        self._call.meter.pulse(working=bool(self._tools))

    def look(self) -> None:
        """Counts the requests that were written down."""
        if self._tail is None and self._session is not None:
            pattern = f"tmp/*/chats/session-*{self._session[:8]}*"
            found = next(self._home.glob(pattern), None)
            self._tail = Tail(found) if found else None
        for identifier, tokens in self._written():
            if identifier not in self._counted:
                self._counted.add(identifier)
                self._spending.request(
                    tokens["input"] - tokens.get("cached", 0) + tokens.get("tool", 0),
                    tokens["output"] + tokens.get("thoughts", 0),
                    tokens.get("cached", 0),
                )

    def settle(self) -> None:
        """Counts what was not written down. The program has ended."""
        self.look()
        if self._spending.requests or self._session is None:
            return
        models = ((self._result or {}).get("stats") or {}).get("models") or {}
        for model, used in models.items():
            if used.get("total_tokens"):
                self._spending.model = model
                cached = used.get("cached", 0)
                self._spending.total(used["input_tokens"] - cached, used["output_tokens"], cached)
        if self._result is None:
            self._spending.told(Usage(requests=1))

    def check(self, completed: Completed) -> None:
        """Raises `AgentError` unless the turn came to a good end."""
        if self._result is None:
            raise self._no_result(completed)
        if completed.returncode != 0 or self._result.get("status") != "success":
            raise self._failure(self._result, completed)
        if self._denied:
            raise denied(self._program, self._denied)

    def _started(self, event: JsonObject) -> None:
        self._session = str(event.get("session_id"))
        self._call.log.tell("session", session=self._session, model=event.get("model"))

    def _uses(self, event: JsonObject) -> None:
        name = str(event.get("tool_name"))
        self.text = ""
        self._tools[str(event.get("tool_id"))] = name
        given = cut(str(event.get("parameters")), INPUT_LIMIT)
        self._call.log.tell("tool", tool=name, input=given)

    def _returned(self, event: JsonObject) -> None:
        name = self._tools.pop(str(event.get("tool_id")), "")
        error = event.get("error") or {}
        said = str(error.get("message", ""))
        missing = error.get("type") == "tool_not_registered" and name in NOT_OFFERED
        if missing or _DENIED.search(said):
            self._denied.append(f"{name}: {said}")
        self._spending.goes_on()

    def _error(self, event: JsonObject) -> None:
        said = cut(str(event.get("message", "")), INPUT_LIMIT)
        if event.get("severity") == "warning":
            self.warnings.append(said)
        else:
            self._said = said

    def _written(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import orjson

        for line in self._tail.lines() if self._tail else ():
            if b'"tokens":{' not in line:
                continue
            try:
                message = orjson.loads(line)
                self._spending.model = message.get("model")
                yield str(message["id"]), message["tokens"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                continue  # of another version

    def _failure(self, result: JsonObject, completed: Completed) -> AgentError:
        error = result.get("error") or {}
        said, details = str(error.get("message") or self._said), evidence(completed)
        if completed.returncode == TURN_LIMIT or error.get("type") == "FatalTurnLimitedError":
            message = f"{self._program!r} reached its limit of turns"
            hint = "raise max_turns, or ask for less in one task"
            return AgentError(ErrorType.BUDGET_EXCEEDED, message, hint=hint, details=details)
        if not error:
            return self._without_answer(said, details)
        return provider_failure(
            self._program, _plain(said), status=_status(said, completed), details=details
        )

    def _without_answer(self, said: str, details: JsonObject) -> AgentError:
        why = "its model refused" if _REFUSED.search(said) else "it ended without an answer"
        hint = "say it in another way, or use another model"
        message = f"{self._program!r} has no answer: {why}" + (f" ({said})" if said else "")
        return AgentError(ErrorType.UNVERIFIED, message, hint=hint, details=details)

    def _no_result(self, completed: Completed) -> AgentError:
        code = completed.returncode
        if code == UNTRUSTED:
            return AgentError(
                ErrorType.PERMISSION_DENIED,
                f"{self._program!r} does not trust the workspace, which has settings for it",
                hint="look at its .gemini folder and .env files, then run gemini there once and trust it",
                details=evidence(completed),
            )
        if code == 0:
            return unreadable(self._program, completed)
        return crashed(self._program, completed, kind=KINDS.get(code, ErrorType.CRASHED))


def _status(said: str, completed: Completed) -> int | None:
    """The provider's status: in its own words, else in the exit code."""
    if found := re.search(r'"code":\s*([45]\d\d)\b', said):
        return int(found[1])
    status = completed.returncode + 256
    return status if status in STATUSES else None


def _plain(said: str) -> str:
    """The provider's sentence, where its whole answer was passed on."""
    found = _MESSAGE.search(said)
    return found[1] if found else said
