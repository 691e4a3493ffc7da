"""What both OpenAI protocols share: failures."""

import time

from support.model_server.turns import Failure, JsonObject, Reason
from support.model_server.wires.common import Refused, retry_after

QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more "
    "information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
KEY = (
    "Incorrect API key provided: dummy. You can find your API key at "
    "https://platform.openai.com/account/api-keys."
)


def failure(failure: Failure) -> Refused:
    headers = retry_after(failure)
    match failure.reason:
        case Reason.OVERLOADED:
            status = failure.status or 503
            message = "The server is currently overloaded. Please try again later."
            return status, headers, _body(message, "server_error", "server_is_overloaded")
        case Reason.KEY:
            return 401, headers, _body(KEY, "invalid_request_error", "invalid_api_key")
        case Reason.QUOTA if failure.resets_in is None:
            return 429, headers, _body(QUOTA, "insufficient_quota", "insufficient_quota")
        case Reason.QUOTA:
            return 429, headers, _usage_limit(failure.resets_in or 0.0)
        case _:
            return failure.status, headers, _usual(failure)


def _usual(failure: Failure) -> JsonObject:
    match failure.status:
        case 429:
            return _body(failure.message, "requests", "rate_limit_exceeded")
        case status if status >= 500:
            return _body(failure.message, "server_error", None)
        case _:
            return _body(failure.message, "invalid_request_error", None)


def _usage_limit(resets_in: float) -> JsonObject:
    seconds = int(resets_in)
    return {
        "error": {
            "type": "usage_limit_reached",
            "code": "rate_limit_exceeded",
            "param": None,
            "message": f"The usage limit has been reached. Please try again in {seconds}s.",
            "resets_at": int(time.time()) + seconds,
            "resets_in_seconds": seconds,
        }
    }


def _body(message: str, kind: str, code: str | None) -> JsonObject:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
