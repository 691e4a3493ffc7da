"""A scripted model on loopback that speaks Anthropic Messages, OpenAI chat and responses, and Gemini.

    with ModelServer([tool("Write", {"file_path": "/tmp/a", "content": "x"}), text("done")]) as server:
        run_a_client(server.url)
    assert "tool_result" in server.requests[1].text

A script is a turn, a list of turns (the last one is repeated for ever), or holds functions that see
the request and return a turn. It is not a model: it shows protocols, processes and limits, never quality.
"""

from support.model_server.request import Request
from support.model_server.server import SIDE_MODEL, ModelServer
from support.model_server.turns import (
    Reply,
    Step,
    Steps,
    Turn,
    Usage,
    at_most,
    cut_stream,
    delay,
    empty,
    ended,
    error,
    fails_for,
    garbage,
    hang,
    long_text,
    max_tokens,
    overloaded,
    quota_after,
    quota_exhausted,
    refusal,
    refused_key,
    repeat,
    structured,
    text,
    tool,
    tools,
)

__all__ = [
    "SIDE_MODEL",
    "ModelServer",
    "Reply",
    "Request",
    "Step",
    "Steps",
    "Turn",
    "Usage",
    "at_most",
    "cut_stream",
    "delay",
    "empty",
    "ended",
    "error",
    "fails_for",
    "garbage",
    "hang",
    "long_text",
    "max_tokens",
    "overloaded",
    "quota_after",
    "quota_exhausted",
    "refusal",
    "refused_key",
    "repeat",
    "structured",
    "text",
    "tool",
    "tools",
]
