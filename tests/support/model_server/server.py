"""The scripted model server: a thread with an event loop of its own, on a free port of loopback."""

import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

import anyio
import anyio.to_thread
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from anyio.abc import SocketAttribute, SocketStream, TaskStatus
from anyio.from_thread import start_blocking_portal
from anyio.streams.buffered import BufferedByteReceiveStream

from support.model_server.answering import Actor, ClientLeft, ConnectionEnds
from support.model_server.http import Answer, Head, read_body, read_head
from support.model_server.request import Request
from support.model_server.script import Script
from support.model_server.turns import Steps, Turn, text
from support.model_server.wires import protocol_of, wire_of

SIDE_MODEL = "side-model"
"""Requests for this model (titles and the like) are answered outside of the script."""
GONE = (BrokenResourceError, ClosedResourceError, ConnectionEnds, EndOfStream)
OK = text("ok")
_SESSION = re.compile(r"/s/([^/]+)(/.*)")
_COUNTS = re.compile(r"/v1/messages/count_tokens|/v1(beta)?/models/[^/:]+:countTokens")


class ModelServer:
    """Serves a script while its `with` block lasts.

        with ModelServer([tool("Write", {...}), text("done")]) as server:
            ...  # point a client at server.url

    `server.url + "/s/NAME"` is a session with a copy of the script to itself, or with the script
    that `sessions` or `play` give it. `server.requests` are the model calls so far, in order of
    arrival, without those to the side model; `server.everything` holds all requests.
    """

    def __init__(self, script: Steps = OK, sessions: Mapping[str, Steps] | None = None) -> None:
        self.peak = 0
        """Most model calls that were being answered at once."""
        self.everything: list[Request] = []
        self._default = script
        self._scripts = {name: Script(steps) for name, steps in (sessions or {}).items()}
        self._in_flight = 0
        self._changed = threading.Condition()
        self._running: AbstractContextManager[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self._running = self._run()
        self.url = self._running.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        assert self._running is not None
        self._running.__exit__(kind, error, where)

    @property
    def requests(self) -> list[Request]:
        """The model calls so far, of all sessions."""
        return [each for each in list(self.everything) if each.protocol and not each.side]

    def session(self, name: str) -> list[Request]:
        """The model calls of one session so far."""
        return [each for each in self.requests if each.session == name]

    def play(self, name: str, script: Steps) -> str:
        """Gives a session a script (from its start) and returns the session's URL."""
        self._scripts[name] = Script(script)
        return f"{self.url}/s/{quote(name, safe='')}"

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Request]:
        """Blocks until so many model calls have arrived; raises `TimeoutError` if they do not."""
        self._wait(lambda: len(self.requests) >= count, timeout)
        return self.requests

    def wait_for_leaving(self, count: int, timeout: float = 10.0) -> None:
        """Blocks until so many clients have closed the connection within an answer."""
        self._wait(lambda: sum(each.left for each in self.requests) >= count, timeout)

    async def arrived(self, count: int, timeout: float = 10.0) -> list[Request]:  # noqa: ASYNC109
        """`wait_for` for tests with an event loop."""
        return await anyio.to_thread.run_sync(self.wait_for, count, timeout)

    async def left(self, count: int, timeout: float = 10.0) -> None:  # noqa: ASYNC109
        """`wait_for_leaving` for tests with an event loop."""
        await anyio.to_thread.run_sync(self.wait_for_leaving, count, timeout)

    def _wait(self, reached: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                raise TimeoutError(f"not within {timeout:g} s; so far: {self.everything}")

    @contextmanager
    def _run(self) -> Iterator[str]:
        with start_blocking_portal("asyncio", name="model server") as portal:
            serving, port = portal.start_task(self._serve)
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                serving.cancel()

    async def _serve(self, *, task_status: TaskStatus[int]) -> None:
        async with await anyio.create_tcp_listener(
            local_host="127.0.0.1", backlog=1024
        ) as listener:
            task_status.started(listener.extra(SocketAttribute.local_port))
            await listener.serve(self._connection)

    async def _connection(self, stream: SocketStream) -> None:
        async with stream:
            incoming = BufferedByteReceiveStream(stream)
            try:
                while head := await read_head(incoming):
                    body = await read_body(incoming, head.headers)
                    await self._request(self._noted(head, body), Answer(stream), incoming)
            except GONE:
                pass

    def _noted(self, head: Head, body: bytes) -> Request:
        path, _, query = head.target.partition("?")
        within = _SESSION.fullmatch(path)
        session, path = (unquote(within[1]), within[2]) if within else ("", path)
        protocol = protocol_of(head.method, path)
        with self._changed:
            request = Request(
                number=len(self.everything) + 1,
                method=head.method,
                path=path,
                query=query,
                session=session,
                headers=head.headers,
                body=_parsed(body),
                time=time.monotonic(),
                in_flight=self._in_flight + 1,
                protocol=protocol,
            )
            if protocol:
                request.tools = wire_of(request).offered(request.body)
            request.side = request.model == SIDE_MODEL
            self.everything.append(request)
            self._changed.notify_all()
        return request

    async def _request(
        self, request: Request, answer: Answer, incoming: BufferedByteReceiveStream
    ) -> None:
        if not request.protocol:
            await _not_a_model_call(request, answer)
            return
        async with self._being_answered(request):
            await Actor(request, answer, incoming).act(self._turn(request))

    @asynccontextmanager
    async def _being_answered(self, request: Request) -> AsyncIterator[None]:
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        try:
            yield
        except (BrokenResourceError, ClosedResourceError, EndOfStream, ClientLeft):
            with self._changed:
                request.left = True
                self._changed.notify_all()
            raise ConnectionEnds from None
        finally:
            self._in_flight -= 1

    def _turn(self, request: Request) -> Turn:
        if request.side:
            return text("on the side")
        script = self._scripts.get(request.session)
        if script is None:
            script = self._scripts.setdefault(request.session, Script(self._default))
        return script.next(request)


async def _not_a_model_call(request: Request, answer: Answer) -> None:
    """What clients ask beside: whether the server is there, its models, the count of tokens."""
    if request.method == "HEAD":
        await answer.head_only()
    elif _COUNTS.fullmatch(request.path):
        await answer.json(200, {"input_tokens": 100, "totalTokens": 100})
    elif request.method == "GET" and request.path == "/v1/models":
        await answer.json(200, {"object": "list", "data": [], "has_more": False})
    else:
        await answer.json(404, {"error": {"message": f"no such path: {request.path}"}})


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
