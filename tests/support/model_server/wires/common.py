"""What the protocols share: server-sent events, pieces of text, headers of failures."""

import json
import math
from collections.abc import Iterator
from typing import Any, Protocol

from support.model_server.request import Request
from support.model_server.turns import Failure, JsonObject, Reply

Refused = tuple[int, dict[str, str], JsonObject]
"""Status, headers and body of a failure."""


class Wire(Protocol):
    """One protocol of models; a module of this package is one."""

    def streams(self, request: Request) -> bool:
        """Whether the client asked for a stream."""

    def offered(self, body: JsonObject) -> tuple[str, ...]:
        """Names of the tools in the request."""

    def whole(self, request: Request, reply: Reply) -> JsonObject:
        """The answer in one document."""

    def events(self, request: Request, reply: Reply) -> Iterator[bytes]:
        """The answer as server-sent events."""

    def failure(self, failure: Failure) -> Refused:
        """The failure as this protocol's provider sends it."""

    def error_event(self, failure: Failure) -> bytes:
        """The failure within a stream that has begun."""


def event(data: JsonObject, name: str | None = None) -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def pieces(words: str, size: int) -> Iterator[str]:
    """The text in parts of so many characters."""
    for start in range(0, len(words), size):
        yield words[start : start + size]


def arguments(call: Any) -> str:
    """The arguments of a tool call as JSON text."""
    return json.dumps(dict(call.arguments))


def retry_after(failure: Failure) -> dict[str, str]:
    """The header that says when to come again, in whole seconds as providers send it."""
    if failure.retry_after is None:
        return {}
    return {"retry-after": f"{math.ceil(failure.retry_after)}"}
