"""One server as its callers see it: a connection that is opened when needed, shared, and replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from dispatch_runner.mcp.breaker import Breaker
from dispatch_runner.mcp.failures import ConnectionLost, NoSuchTool, NotDelivered, Unavailable
from dispatch_runner.protocols import ToolAnswer, ToolInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup, TaskStatus

    from dispatch_runner.mcp.session import Session
    from dispatch_runner.models import JsonObject
    from dispatch_runner.settings.mcp import McpServer

NOT_INSTALLED = "the package 'mcp' 2 is not installed: pip install 'dispatch-runner[mcp]'"

LAST_WORDS_SECONDS = 1.0
"""How long a failed call waits to learn how the server's process ended."""


class RemoteServer:
    """Calls the tools of one server. All tasks share it.

    A call takes at most the connect timeout, the pauses between attempts, the ends of processes that
    failed, and the call's own timeout.
    """

    def __init__(
        self,
        server: McpServer,
        group: TaskGroup,
        *,
        env: Mapping[str, str],
        hurry: anyio.Event,
        clock: Callable[[], float],
    ) -> None:
        self._server = server
        self._group = group
        self._env = env
        self._hurry = hurry
        self._breaker = Breaker(clock)
        self._legacy = False
        self._connection: Connection | None = None
        self._opening: Opening | None = None

    async def call(self, tool: str, arguments: JsonObject, correlation_id: str) -> ToolAnswer:
        """Calls a tool; never raises for a failure."""
        probe = False
        try:
            probe = self._admitted()
            return await self._call(tool, arguments, correlation_id)
        except Unavailable as error:
            reason = f"MCP server '{self._server.name}' is unavailable: {error.reason}"
            return ToolAnswer("not_assessed", reason=reason)
        finally:
            if probe:
                self._breaker.release()

    async def tools(self) -> Sequence[ToolInfo]:
        """What it offers now; nothing when it cannot be reached. Takes as long as a call, at most."""
        probe = False
        try:
            probe = self._admitted()
            connection = await self._connected()
            with connection.used(), anyio.move_on_after(self._server.timeout_seconds):
                session = connection.session
                known = session.tools if session.tools is not None else await session.refresh()
                self._breaker.succeeded()
                return tuple(known.values())
        except (Unavailable, NotDelivered, ConnectionLost):
            return ()  # whoever calls a tool of it is told why
        finally:
            if probe:
                self._breaker.release()
        return ()

    def close(self) -> None:
        """Ends the connection; its task ends soon."""
        if self._connection is not None:
            self._connection.retire("it was closed")
        if self._opening is not None:
            self._opening.scope.cancel()

    def _admitted(self) -> bool:
        if self._server.problem:
            raise Unavailable(self._server.problem)
        return self._breaker.admit()

    async def _call(self, tool: str, arguments: JsonObject, correlation_id: str) -> ToolAnswer:
        connection = await self._connected()
        try:
            return await self._ask(connection, tool, arguments, correlation_id)
        except NotDelivered as error:  # nobody has seen the call: it may be made again
            self._lose(connection, str(error))
        connection = await self._connected()
        try:
            return await self._ask(connection, tool, arguments, correlation_id)
        except NotDelivered as error:
            self._lose(connection, str(error))
            raise Unavailable(f"it {error}") from error

    async def _ask(
        self, connection: Connection, tool: str, arguments: JsonObject, correlation_id: str
    ) -> ToolAnswer:
        asked_at = anyio.current_time()
        try:
            with connection.used(), anyio.move_on_after(self._server.timeout_seconds):
                answer = await self._answer(connection.session, tool, arguments, correlation_id)
                self._breaker.succeeded()
                return answer
        except ConnectionLost as error:
            await self._mourn(connection, str(error))
            name = self._server.name
            reason = f"MCP server '{name}' failed during the call: {connection.reason}"
            return ToolAnswer("error", reason=reason)
        return self._too_late(connection, asked_at)

    async def _answer(
        self, session: Session, tool: str, arguments: JsonObject, correlation_id: str
    ) -> ToolAnswer:
        known = session.tools if session.tools is not None else await session.refresh()
        if tool not in known and tool not in (known := await session.refresh()):
            return self._missing(tool, known)
        try:
            return await session.call(tool, arguments, correlation_id)
        except NoSuchTool as error:
            known = await session.refresh()
            if tool not in known:
                return self._missing(tool, known)
            return ToolAnswer("error", reason=str(error))

    def _missing(self, tool: str, known: Mapping[str, ToolInfo]) -> ToolAnswer:
        names = ", ".join(sorted(known)[:20]) or "none"
        reason = f"MCP server '{self._server.name}' has no tool '{tool}'; it has: {names}"
        return ToolAnswer("not_assessed", reason=reason)

    def _too_late(self, connection: Connection, asked_at: float) -> ToolAnswer:
        """A server that said nothing at all since then hangs: the next call gets a new connection, and
        this one is ended when the other calls under way have their answers."""
        reason = f"no answer within {self._server.timeout_seconds:g} s"
        if connection.session.silent_since(asked_at):
            self._lose(connection, f"gave {reason}")
        noise = connection.session.noise()
        wrote = f"; on its stdout it wrote {noise!r}" if noise else ""
        return ToolAnswer("error", reason=reason + wrote)

    async def _mourn(self, connection: Connection, reason: str) -> None:
        """The connection failed. Of a program that ended by itself its end is waited for, a moment."""
        if not connection.session.alive():
            with anyio.move_on_after(LAST_WORDS_SECONDS):
                await connection.ended.wait()
        self._lose(connection, reason)

    def _lose(self, connection: Connection, reason: str) -> None:
        """The connection failed: counted once, however many calls it had."""
        self._forget(connection)
        if connection.retire(f"it {reason}"):
            self._breaker.failed(connection.reason)

    def _forget(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None

    async def _connected(self) -> Connection:
        """The connection. Whoever needs it first has it opened; all others wait for the same."""
        while True:
            connection = self._connection
            if connection is not None and connection.session.alive():
                return connection
            if connection is not None:
                await self._mourn(connection, "ended between two calls")
                continue
            if self._opening is None:
                self._opening = Opening()
                self._group.start_soon(self._open, self._opening)
            opening = self._opening
            await opening.done.wait()
            if opening.failure is not None:
                raise Unavailable(opening.failure)

    async def _open(self, opening: Opening) -> None:
        try:
            with opening.scope:
                await anyio.to_thread.run_sync(_import_client)  # half a second, so in a thread
                self._connection = await self._connection_after_attempts()
        except Unavailable as error:
            opening.failure = error.reason
        except Exception as error:  # noqa: BLE001 - the other servers and tasks go on
            opening.failure = repr(error)
        finally:
            self._opening = None
            opening.done.set()

    async def _connection_after_attempts(self) -> Connection:
        while True:
            self._breaker.check()
            await anyio.sleep(self._breaker.pause())
            connection = Connection(self._server, self._env, self._hurry, legacy=self._legacy)
            await self._group.start(self._keep, connection)
            if connection.failure is None:
                return connection
            failure = connection.failure
            self._legacy = not self._legacy  # some old servers end at any word but the handshake
            self._breaker.failed(failure.reason, lasting=failure.lasting)
            if self._breaker.is_open:
                raise failure

    async def _keep(self, connection: Connection, *, task_status: TaskStatus[None]) -> None:
        await connection.run(task_status)
        if connection.failure is None:
            self._lose(connection, "ended")


class Opening:
    """An attempt to connect that several callers wait for."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.failure: str | None = None
        self.scope = anyio.CancelScope()


class Connection:
    """One connection, kept open by a task of its own: what it opened can only be closed there."""

    session: Session

    def __init__(
        self, server: McpServer, env: Mapping[str, str], hurry: anyio.Event, *, legacy: bool
    ) -> None:
        self.over = anyio.Event()
        """Set to close it, or when it has ended by itself."""
        self.ended = anyio.Event()
        """Set when nothing is left of it."""
        self.reason = ""
        """Why it is no longer used."""
        self.failure: Unavailable | None = None
        """Why it could not be opened."""
        self._server = server
        self._env = env
        self._hurry = hurry
        self._legacy = legacy
        self._retired = False
        self._calls = 0

    async def run(self, task_status: TaskStatus[None]) -> None:
        """Returns when nothing is left of it; `started` when it is open, or when it never will be."""
        from dispatch_runner.mcp.session import open_session

        opened = False
        try:
            async with open_session(
                self._server,
                env=self._env,
                hurry=self._hurry,
                on_end=self.over.set,
                legacy=self._legacy,
            ) as self.session:
                opened = True
                task_status.started()
                await self.over.wait()
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this connection only
            failure = error if isinstance(error, Unavailable) else Unavailable(repr(error))
            self.reason = failure.reason
            if not opened:
                self.failure = failure
                task_status.started()
        finally:
            self.ended.set()

    @contextmanager
    def used(self) -> Iterator[None]:
        """For the time of a call: a retired connection stays open for the calls that it has."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._close_if_idle()

    def retire(self, reason: str) -> bool:
        """No new calls will use it; it closes when it has none left. Whether this was news."""
        if self._retired:
            return False
        self._retired = True
        self.reason = self.reason or reason
        self._close_if_idle()
        return True

    def _close_if_idle(self) -> None:
        if self._retired and not self._calls:
            self.over.set()


def _import_client() -> None:
    try:
        import dispatch_runner.mcp.session  # noqa: F401
    except ImportError as error:
        raise Unavailable(NOT_INSTALLED) from error
