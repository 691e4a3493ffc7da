"""How a run of Claude Code ended, honestly: its exit code and its `success` do not say it alone."""

from typing import Any

from dispatch_runner.backends.claude_code.events import ClaudeRun, excerpt
from dispatch_runner.backends.shared.failures import kind_of_status, kind_of_words
from dispatch_runner.backends.shared.outcomes import (
    MORE_ACCESS,
    MOST_DENIALS,
    SAID_LIMIT,
    crashed,
    unreadable,
)
from dispatch_runner.backends.shared.programs import evidence, last_line
from dispatch_runner.backends.shared.values import objects_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import Completed, cut

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

BY_SUBTYPE = {
    "error_max_turns": ErrorType.BUDGET_EXCEEDED,
    "error_max_budget_usd": ErrorType.BUDGET_EXCEEDED,
    "error_max_structured_output_retries": ErrorType.BAD_OUTPUT,
}

SLOW_DOWN = {ErrorType.RATE_LIMITED, ErrorType.OVERLOADED}

USED_UP = (
    "nothing is left of the account's limit for now: see the provider's console, or wait with"
    " --wait-for-reset"
)
"""The hint for a limit of the account."""

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
    denied = result.get("permission_denials")
    denials = denied if isinstance(denied, list) else []
    denials += [{"tool_name": tool} for tool in run.shut_off]
    if denials:
        raise _denied(denials)
    if completed is not None and completed.returncode != 0:
        raise crashed("claude", completed)
    return result


def _without_result(completed: Completed) -> AgentError:
    """The program ended before it could say how."""
    if completed.returncode == 0:
        return unreadable("claude", completed)
    last = last_line(completed)
    if "unknown option" not in last:
        return crashed("claude", completed)
    return AgentError(
        ErrorType.UNAVAILABLE,
        f"this 'claude' is too old: {cut(last, SAID_LIMIT)}",
        retryable=False,
        hint="install a newer one: 'npm install -g @anthropic-ai/claude-code@latest'",
        details=evidence(completed),
    )


def _failed(run: ClaudeRun, result: JsonObject, completed: Completed | None) -> AgentError:
    said = cut(_said(result), SAID_LIMIT)
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
        hint=USED_UP if exhausted and kind is ErrorType.RATE_LIMITED else HINTS.get(kind),
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
        or _kind_by_provider(result.get("api_error_status"), _said(result), result)
    )


def _kind_by_provider(status: Any, said: str, result: JsonObject) -> ErrorType:
    if isinstance(status, int):
        return kind_of_status(status, said)
    if kind := kind_of_words(said):
        return kind
    if result.get("terminal_reason") == "api_error" or said.startswith("API Error"):
        return ErrorType.UNAVAILABLE
    return ErrorType.CRASHED


def _used_up(run: ClaudeRun, result: JsonObject) -> bool:
    """Whether there is nothing left to use, rather than a rate that passes."""
    words = {run.api_failure.error, run.api_failure.detail}
    if words & {"billing_error", "usage_limit_reached"} or result.get("api_error_status") == 402:
        return True
    if result.get("api_error_status") != 429:
        return False
    # it waits by itself where the provider asks for a minute at most, and says nothing of a longer wait
    return run.quota_used_up or run.retry_after is None


def _denied(denials: list[Any]) -> AgentError:
    tools = [
        {"tool": each.get("tool_name"), "input": excerpt(each.get("tool_input"))}
        for each in objects_in(denials)
    ]
    names = ", ".join(sorted({f"'{each['tool']}'" for each in tools}))
    return AgentError(
        ErrorType.PERMISSION_DENIED,
        f"the agent was not allowed what it tried: {names}",
        hint=MORE_ACCESS,
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
