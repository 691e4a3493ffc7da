"""Starts one program and tells when it has ended."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.lowlevel import RunVar, checkpoint

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.process.family import orphans
from dispatch_runner.process.limits import ResourceLimits
from dispatch_runner.process.output import nameless_file
from dispatch_runner.process.tags import Tagged, new_tag

if TYPE_CHECKING:
    import subprocess

T = TypeVar("T")

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds between the attempts to get what the machine is short of."""

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ETXTBSY})
"""Errors that go away by themselves: descriptors, processes, memory, a program still being written."""

LONGEST_PAUSE = 0.02

HELD_SECONDS = 0.01
"""How long a row of starts may hold up the event loop."""


class Child:
    """A program that was started. It leads its own session and process group, by its own id."""

    def __init__(
        self,
        popen: "subprocess.Popen[bytes]",
        marker: str,
        tag: int,
        limits: ResourceLimits | None = None,
    ) -> None:
        self.pid = popen.pid
        self.marker = marker
        self.tag = tag
        self.returncode: int | None = None
        self._popen = popen
        self._limits = limits
        self._cpu_seconds = 0.0
        orphans.programs.add(self.pid)

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or null while it runs. Reaps it."""
        if self.returncode is None:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._set(-signal.SIGKILL)
                raise AgentError(
                    ErrorType.INTERNAL,
                    f"the exit code of process {self.pid} was taken by someone else",
                    hint="something in this process waits for children that it did not start",
                ) from None
            if pid:
                self._cpu_seconds = usage.ru_utime + usage.ru_stime
                self._set(os.waitstatus_to_exitcode(status))
        return self.returncode

    async def wait(self) -> int:
        """Waits for the end and gives the exit code, negative for a signal."""
        handle = _handle_of(self.pid)
        if handle is None:
            return await self.wait_by_polling()
        try:
            await anyio.wait_readable(handle)
        finally:
            os.close(handle)
        return await self.wait_by_polling()

    async def wait_by_polling(self) -> int:
        """The same where the system has no handles of processes: at most 20 ms late."""
        pause = 0.001
        while (code := self.poll()) is None:
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return code

    def exceeded(self) -> str | None:
        """The limit that ended it, for people, where that is known."""
        if self.returncode is None or self._limits is None:
            return None
        return self._limits.exceeded(self.returncode, self._cpu_seconds)

    def _set(self, code: int) -> None:
        self.returncode = self._popen.returncode = code
        orphans.programs.discard(self.pid)


async def patiently(action: Callable[[], T]) -> T:
    """The action's result; waits up to a second for what the machine is short of.

    Raises the last `OSError`.
    """
    for pause in PAUSES:
        try:
            return action()
        except OSError as error:
            if error.errno not in SCARCE:
                raise
        await anyio.sleep(pause)
    return action()


async def launch(
    command: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str],
    stdin: bytes | int,
    stdout: int,
    stderr: int,
    marker: str,
    limits: ResourceLimits | None = None,
) -> Child:
    """Starts the program; it reads the bytes, or from the descriptor, which stays the caller's.

    Raises `AgentError` when it cannot be started.
    """
    import subprocess

    tag = new_tag()

    def start() -> "subprocess.Popen[bytes]":
        place = _located(command[0], env.get("PATH"))
        vector = command
        if limits is not None:
            vector = limits.around([_runnable(place or command[0], cwd), *command[1:]])
        source = stdin if isinstance(stdin, int) else _readable(stdin)
        try:
            with Tagged(tag):
                return subprocess.Popen(
                    vector,
                    executable=place if limits is None else None,
                    stdin=source,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=cwd,
                    env=env,
                    start_new_session=True,
                )
        finally:
            if source != stdin:
                os.close(source)

    door = _the_door()
    await door.turn()
    began = time.monotonic()
    try:
        return Child(await patiently(start), marker, tag, limits)
    except (OSError, ValueError) as error:
        raise refusal(error, command, cwd) from error
    finally:
        door.passed(time.monotonic() - began)


class Door:
    """Lets the starts of programs through so that a row of them does not hold up the event loop.

    A start blocks for up to a millisecond or more. Whenever starts have taken `HELD_SECONDS`, the rest of
    the loop has a turn before the next one.
    """

    def __init__(self) -> None:
        self._held = 0.0
        self._opened: anyio.Event | None = None
        """Set when the others have had their turn; null while no one waits for that."""

    async def turn(self) -> None:
        """Returns when a program may be started."""
        while self._held >= HELD_SECONDS:
            if self._opened is not None:
                await self._opened.wait()
                continue
            opened = self._opened = anyio.Event()
            try:
                await checkpoint()  # who is due now comes to the door meanwhile
            finally:
                self._held, self._opened = 0.0, None
                opened.set()

    def passed(self, seconds: float) -> None:
        """One was started, which took so long."""
        self._held += seconds


_door: RunVar[Door] = RunVar("door")


def _the_door() -> Door:
    """That of this event loop."""
    try:
        return _door.get()
    except LookupError:
        _door.set(door := Door())
        return door


_places: dict[tuple[str, str | None], str] = {}


def _located(program: str, path: str | None) -> str | None:
    """Where the program is; null when the system shall look for it, and say what is wrong.

    Remembered: the system would try each folder of PATH in the new process, while this one waits.
    """
    if "/" in program:
        return None
    place = _places.get((program, path))
    if place is None or not os.access(place, os.X_OK):
        from shutil import which

        try:
            place = which(program, path=path)
        except ValueError:  # not a name that a file can have
            place = None
        if place is None:
            return None
        _places[program, path] = place
    return place


def _runnable(program: str, cwd: Path | None) -> str:
    """The same, if the system would run it; a shell that runs it could not tell us. Raises `OSError`."""
    path = Path(cwd or "", program)
    if "/" not in program or not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    if path.is_dir() or not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), program)
    return program


def _readable(content: bytes) -> int:
    """A descriptor to read the bytes from: a file without a name, so that nothing ever blocks."""
    if not content:
        return os.open(os.devnull, os.O_RDONLY)
    descriptor = os.memfd_create("stdin") if sys.platform == "linux" else nameless_file()
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _handle_of(pid: int) -> int | None:
    """A descriptor that is readable when the process has ended, where there is such a thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def refusal(error: OSError | ValueError, command: Sequence[str], cwd: Path | None) -> AgentError:
    """What it means that the program could not be started, and what to do about it."""
    if isinstance(error, ValueError):
        return AgentError(
            ErrorType.INVALID_INPUT,
            f"cannot start {command[0]!a}: {error}",
            hint="arguments and variables must be text without NUL and lone surrogates",
        )
    if cwd is not None and str(error.filename) == str(cwd):
        return AgentError(
            ErrorType.MISSING_FILE,
            f"cannot start {command[0]!r}: working directory '{cwd}': {error.strerror}",
            hint="create the directory, or name another",
        )
    kind, retryable, hint = _MEANINGS.get(error.errno or 0, _UNKNOWN)
    details = {"command": list(command), "errno": errno.errorcode.get(error.errno or 0)}
    return AgentError(
        kind,
        f"cannot start {command[0]!r}: {error.strerror}",
        retryable=retryable,
        hint=hint,
        details=details if kind is not ErrorType.INVALID_INPUT else None,
    )


_SHORT = "the machine is out of processes, memory or descriptors: lower max_workers"
_UNKNOWN = (ErrorType.UNAVAILABLE, False, None)
_MEANINGS: dict[int, tuple[ErrorType, bool, str | None]] = {
    errno.ENOENT: (
        ErrorType.UNAVAILABLE,
        False,
        "install the program or correct its name; for a script, see the interpreter in its first line",
    ),
    errno.ENOTDIR: (ErrorType.UNAVAILABLE, False, "correct the program's path"),
    errno.EACCES: (
        ErrorType.UNAVAILABLE,
        False,
        "make the program executable (chmod +x), and its folder accessible",
    ),
    errno.ENOEXEC: (
        ErrorType.UNAVAILABLE,
        False,
        "the file is not a program of this machine; a script needs a first line such as #!/bin/sh",
    ),
    errno.E2BIG: (
        ErrorType.INVALID_INPUT,
        False,
        "arguments and environment are too large: pass large data on stdin or in a file",
    ),
    **dict.fromkeys(SCARCE, (ErrorType.UNAVAILABLE, True, _SHORT)),
    errno.ETXTBSY: (ErrorType.UNAVAILABLE, True, "the program's file is still being written"),
}
