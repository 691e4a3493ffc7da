"""Acts a turn out on a connection."""

import json
from itertools import islice

import anyio
from anyio.abc import ByteReceiveStream

from support.model_server.http import Answer
from support.model_server.request import Request
from support.model_server.script import decided
from support.model_server.turns import (
    Cut,
    Delayed,
    Failure,
    Garbage,
    Hang,
    Reply,
    Stop,
    Structured,
    ToolCall,
    Turn,
    text,
)
from support.model_server.wires import wire_of

SCHEMA_TOOLS = ("StructuredOutput", "final_result")
"""How Claude Code and pydantic-ai name the tool by which a model answers a schema."""


class ClientLeft(Exception):
    """The client closed the connection before the answer was complete."""


class ConnectionEnds(Exception):
    """The turn wants the connection closed here."""


class Actor:
    """Answers one request on its connection."""

    def __init__(self, request: Request, answer: Answer, incoming: ByteReceiveStream) -> None:
        self._request = request
        self._answer = answer
        self._incoming = incoming
        self._wire = wire_of(request)

    async def act(self, turn: Turn) -> None:
        """Raises `ConnectionEnds` or `ClientLeft` when the connection is of no more use."""
        match turn:
            case Reply():
                await self._reply(turn)
            case Structured():
                await self._reply(self._structured(turn))
            case Failure():
                await self._fail(turn)
            case Garbage(body, content_type):
                await self._answer.whole(200, body, content_type)
            case Delayed(seconds, then):
                await self._wait(seconds)
                await self.act(decided(then, self._request))
            case Hang(reply):
                await self._hang(reply)
            case Cut(reply, failure):
                await self._cut(reply, failure)

    def _structured(self, turn: Structured) -> Reply:
        for name in self._request.tools:
            if name.startswith(SCHEMA_TOOLS):
                return Reply((ToolCall(name, turn.value),), Stop.TOOL, turn.usage)
        return text(json.dumps(dict(turn.value)), usage=turn.usage)

    async def _reply(self, reply: Reply) -> None:
        if not self._wire.streams(self._request):
            await self._answer.json(200, self._wire.whole(self._request, reply))
            return
        await self._answer.begin()
        for each in self._wire.events(self._request, reply):
            await self._answer.chunk(each)
            if reply.pause:
                await anyio.sleep(reply.pause)
        await self._answer.end()

    async def _fail(self, failure: Failure) -> None:
        status, headers, body = self._wire.failure(failure)
        if isinstance(failure.body, bytes):
            await self._answer.whole(status, failure.body, "text/plain", headers)
        else:
            await self._answer.json(status, failure.body or body, headers)

    async def _hang(self, reply: Reply | None) -> None:
        if reply is not None and self._wire.streams(self._request):
            await self._half(reply)
        await self._wait(float("inf"))

    async def _cut(self, reply: Reply, failure: Failure | None) -> None:
        if not self._wire.streams(self._request):
            await self._answer.json(200, self._wire.whole(self._request, reply), sent=0.5)
        else:
            await self._half(reply)
            if failure is not None:
                await self._answer.chunk(self._wire.error_event(failure))
                await self._answer.end()
        raise ConnectionEnds

    async def _half(self, reply: Reply) -> None:
        """The events up to the middle of the answer."""
        count = len(list(self._wire.events(self._request, reply))) // 2
        await self._answer.begin()
        for each in islice(self._wire.events(self._request, reply), count):
            await self._answer.chunk(each)

    async def _wait(self, seconds: float) -> None:
        """Waits, but not longer than the client does: a client that waits for an answer sends nothing."""
        with anyio.move_on_after(seconds):
            await self._incoming.receive()
            raise ClientLeft
