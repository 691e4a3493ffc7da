"""MCP over the pipes of a program: one JSON-RPC message a line."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from dispatch_runner.process.dialogue import Dialogue

MOST_BYTES = 16 * 1024 * 1024
"""Of one message. A server that sends a longer line is hung up on."""

LAST_WORDS_SECONDS = 0.2
"""How long what a program wrote is read after its end, when someone else holds its stdout open."""

Incoming: TypeAlias = SessionMessage | Exception
Streams: TypeAlias = tuple[
    MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]
]


class Line:
    """The traffic with one server: what its owner wants to know of it."""

    def __init__(self, program: Dialogue, on_end: Callable[[], None]) -> None:
        self.program = program
        self._on_end = on_end
        self.heard_at = anyio.current_time()
        """When the last message came, by the event loop's clock."""
        self.noise: str | None = None
        """The last line that was no message."""
        self.dead = False
        """Whether nothing more will come."""
        self.complaint: str | None = None
        """Why we hung up, if it was we."""

    @asynccontextmanager
    async def transport(self) -> AsyncIterator[Streams]:
        """The streams that the official client talks to; they close when the program ends."""
        to_client, incoming = anyio.create_memory_object_stream[Incoming](0)
        # no limit: the notice of a cancelled call must never wait for a server that does not read
        outgoing, from_client = anyio.create_memory_object_stream[SessionMessage](math.inf)
        with to_client, incoming, outgoing, from_client:
            async with anyio.create_task_group() as group:
                group.start_soon(self._receive, to_client)
                group.start_soon(self._send, from_client, to_client)
                group.start_soon(self._watch, to_client)
                yield incoming, outgoing
                group.cancel_scope.cancel()

    async def _receive(self, to_client: MemoryObjectSendStream[Incoming]) -> None:
        parts: list[bytes] = []
        length = 0
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while chunk := await self.program.receive():
                *lines, rest = chunk.split(b"\n")
                for line in lines:
                    await self._deliver(b"".join([*parts, line]), to_client)
                    parts, length = [], 0
                parts.append(rest)
                length += len(rest)
                if length > MOST_BYTES:
                    self.complaint = f"sent more than {MOST_BYTES >> 20} MiB as one message"
                    break
        self._hang_up(to_client)

    async def _deliver(self, line: bytes, to_client: MemoryObjectSendStream[Incoming]) -> None:
        if not line.strip():
            return
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self.noise = line[:200].decode("utf-8", "replace").strip()
            return
        self.heard_at = anyio.current_time()
        await to_client.send(SessionMessage(message))

    async def _send(
        self,
        from_client: MemoryObjectReceiveStream[SessionMessage],
        to_client: MemoryObjectSendStream[Incoming],
    ) -> None:
        try:
            async for each in from_client:
                text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                await self.program.send(text.encode("utf-8", "replace") + b"\n")
        except OSError:  # it reads no more: the calls under way need to know
            self._hang_up(to_client)

    async def _watch(self, to_client: MemoryObjectSendStream[Incoming]) -> None:
        """A program may end while something that it started holds its stdout open."""
        await self.program.wait_end()
        await anyio.sleep(LAST_WORDS_SECONDS)
        self._hang_up(to_client)

    def _hang_up(self, to_client: MemoryObjectSendStream[Incoming]) -> None:
        to_client.close()
        self.dead = True
        self._on_end()
