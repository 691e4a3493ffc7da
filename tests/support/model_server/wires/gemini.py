"""Gemini `generateContent`."""

from collections.abc import Iterator

from support.model_server.request import Request
from support.model_server.turns import Failure, JsonObject, Reason, Reply, Stop, ToolCall
from support.model_server.wires.common import Refused, event, pieces, retry_after

STOPS = {
    Stop.END: "STOP",
    Stop.TOOL: "STOP",
    Stop.LIMIT: "MAX_TOKENS",
    Stop.REFUSAL: "SAFETY",
}
KINDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
RPC = "type.googleapis.com/google.rpc"
QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. "
    "For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
)


def streams(request: Request) -> bool:
    return request.path.endswith(":streamGenerateContent")


def offered(body: JsonObject) -> tuple[str, ...]:
    return tuple(
        str(each.get("name"))
        for group in body.get("tools") or ()
        for each in group.get("functionDeclarations") or group.get("function_declarations") or ()
    )


def whole(request: Request, reply: Reply) -> JsonObject:
    parts = [] if reply.stop is Stop.REFUSAL else [_part(each) for each in reply.blocks]
    return _chunk(request, parts, reply)


def events(request: Request, reply: Reply) -> Iterator[bytes]:
    if reply.stop is not Stop.REFUSAL:
        for piece in pieces(reply.text, reply.chunk):
            yield event(_chunk(request, [{"text": piece}]))
    yield event(_chunk(request, [_part(each) for each in reply.calls], reply))


def failure(failure: Failure) -> Refused:
    headers = retry_after(failure)
    match failure.reason:
        case Reason.OVERLOADED:
            status = failure.status or 503
            message = "The model is overloaded. Please try again later."
            return status, headers, _body(status, message, kind="UNAVAILABLE")
        case Reason.KEY:
            status = failure.status or 400
            message = "API key not valid. Please pass a valid API key."
            return status, headers, _body(status, message, _reason("API_KEY_INVALID"))
        case Reason.QUOTA:
            return 429, headers, _body(429, QUOTA, *_quota(failure.resets_in))
        case _:
            return failure.status, headers, _body(failure.status, failure.message, *_retry(failure))


def error_event(failed: Failure) -> bytes:
    return event(failure(failed)[2])


def _body(status: int, message: str, *details: JsonObject, kind: str | None = None) -> JsonObject:
    error: JsonObject = {"code": status, "message": message}
    error["status"] = kind or KINDS.get(status, "UNKNOWN")
    return {"error": {**error, "details": list(details)} if details else error}


def _reason(reason: str) -> JsonObject:
    return {"@type": f"{RPC}.ErrorInfo", "reason": reason, "domain": "googleapis.com"}


def _retry(failure: Failure) -> list[JsonObject]:
    if failure.retry_after is None:
        return []
    return [{"@type": f"{RPC}.RetryInfo", "retryDelay": f"{failure.retry_after:g}s"}]


def _quota(resets_in: float | None) -> list[JsonObject]:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
        "quotaValue": "20",
    }
    details: list[JsonObject] = [{"@type": f"{RPC}.QuotaFailure", "violations": [violation]}]
    if resets_in is not None:
        details.append({"@type": f"{RPC}.RetryInfo", "retryDelay": f"{resets_in:g}s"})
    return details


def _part(block: str | ToolCall) -> JsonObject:
    if isinstance(block, str):
        return {"text": block}
    return {"functionCall": {"name": block.name, "args": dict(block.arguments)}}


def _chunk(request: Request, parts: list[JsonObject], last: Reply | None = None) -> JsonObject:
    candidate: JsonObject = {"content": {"role": "model", "parts": parts}, "index": 0}
    chunk: JsonObject = {
        "candidates": [candidate],
        "modelVersion": request.model,
        "responseId": f"gemini-{request.number}",
    }
    if last is not None:
        candidate["finishReason"] = STOPS[last.stop]
        chunk["usageMetadata"] = _usage(last)
    return chunk


def _usage(reply: Reply) -> JsonObject:
    prompt = reply.usage.input_tokens + reply.usage.cache_read_tokens
    return {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": reply.usage.cache_read_tokens,
        "candidatesTokenCount": reply.usage.output_tokens,
        "totalTokenCount": prompt + reply.usage.output_tokens,
    }
