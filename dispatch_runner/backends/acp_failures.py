"""What the errors mean that agents answer with over the Agent Client Protocol.

The protocol has one code of its own for a failure that we can name, that of a missing log-in. For the
rest agents put the provider's status into the code, the data or the message, or only its words.
"""

import re
from typing import Any

from dispatch_runner.backends.acp_connection import RpcError
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import cut

AUTH_REQUIRED = -32000

MESSAGE_LIMIT = 1_000

_STATUS = re.compile(
    r"(?i)\b(?:status(?:[ _]?code)?|error|http(?:/[\d.]+)?|code)\W{0,4}([45]\d\d)(?!\d)"
)
_QUOTA = re.compile(
    r"(?i)quota|usage limit|spend(?:ing)? limit|billing|insufficient.{0,10}(?:credit|balance|funds)"
)
_WORDS = {
    kind: re.compile(f"(?i){'|'.join(words)}")
    for kind, words in {
        ErrorType.AUTH: (
            "api.?key",
            "unauthori[sz]ed",
            "not logged in",
            "authenticat",
            "credentials",
            "forbidden",
        ),
        ErrorType.RATE_LIMITED: ("rate.?limit", "too many requests", "resource.?exhausted"),
        ErrorType.OVERLOADED: ("overloaded", "service unavailable", "try again later"),
        ErrorType.UNAVAILABLE: (
            "econn[a-z]+",
            "enotfound",
            "eai_again",
            "etimedout",
            "fetch failed",
            "unable to connect",
            "connection (?:refused|reset|error)",
            "socket",
            "network",
            "timed out",
        ),
        ErrorType.INVALID_INPUT: (
            "(?:prompt|context|input).{0,20}(?:too long|length|exceed)",
            "model.{0,40}not (?:found|exist)",
            "unknown model",
        ),
    }.items()
}
"""What is looked for in this order."""

_HINTS = {
    ErrorType.AUTH: "log in with the agent's own program, or name the variable of its key in the"
    " agent's env or api_key_env",
    ErrorType.UNAVAILABLE: "is the agent's provider reachable from here?",
    ErrorType.INVALID_INPUT: "the agent's provider did not accept the request",
}


def failure_of(error: RpcError, agent: str) -> AgentError:
    """The failure of a task whose agent, by the name of its program, answered with an error."""
    kind, exhausted = _kind_of(error)
    details: JsonObject = {"method": error.method, "code": error.code}
    if error.data is not None:
        details["data"] = cut(str(error.data), MESSAGE_LIMIT)
    return AgentError(
        kind,
        f"{agent!r} reports: {cut(error.message, MESSAGE_LIMIT)}",
        hint=_HINTS.get(kind),
        details=details,
        exhausted=exhausted,
    )


def _kind_of(error: RpcError) -> tuple[ErrorType, bool | None]:
    """The type, and whether the provider refuses all further calls where that is known."""
    if error.code == AUTH_REQUIRED:
        return ErrorType.AUTH, None
    said = f"{error.message} {error.data or ''}"
    status = _status_of(error, said)
    by_words = next((kind for kind, words in _WORDS.items() if words.search(said)), None)
    kind = _by_status(status, by_words) if status else by_words
    used_up = kind in {ErrorType.RATE_LIMITED, None} and bool(_QUOTA.search(said))
    if used_up:
        return ErrorType.RATE_LIMITED, True
    return kind or ErrorType.CRASHED, None


def _status_of(error: RpcError, said: str) -> int | None:
    """The provider's HTTP status, where the agent passes it on."""
    for value in (error.code, *_statuses_in(error.data)):
        if isinstance(value, int) and 400 <= value < 600:
            return value
    found = _STATUS.search(said)
    return int(found[1]) if found else None


def _statuses_in(data: Any) -> list[Any]:
    if not isinstance(data, dict):
        return []
    return [data.get(key) for key in ("statusCode", "status", "code")]


def _by_status(status: int, by_words: ErrorType | None) -> ErrorType:
    if status in {401, 403}:
        return ErrorType.AUTH
    if status == 429:
        return ErrorType.RATE_LIMITED
    if status >= 500:
        # agents also give 500 for a connection that broke
        return ErrorType.UNAVAILABLE if by_words is ErrorType.UNAVAILABLE else ErrorType.OVERLOADED
    if status == 408:
        return ErrorType.UNAVAILABLE
    # Gemini answers 400 for a key that is not valid
    return ErrorType.AUTH if by_words is ErrorType.AUTH else ErrorType.INVALID_INPUT
