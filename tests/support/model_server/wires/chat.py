"""OpenAI chat completions, as Ollama and other servers speak them too."""

from collections.abc import Iterator

from support.model_server.request import Request
from support.model_server.turns import Failure, JsonObject, Reply, Stop, ToolCall
from support.model_server.wires.common import arguments, event, pieces
from support.model_server.wires.openai import failure

__all__ = ["error_event", "events", "failure", "offered", "streams", "whole"]

STOPS = {
    Stop.END: "stop",
    Stop.TOOL: "tool_calls",
    Stop.LIMIT: "length",
    Stop.REFUSAL: "stop",
}


def streams(request: Request) -> bool:
    return bool(request.body.get("stream"))


def offered(body: JsonObject) -> tuple[str, ...]:
    return tuple(str(each.get("function", {}).get("name")) for each in body.get("tools") or ())


def whole(request: Request, reply: Reply) -> JsonObject:
    refused = reply.stop is Stop.REFUSAL
    message: JsonObject = {
        "role": "assistant",
        "content": None if refused else reply.text or None,
        "refusal": reply.text if refused else None,
    }
    if reply.calls:
        message["tool_calls"] = [
            _call(request, place, call) for place, call in enumerate(reply.calls)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": STOPS[reply.stop]}
    return {**_head(request, "chat.completion"), "choices": [choice], "usage": _usage(reply)}


def events(request: Request, reply: Reply) -> Iterator[bytes]:
    key = "refusal" if reply.stop is Stop.REFUSAL else "content"
    yield _chunk(request, {"role": "assistant", key: ""})
    for piece in pieces(reply.text, reply.chunk):
        yield _chunk(request, {key: piece})
    for place, call in enumerate(reply.calls):
        yield from _call_chunks(request, place, call, reply.chunk)
    yield _chunk(request, {}, STOPS[reply.stop])
    if (request.body.get("stream_options") or {}).get("include_usage"):
        yield event(
            {**_head(request, "chat.completion.chunk"), "choices": [], "usage": _usage(reply)}
        )
    yield b"data: [DONE]\n\n"


def error_event(failed: Failure) -> bytes:
    return event(failure(failed)[2])


def _head(request: Request, kind: str) -> JsonObject:
    return {
        "id": f"chatcmpl-{request.number}",
        "object": kind,
        "created": 1_700_000_000,
        "model": request.model,
    }


def _chunk(request: Request, delta: JsonObject, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event({**_head(request, "chat.completion.chunk"), "choices": [choice]})


def _call(request: Request, place: int, call: ToolCall) -> JsonObject:
    function = {"name": call.name, "arguments": arguments(call)}
    return {"id": f"call_{request.number}_{place}", "type": "function", "function": function}


def _call_chunks(request: Request, place: int, call: ToolCall, size: int) -> Iterator[bytes]:
    start = _call(request, place, call)
    start["function"]["arguments"] = ""
    yield _chunk(request, {"tool_calls": [{"index": place, **start}]})
    for piece in pieces(arguments(call), size):
        part = {"index": place, "function": {"arguments": piece}}
        yield _chunk(request, {"tool_calls": [part]})


def _usage(reply: Reply) -> JsonObject:
    prompt = reply.usage.input_tokens + reply.usage.cache_read_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": reply.usage.output_tokens,
        "total_tokens": prompt + reply.usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.usage.cache_read_tokens},
    }
