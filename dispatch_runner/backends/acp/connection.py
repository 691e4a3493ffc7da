"""JSON-RPC 2.0 over the pipes of a program, one message a line, as the Agent Client Protocol has it."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import anyio
import orjson
from anyio.lowlevel import checkpoint

from dispatch_runner.backends.shared.values import object_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process.dialogue import Dialogue

T = TypeVar("T")

MOST_BYTES = 16 * 1024 * 1024
"""Of one message. A program that sends a longer line is hung up on."""

LAST_WORDS_SECONDS = 0.2
"""How long what a program wrote is read after its end, when someone else holds its stdout open."""

MESSAGES_AT_ONCE = 16
"""Then others have their turn: many agents may talk fast at once."""

NOISE_LIMIT = 200
"""Characters that are kept of a line that is no message."""

METHOD_NOT_FOUND = -32601

START_HINT = "its command must start a program that speaks ACP on stdin and stdout"


class RpcError(Exception):
    """The other side answered a request with an error."""

    def __init__(self, method: str, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class Listener(Protocol):
    """Who hears what the program says without being asked. Called in the event loop: must be quick.

    What these raise ends the connection and is raised by `Connection.during`.
    """

    def on_notification(self, method: str, params: JsonObject) -> None:
        """The program tells something."""
        ...

    def on_request(self, method: str, params: JsonObject) -> JsonObject | None:
        """The answer to what the program asks; null: there is no such method."""
        ...


class Connection:
    """A program that speaks JSON-RPC. One request is under way at a time."""

    def __init__(self, program: Dialogue, name: str, listener: Listener) -> None:
        self.noise: str | None = None
        """The last line that was no message."""
        self.heard = False
        """Whether any message came."""
        self._program = program
        self.name = name
        self._listener = listener
        self._number = 0
        self._method = ""
        self._awaited: int | None = None
        self._response: JsonObject | None = None
        self._news = anyio.Event()
        """Set when the response is there, or nothing more will come."""
        self._failure: Exception | None = None
        self._to_program, self._outgoing = anyio.create_memory_object_stream[bytes](math.inf)

    async def during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Sends and receives until the work is done; gives its result.

        Cancelling cancels the work, which may still use the connection in a shielded scope then.
        """
        traffic = anyio.CancelScope(shield=True)
        results: list[T] = []
        with self._to_program, self._outgoing:
            async with anyio.create_task_group() as group:
                group.start_soon(self._traffic, traffic)
                try:
                    results.append(await work())
                except Exception as error:  # noqa: BLE001 - raised below; a group would wrap it
                    self._failure = error
                finally:
                    traffic.cancel()
        if self._failure is not None:
            raise self._failure
        return results[0]

    async def request(self, method: str, params: JsonObject) -> JsonObject:
        """The result that the program answers with.

        Raises `RpcError` when it answers with an error, `AgentError` when it ends or hangs up.
        """
        self._number += 1
        self._method = method
        self._awaited, self._response, self._news = self._number, None, anyio.Event()
        self._send({"id": self._number, "method": method, "params": params})
        return await self.response()

    async def response(self) -> JsonObject:
        """What the last request is answered with. May be called again when the wait was cancelled."""
        if self._failure is None:
            await self._news.wait()
        if self._response is None:
            assert self._failure is not None
            raise self._failure
        if "error" in self._response:
            raise _rpc_error(self._method, self._response["error"])
        return object_in(self._response.get("result"))

    def notify(self, method: str, params: JsonObject) -> None:
        """Tells the program something. Never waits."""
        self._send({"method": method, "params": params})

    def _send(self, message: JsonObject) -> None:
        self._to_program.send_nowait(orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n")

    async def _traffic(self, scope: anyio.CancelScope) -> None:
        with scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self._write)
                group.start_soon(self._watch)
                await self._read()

    async def _write(self) -> None:
        async for line in self._outgoing:
            try:
                await self._program.send(line)
            except OSError:  # it reads no more; what it still writes may say why
                return

    async def _watch(self) -> None:
        """A program may end while something that it started holds its stdout open."""
        try:
            await self._program.wait_end()
        except AgentError as error:
            self._fail(error)
            return
        await anyio.sleep(LAST_WORDS_SECONDS)
        self._fail(self._ended())

    async def _read(self) -> None:
        rest = bytearray()
        try:
            while content := await self._program.receive():
                *lines, last = content.split(b"\n")
                for number, line in enumerate(lines):
                    self._take(bytes(rest) + line)
                    rest.clear()
                    if number % MESSAGES_AT_ONCE == 0:
                        await checkpoint()
                rest += last
                if len(rest) > MOST_BYTES:
                    self._fail(self._too_long(len(rest)))
                    return
                await checkpoint()
            self._take(bytes(rest))
            with anyio.move_on_after(LAST_WORDS_SECONDS):  # its exit code says more
                await self._program.wait_end()
        except Exception as error:  # noqa: BLE001 - raised by `response`
            self._fail(error)
        else:
            self._fail(self._ended())

    def _take(self, line: bytes) -> None:
        message = _message(line)
        if message is None:
            text = line[: 4 * NOISE_LIMIT].decode("utf-8", "replace").strip()
            self.noise = text[:NOISE_LIMIT] or self.noise
            return
        self.heard = True
        method = message.get("method")
        if not isinstance(method, str):
            self._settle(message)
        elif "id" in message:
            self._reply(message["id"], method, object_in(message.get("params")))
        else:
            self._listener.on_notification(method, object_in(message.get("params")))

    def _settle(self, message: JsonObject) -> None:
        if message.get("id") == self._awaited and ("result" in message or "error" in message):
            self._response, self._awaited = message, None
            self._news.set()

    def _reply(self, number: Any, method: str, params: JsonObject) -> None:
        result = self._listener.on_request(method, params)
        if result is None:
            error = {"code": METHOD_NOT_FOUND, "message": f"method not found: {method[:100]}"}
            self._send({"id": number, "error": error})
        else:
            self._send({"id": number, "result": result})

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._news.set()

    def _ended(self) -> AgentError:
        """What it means that nothing more will come."""
        ended = self._program.epitaph() if self._program.ended() else "closed its stdout"
        if self.noise and not self.heard:
            return AgentError(
                ErrorType.BAD_OUTPUT,
                f"{self.name!r} prints what is not of its protocol: {self.noise!r}",
                hint=START_HINT,
                details={"ending": ended},
            )
        return AgentError(
            ErrorType.CRASHED,
            f"{self.name!r} {ended}",
            hint=None if self.heard else START_HINT,
            details={"noise": self.noise} if self.noise else None,
        )

    def _too_long(self, size: int) -> AgentError:
        most = MOST_BYTES >> 20
        return AgentError(
            ErrorType.BAD_OUTPUT,
            f"{self.name!r} sent {size} bytes of one message, more than {most} MiB",
        )


def _message(line: bytes) -> JsonObject | None:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return message if "id" in message or "method" in message else None


def _rpc_error(method: str, error: Any) -> RpcError:
    fields = object_in(error)
    code, message = fields.get("code"), fields.get("message")
    return RpcError(
        method,
        code if isinstance(code, int) else 0,
        message if isinstance(message, str) and message else "an error without a message",
        fields.get("data"),
    )
