"""How a run of Claude Code ended, honestly: its exit code and its `success` do not say it alone."""

from typing import Any

from dispatch_runner.backends.claude_code.events import ClaudeRun, excerpt
from dispatch_runner.backends.claude_code.usage import mapping
from dispatch_runner.backends.shared.programs import evidence, last_line
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import Completed, cut

MESSAGE_LIMIT = 500
"""Characters of what the program said, in a message."""

MOST_DENIALS = 20
"""Of the denials in the details of an error."""

BY_WORD = {
    "authentication_failed": ErrorType.AUTH,
    "oauth_org_not_allowed": ErrorType.AUTH,
    "account_on_hold": ErrorType.AUTH,
    "verification_required": ErrorType.AUTH,
    "cloud_credential_error": ErrorType.AUTH,
    "billing_error": ErrorType.RATE_LIMITED,
    "rate_limit": ErrorType.RATE_LIMITED,
    "overloaded": ErrorType.OVERLOADED,
    "server_error": ErrorType.OVERLOADED,
    "invalid_request": ErrorType.INVALID_INPUT,
    "model_not_found": ErrorType.INVALID_INPUT,
    "max_output_tokens": ErrorType.BUDGET_EXCEEDED,
}
"""The program's own words for what its provider answered."""

BY_STATUS = {
    401: ErrorType.AUTH,
    402: ErrorType.RATE_LIMITED,
    403: ErrorType.AUTH,
    408: ErrorType.OVERLOADED,
    429: ErrorType.RATE_LIMITED,
}

BY_SUBTYPE = {
    "error_max_turns": ErrorType.BUDGET_EXCEEDED,
    "error_max_budget_usd": ErrorType.BUDGET_EXCEEDED,
    "error_max_structured_output_retries": ErrorType.BAD_OUTPUT,
}

SLOW_DOWN = {ErrorType.RATE_LIMITED, ErrorType.OVERLOADED}

HINTS = {
    ErrorType.AUTH: "set ANTHROPIC_API_KEY, or log in with 'claude /login'",
    ErrorType.BUDGET_EXCEEDED: "raise max_turns or the budget of the agent, or give it less to do",
    ErrorType.INVALID_INPUT: "check the agent's model and the size of what is asked",
    ErrorType.UNAVAILABLE: "check the network, and ANTHROPIC_BASE_URL where it is set",
}

UNKNOWN_SESSION = "No conversation found"


def lost_session(run: ClaudeRun) -> bool:
    """Whether the session that should go on is not there."""
    return any(UNKNOWN_SESSION in str(error) for error in _errors(run.result or {}))


def require_success(run: ClaudeRun, completed: Completed | None) -> JsonObject:
    """The result of a run that ended well and was refused nothing. Raises `AgentError`.

    Args:
        run: of which all events were read.
        completed: null when the program did not end by itself after its result.
    """
    result = run.result
    if result is None:
        assert completed is not None
        raise _without_result(completed)
    if result.get("is_error") is not False:
        raise _failed(run, result, completed)
    denials = result.get("permission_denials")
    if denials:
        raise _denied(denials)
    if completed is not None and completed.returncode != 0:
        raise AgentError(
            ErrorType.CRASHED,
            f"claude reported success and ended with {_ending(completed)}",
            details=evidence(completed),
        )
    return result


def _without_result(completed: Completed) -> AgentError:
    """The program ended before it could say how."""
    last = last_line(completed)
    said = f": {cut(last, MESSAGE_LIMIT)}" if last else ""
    message = f"claude ended with {_ending(completed)} and without a result{said}"
    if "unknown option" in last:
        return AgentError(
            ErrorType.UNAVAILABLE,
            message,
            retryable=False,
            hint="this claude is too old: 'npm install -g @anthropic-ai/claude-code@latest'",
            details=evidence(completed),
        )
    return AgentError(ErrorType.CRASHED, message, details=evidence(completed))


def _ending(completed: Completed) -> str:
    return completed.signal or f"exit code {completed.returncode}"


def _failed(run: ClaudeRun, result: JsonObject, completed: Completed | None) -> AgentError:
    said = cut(_said(result), MESSAGE_LIMIT)
    kind = _kind(run, result)
    details = {
        "subtype": result.get("subtype"),
        "terminal_reason": result.get("terminal_reason"),
        "api_error_status": result.get("api_error_status"),
        "error": run.api_failure.error,
        "exit_code": completed.returncode if completed else None,
    }
    details = {key: value for key, value in details.items() if value not in (None, "")}
    if result.get("stop_reason") == "refusal":
        return AgentError(
            ErrorType.UNVERIFIED,
            f"the model refused to answer: {said}",
            hint="ask it differently, or choose another model",
            details=details,
        )
    exhausted = kind is ErrorType.AUTH or _used_up(run, result)
    return AgentError(
        kind,
        f"claude failed: {said}",
        retryable=False if exhausted else None,
        hint=HINTS.get(kind),
        details=details,
        retry_after=run.retry_after if kind in SLOW_DOWN else None,
        exhausted=exhausted,
        resets_at=run.quota_resets_at if exhausted else None,
        session=run.session,
    )


def _kind(run: ClaudeRun, result: JsonObject) -> ErrorType:
    """What the failure is: by its subtype, its word, its status, and last by what was said."""
    if run.api_failure.detail == "connection_failed":
        return ErrorType.UNAVAILABLE
    return (
        BY_SUBTYPE.get(str(result.get("subtype")))
        or BY_WORD.get(run.api_failure.error)
        or _kind_of_status(result.get("api_error_status"))
        or _kind_of_words(_said(result), result)
    )


def _kind_of_status(status: Any) -> ErrorType | None:
    if not isinstance(status, int):
        return None
    other = ErrorType.OVERLOADED if status >= 500 else ErrorType.INVALID_INPUT
    return BY_STATUS.get(status, other)


def _kind_of_words(said: str, result: JsonObject) -> ErrorType:
    """For versions that say no more than a sentence."""
    if "/login" in said:
        return ErrorType.AUTH
    if result.get("terminal_reason") == "api_error" or said.startswith("API Error"):
        return ErrorType.UNAVAILABLE
    return ErrorType.CRASHED


def _used_up(run: ClaudeRun, result: JsonObject) -> bool:
    """Whether there is nothing left to use, rather than a rate that passes."""
    words = {run.api_failure.error, run.api_failure.detail}
    if words & {"billing_error", "usage_limit_reached"} or result.get("api_error_status") == 402:
        return True
    return run.quota_used_up and result.get("api_error_status") == 429


def _denied(denials: Any) -> AgentError:
    tools = [
        {"tool": each.get("tool_name"), "input": excerpt(each.get("tool_input"))}
        for each in map(mapping, denials if isinstance(denials, list) else [])
    ]
    names = ", ".join(sorted({f"'{each['tool']}'" for each in tools}))
    return AgentError(
        ErrorType.PERMISSION_DENIED,
        f"the agent was not allowed what it tried: {names}",
        hint='give the agent the access that it needs (access = "edit" or "execute"), or ask for'
        " something that it can do with what it has",
        details={"denied": tools[:MOST_DENIALS], "count": len(tools)},
    )


def _said(result: JsonObject) -> str:
    """The failure in the program's words, in one line."""
    if str(result.get("terminal_reason")).startswith("aborted"):
        return "it was interrupted"
    result_text = result.get("result")
    text = result_text if isinstance(result_text, str) else "; ".join(map(str, _errors(result)))
    return " ".join(text.split()) or str(result.get("terminal_reason") or result.get("subtype"))


def _errors(result: JsonObject) -> list[Any]:
    errors = result.get("errors")
    return errors if isinstance(errors, list) else []
