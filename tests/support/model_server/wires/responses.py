"""OpenAI responses."""

from collections.abc import Iterator
from itertools import count

from support.model_server.request import Request
from support.model_server.turns import Failure, JsonObject, Reply, Stop, ToolCall
from support.model_server.wires.common import arguments, event, pieces
from support.model_server.wires.openai import failure

__all__ = ["error_event", "events", "failure", "offered", "streams", "whole"]


def streams(request: Request) -> bool:
    return bool(request.body.get("stream"))


def offered(body: JsonObject) -> tuple[str, ...]:
    names: list[str] = []
    for each in body.get("tools") or ():
        inner = each.get("tools") if each.get("type") == "namespace" else None
        names += [str(one.get("name") or one.get("type")) for one in inner or [each]]
    return tuple(names)


def whole(request: Request, reply: Reply) -> JsonObject:
    items = [_item(request, reply, place, block) for place, block in enumerate(reply.blocks)]
    limited = reply.stop is Stop.LIMIT
    return {
        **_response(request),
        "status": "incomplete" if limited else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if limited else None,
        "output": items,
        "usage": _usage(reply),
    }


def events(request: Request, reply: Reply) -> Iterator[bytes]:
    for number, (kind, fields) in zip(count(), _steps(request, reply), strict=False):
        yield event({"type": kind, "sequence_number": number, **fields}, kind)


def error_event(failed: Failure) -> bytes:
    error = failure(failed)[2]["error"]
    response = {
        "id": "resp_failed",
        "object": "response",
        "status": "failed",
        "error": {"code": error["code"] or error["type"], "message": error["message"]},
        "output": [],
    }
    return event({"type": "response.failed", "response": response}, "response.failed")


def _steps(request: Request, reply: Reply) -> Iterator[tuple[str, JsonObject]]:
    begun = {**_response(request), "status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for place, block in enumerate(reply.blocks):
        item = _item(request, reply, place, block)
        part = _text_steps if isinstance(block, str) else _call_steps
        yield from part(item, place, reply.chunk)
        yield "response.output_item.done", {"output_index": place, "item": item}
    last = "response.incomplete" if reply.stop is Stop.LIMIT else "response.completed"
    yield last, {"response": whole(request, reply)}


def _text_steps(item: JsonObject, place: int, size: int) -> Iterator[tuple[str, JsonObject]]:
    (part,) = item["content"]
    refused = part["type"] == "refusal"
    kind, key = ("refusal", "refusal") if refused else ("output_text", "text")
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    yield "response.output_item.added", {"output_index": place, "item": begun}
    yield "response.content_part.added", {**where, "part": {**part, key: ""}}
    for piece in pieces(part[key], size):
        yield f"response.{kind}.delta", {**where, "delta": piece, "logprobs": []}
    yield f"response.{kind}.done", {**where, key: part[key], "logprobs": []}
    yield "response.content_part.done", {**where, "part": part}


def _call_steps(item: JsonObject, place: int, size: int) -> Iterator[tuple[str, JsonObject]]:
    where = {"item_id": item["id"], "output_index": place}
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield "response.output_item.added", {"output_index": place, "item": begun}
    for piece in pieces(item["arguments"], size):
        yield "response.function_call_arguments.delta", {**where, "delta": piece}
    done = {**where, "name": item["name"], "arguments": item["arguments"]}
    yield "response.function_call_arguments.done", done


def _response(request: Request) -> JsonObject:
    return {
        "id": f"resp_{request.number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": request.model,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _item(request: Request, reply: Reply, place: int, block: str | ToolCall) -> JsonObject:
    if isinstance(block, ToolCall):
        item = {
            "type": "function_call",
            "id": f"fc_{request.number}_{place}",
            "call_id": f"call_{request.number}_{place}",
            "name": block.name,
            "arguments": arguments(block),
            "status": "completed",
        }
        return item if block.namespace is None else {**item, "namespace": block.namespace}
    refused = reply.stop is Stop.REFUSAL
    written = {"type": "output_text", "text": block, "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": f"msg_{request.number}_{place}",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": block} if refused else written],
    }


def _usage(reply: Reply) -> JsonObject:
    given = reply.usage.input_tokens + reply.usage.cache_read_tokens
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": reply.usage.cache_read_tokens},
        "output_tokens": reply.usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + reply.usage.output_tokens,
    }
