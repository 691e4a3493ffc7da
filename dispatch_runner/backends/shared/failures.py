"""What it means that a program says that its provider failed, from a status or from the words alone."""

import re
import time
from datetime import datetime, timedelta

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import cut

MESSAGE_LIMIT = 500

_QUOTA = re.compile(
    r"(?i)quota (?:is )?(?:exceeded|exhausted|used up)|(?:exceeded|exhausted) your [\w ]*quota"
    r"|usage limit|spend(?:ing)?.?limit|insufficient.{0,10}(?:quota|credit|balance|funds)"
    r"|credit balance|billing.{0,12}limit"
)
_STATUS = re.compile(
    r"(?i)\b(?:status(?:[ _]?code)?|http(?:/[\d.]+)?|api error|\"code\")\W{0,4}([45]\d\d)(?!\d)"
)
_WORDS: tuple[tuple[re.Pattern[str], ErrorType], ...] = tuple(
    (re.compile(f"(?i){'|'.join(words)}"), kind)
    for kind, words in (
        (
            ErrorType.AUTH,
            (
                r"api.?key", r"unauthori[sz]ed", r"log(?:ged)? ?in\b", "authenticat", "credentials",
                "forbidden", "invalid auth", "missing environment variable",
            ),
        ),
        (ErrorType.RATE_LIMITED, ("rate.?limit", "too many requests", "resource.?exhausted")),
        (
            ErrorType.OVERLOADED,
            (
                "overloaded", "at capacity", "high demand", "service unavailable",
                "internal server error",
            ),
        ),
        (
            ErrorType.UNAVAILABLE,
            (
                r"econn\w+", "enotfound", "eai_again", "etimedout", "fetch failed",
                "(?:unable|failed) to connect", "cannot connect", "waiting for network",
                "connection (?:failed|refused|reset|error)", "stream disconnected",
                "error sending request", "socket", "timed out",
            ),
        ),
        (
            ErrorType.INVALID_INPUT,
            (
                "(?:prompt|context|input).{0,20}(?:too long|length|exceed)", "context_length",
                "model.{0,60}(?:not (?:found|exist|supported)|invalid)", "unknown model",
                "invalid_request", "invalid_argument",
            ),
        ),
    )
)  # fmt: skip
"""The first that fits counts."""
HINTS = {
    ErrorType.AUTH: "log in with the program itself, or name the variable of the key in api_key_env",
    ErrorType.RATE_LIMITED: "run fewer tasks of this provider at once",
    ErrorType.OVERLOADED: "try again later",
    ErrorType.UNAVAILABLE: "check the network, and base_url where one is set",
    ErrorType.INVALID_INPUT: "the provider did not accept the request: check the model's name, or give less",
}
QUOTA_HINT = (
    "the account's quota is used up: see the provider's billing page, or wait for its reset"
)
_AFTER = re.compile(r"(?i)(?:retry|try again) (?:after|in) (\d+(?:\.\d+)?) ?(ms|s\b|sec|m\b|min|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_AT = re.compile(
    r"(?i)try again at (?:([A-Z]{3})[a-z]* (\d{1,2})(?:[A-Z]{2})?,? (\d{4}),? )?(\d{1,2}:\d\d) ?([AP]M)"
)


def provider_failure(
    program: str,
    said: str,
    *,
    status: int | None = None,
    exhausted: bool = False,
    details: JsonObject | None = None,
    session: str | None = None,
) -> AgentError:
    """The failure of a call.

    Args:
        program: who said it.
        said: its words.
        status: the provider's HTTP status, where it is known besides.
        exhausted: whether it is known besides that a quota is used up.
    """
    status = status or _status_in(said)
    kind = kind_of_status(status, said) if status else kind_of_words(said)
    quota = (
        exhausted
        or status == 402
        or (kind in {None, ErrorType.RATE_LIMITED} and bool(_QUOTA.search(said)))
    )
    if quota:
        kind = ErrorType.RATE_LIMITED
    kind = kind or ErrorType.CRASHED
    return AgentError(
        kind,
        f"{program!r} reports: {cut(said.strip() or 'an error without a message', MESSAGE_LIMIT)}",
        hint=QUOTA_HINT if quota else HINTS.get(kind),
        details={**(details or {}), **({"status": status} if status else {})},
        retry_after=_retry_after(said),
        exhausted=True if quota else None,
        resets_at=_resets_at(said) if quota else None,
        session=session,
    )


def _status_in(said: str) -> int | None:
    found = _STATUS.search(said)
    return int(found[1]) if found else None


def kind_of_words(said: str) -> ErrorType | None:
    """What a failure is by what was said of it; null: it cannot be told."""
    return next((kind for words, kind in _WORDS if words.search(said)), None)


def kind_of_status(status: int, said: str = "") -> ErrorType:
    """What a failure is by the provider's HTTP status, from 400, and what was said of it."""
    if status in {401, 403}:
        return ErrorType.AUTH
    if status in {402, 429}:
        return ErrorType.RATE_LIMITED
    if status == 408:
        return ErrorType.UNAVAILABLE
    if status >= 500:
        return ErrorType.OVERLOADED
    # Gemini answers 400 for a key that is not valid
    return ErrorType.AUTH if kind_of_words(said) is ErrorType.AUTH else ErrorType.INVALID_INPUT


def _retry_after(said: str) -> float | None:
    found = _AFTER.search(said)
    return float(found[1]) * _UNITS[found[2].lower()] if found else None


def _resets_at(said: str) -> float | None:
    """Seconds since 1970; the program writes local time, without a date when it is within a day."""
    if after := _retry_after(said):
        return time.time() + after
    found = _AT.search(said)
    if found is None:
        return None
    month, day, year, clock, half = found.groups()
    now = datetime.now().astimezone()
    date = f"{month} {day} {year}" if month else f"{now:%b %d %Y}"
    try:
        when = datetime.strptime(f"{date} {clock} {half}", "%b %d %Y %I:%M %p")  # noqa: DTZ007 - local
    except ValueError:
        return None
    when = when.astimezone()
    return (when if month or when > now else when + timedelta(days=1)).timestamp()
