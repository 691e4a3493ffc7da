"""What a tool's answer means."""

from typing import Any

import orjson

from dispatch_runner.models import JsonObject
from dispatch_runner.protocols import ToolAnswer

NOTHING = object()
"""Stands for structured content that is not there; null may be an answer."""

REASON_LENGTH = 2_000


def decode(structured: Any, blocks: list[JsonObject], *, is_error: bool) -> ToolAnswer:
    """The answer in a result of `tools/call`: structured content, else JSON in its text, else text.

    An error of the tool is `error` with its text, never data. So is an object whose `success` is
    false: servers whose answers are JSON texts say it so.
    """
    output = _value(structured, blocks)
    if is_error:
        return ToolAnswer("error", reason=_reason(output) or "the tool failed without a reason")
    if isinstance(output, dict) and output.get("success") is False:
        return ToolAnswer("error", reason=_reason(output) or "the tool says success: false")
    return ToolAnswer("ok", output)


def _value(structured: Any, blocks: list[JsonObject]) -> Any:
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    if structured is not NOTHING and structured != {"result": "\n".join(texts)}:
        return structured
    # The official server wraps a text that a tool returns as {"result": text}: the text is the answer.
    if len(texts) < len(blocks):
        return {"text": "\n".join(texts), "content": blocks}
    text = "\n".join(texts)
    try:
        return orjson.loads(text)
    except ValueError:
        return {"text": text}


def _reason(output: Any) -> str:
    """The error's text, where answers have it."""
    if isinstance(output, dict):
        for key in ("error", "message", "text"):
            value = output.get(key)
            if isinstance(value, dict):
                value = value.get("message")
            if isinstance(value, str) and value.strip():
                return value[:REASON_LENGTH].strip()
    if output in ({}, {"text": ""}, None):
        return ""
    text = output if isinstance(output, str) else orjson.dumps(output).decode()
    return text[:REASON_LENGTH].strip()
