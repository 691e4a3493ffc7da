"""Anthropic Messages."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from support.model_server.request import Request
from support.model_server.turns import Failure, JsonObject, Reason, Reply, Stop, ToolCall
from support.model_server.wires.common import Refused, arguments, event, pieces, retry_after

STOPS = {
    Stop.END: "end_turn",
    Stop.TOOL: "tool_use",
    Stop.LIMIT: "max_tokens",
    Stop.REFUSAL: "refusal",
}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def streams(request: Request) -> bool:
    return bool(request.body.get("stream"))


def offered(body: JsonObject) -> tuple[str, ...]:
    return tuple(str(each.get("name")) for each in body.get("tools") or ())


def whole(request: Request, reply: Reply) -> JsonObject:
    return {
        **_message(request, reply),
        "content": [_block(request, place, block) for place, block in enumerate(reply.blocks)],
        "stop_reason": STOPS[reply.stop],
        "usage": {**_usage_in(reply), "output_tokens": reply.usage.output_tokens},
    }


def events(request: Request, reply: Reply) -> Iterator[bytes]:
    yield _event("message_start", message=_message(request, reply))
    yield _event("ping")
    for place, block in enumerate(reply.blocks):
        yield from _block_events(request, place, block, reply.chunk)
    delta = {"stop_reason": STOPS[reply.stop], "stop_sequence": None}
    usage = {"output_tokens": reply.usage.output_tokens}
    yield _event("message_delta", delta=delta, usage=usage)
    yield _event("message_stop")


def failure(failure: Failure) -> Refused:
    status, message, headers = failure.status, failure.message, retry_after(failure)
    match failure.reason:
        case Reason.OVERLOADED:
            status, message = 529, "Overloaded"
        case Reason.KEY:
            status, message = 401, "invalid x-api-key"
        case Reason.QUOTA if failure.resets_in is None:
            status = 400
            message = (
                "Your credit balance is too low to access the Anthropic API. "
                "Please go to Plans & Billing to upgrade or purchase credits."
            )
        case Reason.QUOTA:
            status = 429
            message = "This request would exceed your account's rate limit. Please try again later."
            headers |= _reset_headers(failure.resets_in or 0.0)
        case _:
            pass
    return status, headers, _error_body(status, message)


def error_event(failed: Failure) -> bytes:
    return event(failure(failed)[2], "error")


def _error_body(status: int, message: str) -> JsonObject:
    error = {"type": KINDS.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": "req_scripted"}


def _reset_headers(seconds: float) -> dict[str, str]:
    reset = datetime.now(UTC) + timedelta(seconds=seconds)
    return {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(time.time() + seconds)),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "anthropic-ratelimit-requests-reset": reset.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _message(request: Request, reply: Reply) -> JsonObject:
    return {
        "id": f"msg_{request.number}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_usage_in(reply), "output_tokens": 1},
    }


def _usage_in(reply: Reply) -> JsonObject:
    return {
        "input_tokens": reply.usage.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.usage.cache_read_tokens,
    }


def _block(request: Request, place: int, block: str | ToolCall) -> JsonObject:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    call_id = f"toolu_{request.number}_{place}"
    return {"type": "tool_use", "id": call_id, "name": block.name, "input": dict(block.arguments)}


def _block_events(
    request: Request, place: int, block: str | ToolCall, chunk: int
) -> Iterator[bytes]:
    empty: JsonObject = {"text": ""} if isinstance(block, str) else {"input": {}}
    start = {**_block(request, place, block), **empty}
    yield _event("content_block_start", index=place, content_block=start)
    if isinstance(block, str):
        for piece in pieces(block, chunk):
            delta = {"type": "text_delta", "text": piece}
            yield _event("content_block_delta", index=place, delta=delta)
    else:
        for piece in pieces(arguments(block), chunk):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield _event("content_block_delta", index=place, delta=delta)
    yield _event("content_block_stop", index=place)


def _event(kind: str, **fields: object) -> bytes:
    return event({"type": kind, **fields}, kind)
