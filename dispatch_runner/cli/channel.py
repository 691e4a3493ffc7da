"""The real stdout, set aside so that nothing but the one document ever reaches it."""

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress

CHUNK_BYTES = select.PIPE_BUF
"""What a pipe takes at once when it says that it takes anything: a write of more could block."""

PATIENCE_MS = 1000
"""How long a reader may take nothing before it is asked whether to wait on."""


def wait_for_ever() -> bool:
    """The patience of one whom nobody has told to end."""
    return False


class StdoutError(Exception):
    """The document could not be delivered: stdout is closed, or its reader went away."""


class Channel:
    """Writes to what was descriptor 1 when the process started.

    From `set_aside` on, descriptor 1 is stderr for everyone: our own code, libraries, and programs
    that inherit it.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self.used = False
        """Whether a document was written, or was at least begun."""
        self.gives_up: Callable[[], bool] = wait_for_ever
        """Whether to stop waiting for a reader that takes nothing. Asked once a second."""
        self.begins: Callable[[], None] = lambda: None
        """Called before a document is begun, which is then finished whatever happens."""
        self.is_terminal = descriptor is not None and os.isatty(descriptor)

    @classmethod
    def set_aside(cls) -> "Channel":
        """Takes descriptor 1. Descriptors 0 to 2 that are closed become /dev/null, so that no file
        opened later can land there and receive what was meant for a stream."""
        closed = _fill_closed_descriptors()
        if 1 in closed:
            return cls(None)
        channel = cls(os.dup(1))
        sys.stdout.flush()
        os.dup2(2, 1)
        return channel

    def write(self, document: bytes) -> None:
        """Writes all of it, also to a pipe that is slow or not blocking.

        Raises `StdoutError`, also when the reader takes nothing and `gives_up` says so.
        """
        self.begins()
        self.used = True
        if self._descriptor is None:
            raise StdoutError("stdout is closed")
        left = memoryview(document)
        try:
            while left:
                self._wait(self._descriptor)
                with suppress(BlockingIOError):
                    left = left[os.write(self._descriptor, left[:CHUNK_BYTES]) :]
        except OSError as error:
            raise StdoutError(f"cannot write to stdout: {error.strerror}") from error

    def close(self) -> None:
        """Lets go of it: a reader that waits for its end sees it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def take(self) -> int:
        """The descriptor, for one who writes something else than a document from now on.

        Raises `StdoutError`.
        """
        if self._descriptor is None:
            raise StdoutError("stdout is closed")
        self.used = True
        return self._descriptor

    def _wait(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while not poll.poll(PATIENCE_MS):
            if self.gives_up():
                raise StdoutError("nobody reads stdout")


def print_text(text: str) -> int:
    """Prints text on the ordinary stdout, and returns the exit code: 3 if nobody takes it."""
    try:
        Channel.set_aside().write(text.encode())
    except StdoutError as error:
        say(f"dispatch-runner: {error}")
        return 3
    return 0


def say(text: str) -> None:
    """One line on stderr, if there still is one."""
    try:
        sys.stderr.write("".join(c if c.isprintable() else " " for c in text) + "\n")
    except (OSError, ValueError):
        # else Python flushes the line again at its end, fails, and makes the exit code 120
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115


def _fill_closed_descriptors() -> set[int]:
    closed = {number for number in (0, 1, 2) if not _is_open(number)}
    for number in sorted(closed):
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    return closed


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
