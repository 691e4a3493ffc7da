"""What the errors of `pydantic_ai` mean to us. Imported with it, not before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

from pydantic_ai import exceptions as ai

from dispatch_runner.backends.shared.failures import HINTS, QUOTA_HINT
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject

EXCERPT = 1_000
"""Characters of what a provider said."""

ADVICE = " Consider raising the retry limit"
"""From here on the library speaks to programmers."""

KINDS: tuple[tuple[type[Exception], ErrorType, str], ...] = (
    (ai.ModelAuthenticationError, ErrorType.AUTH, "check the key, and what it may be used for"),
    (ai.ModelQuotaExceededError, ErrorType.RATE_LIMITED, QUOTA_HINT),
    (ai.ModelRateLimitError, ErrorType.RATE_LIMITED, HINTS[ErrorType.RATE_LIMITED]),
    (ai.ModelUnavailableError, ErrorType.OVERLOADED, HINTS[ErrorType.OVERLOADED]),
    (ai.ModelServerError, ErrorType.OVERLOADED, HINTS[ErrorType.OVERLOADED]),
    (ai.ModelConnectionError, ErrorType.UNAVAILABLE, HINTS[ErrorType.UNAVAILABLE]),
    (ai.ModelRequestTimeout, ErrorType.UNAVAILABLE, HINTS[ErrorType.UNAVAILABLE]),
    (
        ai.ModelContextWindowExceededError,
        ErrorType.INVALID_INPUT,
        "the prompt is too long for the model: give less, or choose another one",
    ),
    (ai.ModelNotFoundError, ErrorType.INVALID_INPUT, "check the model's name and the base_url"),
    (ai.ModelRequestRejectedError, ErrorType.INVALID_INPUT, "the provider will not take it"),
    (ai.ContentFilterError, ErrorType.UNVERIFIED, "say it in another way, or use another model"),
    (
        ai.OutputTokenLimitExceeded,
        ErrorType.BUDGET_EXCEEDED,
        "the answer is longer than the model may give: ask for less at once",
    ),
    (ai.IncompleteToolCall, ErrorType.BUDGET_EXCEEDED, "ask for less at once"),
    (ai.UnexpectedModelBehavior, ErrorType.BAD_OUTPUT, "another model may do better"),
    (ai.UserError, ErrorType.INVALID_INPUT, "the model cannot be asked so"),
)
"""The first that fits counts."""


def agent_error(error: Exception, model: str) -> AgentError:
    """The failure of a call of that model."""
    kind, hint = _kind(error)
    quota_until = _quota_until(error)
    exhausted = isinstance(error, ai.ModelQuotaExceededError) or quota_until is not None
    return AgentError(
        kind,
        f"{_subject(error, model)}: {_said(error)}",
        hint=QUOTA_HINT if exhausted else hint,
        details=_details(error, model),
        retry_after=error.retry_after if isinstance(error, ai.ModelAPIError) else None,
        exhausted=True if exhausted else None,
        resets_at=quota_until,
    )


def refused(model: str, words: str) -> AgentError:
    """The model would not do it."""
    said = f": {words[:EXCERPT]}" if words.strip() else ""
    return AgentError(
        ErrorType.UNVERIFIED,
        f"model '{model}' refused to answer{said}",
        hint="say it in another way, or use another model",
    )


def _kind(error: Exception) -> tuple[ErrorType, str]:
    for cls, kind, hint in KINDS:
        if isinstance(error, cls):
            return kind, hint
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 500 and status not in {408, 409, 425}:
        return ErrorType.INVALID_INPUT, "the provider will not take it"
    return ErrorType.CRASHED, "what was answered could not be read: check the address"


def _subject(error: Exception, model: str) -> str:
    if isinstance(error, ai.ContentFilterError):
        return f"model '{model}' refused to answer"
    if isinstance(error, ai.ModelHTTPError):
        return f"the provider of model '{model}' answered {error.status_code}"
    if isinstance(error, ai.ModelConnectionError):
        if error.phase in {"read", "write"}:
            return f"the connection to the provider of model '{model}' broke"
        return f"the provider of model '{model}' cannot be reached"
    return f"model '{model}'"


def _said(error: Exception) -> str:
    """The provider's own sentence where there is one."""
    for found in _bodies(error):
        message = found.get("message")
        if isinstance(message, str) and message.strip():
            return message.strip()[:EXCERPT]
    if isinstance(error, ai.ModelConnectionError):
        error = _root(error)  # the libraries around it only say that there is one
    said = getattr(error, "message", "") or str(error) or type(error).__name__
    return str(said).partition(ADVICE)[0][:EXCERPT]


def _bodies(error: Exception) -> Iterator[JsonObject]:
    """The error object of the provider's answer, which may lie in another."""
    body: Any = getattr(error, "body", None)
    while isinstance(body, dict):
        inner = body.get("error")
        if not isinstance(inner, dict):
            yield body
            return
        body = inner


def _details(error: Exception, model: str) -> JsonObject:
    details: JsonObject = {"model": model, "exception": type(error).__name__}
    if isinstance(error, ai.ModelHTTPError):
        details["status"] = error.status_code
    if body := getattr(error, "body", None):
        details["body"] = str(body)[:EXCERPT]
    root = _root(error)
    if root is not error:
        details["cause"] = f"{type(root).__name__}: {root}"[:EXCERPT]
    return details


def _root(error: Exception) -> Exception:
    """What it began with."""
    while isinstance(error.__cause__ or error.__context__, Exception):
        error = cast("Exception", error.__cause__ or error.__context__)
    return error


def _quota_until(error: Exception) -> float | None:
    """When a used-up quota is there again, in seconds since 1970, where the provider says it."""
    if not isinstance(error, (ai.ModelRateLimitError, ai.ModelQuotaExceededError)):
        return None
    headers = getattr(error, "headers", None) or {}
    if headers.get("anthropic-ratelimit-unified-status") == "rejected":
        return _number(headers.get("anthropic-ratelimit-unified-reset"))
    for body in _bodies(error):
        if body.get("type") == "usage_limit_reached":
            return _number(body.get("resets_at"))
    if isinstance(error, ai.ModelQuotaExceededError) and error.retry_after is not None:
        return time.time() + error.retry_after
    return None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
