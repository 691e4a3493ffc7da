"""As much of HTTP/1.1 as clients of a model need: requests in, whole or chunked answers out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from anyio import EndOfStream, IncompleteRead
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

MOST_HEADER_BYTES = 1 << 20
SSE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]


async def read_head(stream: BufferedByteReceiveStream) -> Head | None:
    """The head of the next request on this connection; None when the client has closed it."""
    try:
        raw = await stream.receive_until(b"\r\n\r\n", MOST_HEADER_BYTES)
    except (EndOfStream, IncompleteRead):
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return Head(method, target, {name.lower(): value.strip() for name, _, value in pairs})


async def read_body(stream: BufferedByteReceiveStream, headers: Mapping[str, str]) -> bytes:
    """The body, by its length or in chunks."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(stream)
    return await stream.receive_exactly(int(headers.get("content-length", "0")))


async def _read_chunks(stream: BufferedByteReceiveStream) -> bytes:
    body = b""
    while size := int(await stream.receive_until(b"\r\n", 64), 16):
        body += await stream.receive_exactly(size)
        await stream.receive_exactly(2)
    await stream.receive_until(b"\r\n", 64)
    return body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    known = {each.value: each.phrase for each in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {known.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Answer:
    """One answer on a connection: whole, or in chunks."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def json(
        self, status: int, body: Any, headers: Mapping[str, str] | None = None, *, sent: float = 1.0
    ) -> None:
        """A JSON document, or the first part of it when less is to be sent than its length says."""
        await self.whole(status, json.dumps(body).encode(), "application/json", headers, sent=sent)

    async def whole(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str] | None = None,
        *,
        sent: float = 1.0,
    ) -> None:
        """A body with its length, or the first part of it."""
        length = {"content-type": content_type, "content-length": str(len(body))}
        head = _head(status, {**length, **(headers or {})})
        await self._stream.send(head + body[: int(len(body) * sent)])

    async def head_only(self) -> None:
        """Status 200 and no body, as HEAD wants it."""
        await self._stream.send(_head(200, {"content-length": "0"}))

    async def begin(
        self, content_type: str = SSE, headers: Mapping[str, str] | None = None
    ) -> None:
        """Status 200 and a body in chunks that `chunk` and `end` send."""
        fields = {
            "content-type": content_type,
            "transfer-encoding": "chunked",
            "cache-control": "no-cache",
        }
        await self._stream.send(_head(200, {**fields, **(headers or {})}))

    async def chunk(self, data: bytes) -> None:
        """The next piece of the body."""
        await self._stream.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The body is complete."""
        await self._stream.send(b"0\r\n\r\n")
