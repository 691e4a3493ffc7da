"""MCP over HTTP: one failed request stays one failed request, and an answer has a limit.

The official client takes a transport error of one request for the end of the whole connection, and
reads answers of any size. The HTTP client that it is given here turns such errors into JSON-RPC
errors of the one request, which say what happened.
"""

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import httpx2
import orjson

from dispatch_runner.mcp.stdio import MOST_BYTES

UNDELIVERED = -32_050
"""Code of the error of a request that never reached the server."""

BROKEN = -32_051
"""Code of the error of a request that may have reached it and got no usable answer."""

ERROR_BYTES = 64 * 1024


class RequestClient(httpx2.AsyncClient):
    """An HTTP client for the official transport: a request of it never raises a transport error."""

    def __init__(self, headers: Mapping[str, str], connect_seconds: float, seconds: float) -> None:
        self.heard_at = -math.inf
        """When the last answer began, by the event loop's clock."""
        super().__init__(
            headers={"accept-encoding": "identity", **headers},
            timeout=httpx2.Timeout(connect_seconds, read=seconds, pool=None),
        )

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        if request.method != "POST":  # the stream of notifications may be silent for hours
            timeouts = {**request.extensions.get("timeout", {}), "read": None}
            request.extensions = {**request.extensions, "timeout": timeouts}
            return await super().send(request, **options)
        try:
            response = await super().send(request, **options)
            self.heard_at = anyio.current_time()
            if response.status_code >= 400 and response.status_code != 404:
                return await _refused(response, request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol) as error:
            return _failed(request, UNDELIVERED, f"cannot be reached: {_text(error)}")
        except httpx2.TransportError as error:
            return _failed(request, BROKEN, f"did not answer: {_text(error)}")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Bounded(response.stream)
        return response


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer. What goes wrong in it is an error that the transport expects."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > MOST_BYTES:
                    raise httpx2.StreamError(f"it is larger than {MOST_BYTES >> 20} MiB")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"it broke off: {_text(error)}") from error

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _refused(response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    """An answer with an error status; one that is no JSON-RPC error gets one that names the status."""
    content = b""
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > ERROR_BYTES:
            break
    await response.aclose()
    try:
        is_rpc = "jsonrpc" in orjson.loads(content)
    except (ValueError, TypeError):
        is_rpc = False
    if is_rpc:
        return httpx2.Response(
            response.status_code,
            headers={"content-type": "application/json"},
            content=content,
            request=request,
        )
    said = " ".join(content[:300].decode("utf-8", "replace").split())
    reason = f"answered HTTP {response.status_code} {response.reason_phrase}"
    return _failed(request, BROKEN, f"{reason}: {said}" if said else reason)


def _failed(request: httpx2.Request, code: int, message: str) -> httpx2.Response:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return httpx2.Response(
        502,
        headers={"content-type": "application/json"},
        content=orjson.dumps(error),
        request=request,
    )


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
