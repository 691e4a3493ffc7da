"""Writing to a stream that may be slow, stuck or gone, without holding up the event loop.

Reports produce text in the event loop's thread; a thread of their own writes it. A terminal that was
stopped with Ctrl-S or a pipe that nobody reads therefore delays nothing but the report.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import TextIO

PATIENCE_SECONDS = 5.0
"""How long `close` waits for a stream that takes nothing at all."""
COALESCE_SECONDS = 0.02
"""Lines of one such interval are written together."""
BACKLOG_CHARACTERS = 64 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_ASCII = str.maketrans("✓✗•↻━─…", "+x*~#-~")
"""What our own signs become where there is no Unicode."""


class Output:
    """Text to a stream: through a descriptor of our own when there is one.

    Python's own buffer is avoided because its lock, held by a thread that is stuck in a write, aborts
    the interpreter at exit. Used by one thread. Never raises for a character that the encoding lacks.
    """

    def __init__(self, stream: TextIO | int, encoding: str | None = None) -> None:
        """A stream that stays the caller's, or a descriptor that becomes ours.

        The encoding is the stream's own, or UTF-8, unless given.
        """
        self._stream = None if isinstance(stream, int) else stream
        self._descriptor = stream if isinstance(stream, int) else None
        self._opened = isinstance(stream, int)
        own = None if isinstance(stream, int) else stream.encoding
        self._encoding = encoding or own or "utf-8"
        self.accepted = 0
        """Bytes that the stream has taken so far."""

    def write(self, text: str) -> None:
        """Blocks until everything was taken. Raises `OSError`, or `ValueError` for a closed stream."""
        if not self._encoding.lower().startswith("utf"):
            text = text.translate(_ASCII)
        data = text.encode(self._encoding, "replace")
        descriptor = self._open()
        if descriptor is not None:
            self._write_descriptor(descriptor, data)
        elif self._stream is not None:
            self._stream.write(data.decode(self._encoding))
            self._stream.flush()
            self.accepted += len(data)

    def size(self) -> os.terminal_size:
        """Columns and rows of the terminal, now; 80 by 24 where there is none."""
        size = os.terminal_size((0, 0))
        descriptor = self._open()
        if descriptor is not None:
            with suppress(OSError):
                size = os.get_terminal_size(descriptor)
        return os.terminal_size((size.columns or 80, size.lines or 24))

    def close(self) -> None:
        """Closes what is ours."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int | None:
        if not self._opened and self._stream is not None:
            self._descriptor = _own_descriptor(self._stream)
            self._opened = True
        return self._descriptor

    def _write_descriptor(self, descriptor: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                taken = os.write(descriptor, rest[:_CHUNK_BYTES])
            except BlockingIOError:  # somebody who shares the terminal made it non-blocking
                _wait_writable(descriptor)
                continue
            self.accepted += taken
            rest = rest[taken:]


class Pump:
    """A thread that writes what `produce(closing)` returns.

    `produce` runs in that thread: `pause` seconds after a `notify`, together for all that came
    meanwhile; after `idle` seconds without one, when that is given; and once more, with true, at the
    end.
    """

    def __init__(
        self,
        output: Output,
        produce: Callable[[bool], str],
        *,
        pause: float,
        idle: float | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._output = output
        self._produce = produce
        self._pause = pause
        self._idle = idle
        self._patience = patience
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def notify(self) -> None:
        """There is something new. Never blocks; raises what made an earlier write fail."""
        if self._wake.is_set():
            return
        if self._failure is not None:
            raise self._failure
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="report", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Everything was written when this returns.

        Raises what made a write fail, or `TimeoutError` when the stream took nothing for
        `patience` seconds; the thread is then left behind and keeps nobody from exiting.
        """
        self._closing.set()
        self._wake.set()
        if self._thread is None:
            self._output.close()
            return
        self._join(self._thread)
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def _join(self, thread: threading.Thread) -> None:
        taken = -1
        while thread.is_alive():
            if taken == self._output.accepted:
                raise TimeoutError(f"nobody took the report's text for {self._patience:g} s")
            taken = self._output.accepted
            thread.join(self._patience)

    def _run(self) -> None:
        try:
            self._pump()
        except Exception as failure:  # noqa: BLE001 - handed to the next notify or close
            self._failure = failure
        finally:
            self._wake.clear()
            with suppress(OSError):
                self._output.close()

    def _pump(self) -> None:
        while True:
            self._wake.wait(self._idle)
            self._closing.wait(self._pause)
            self._wake.clear()  # before looking, so that no notice and no closing is missed
            closing = self._closing.is_set()
            if text := self._produce(closing):
                self._output.write(text)
            if closing:
                return


class LineWriter:
    """Whole lines, written in order by a `Pump`; nothing is kept longer than an instant."""

    def __init__(self, output: Output, *, backlog: int = BACKLOG_CHARACTERS) -> None:
        self._pending: deque[str] = deque()
        self._backlog = backlog
        self._put = 0
        self._taken = 0
        self._pump = Pump(output, self._take, pause=COALESCE_SECONDS)

    def put(self, line: str) -> None:
        """Queues a line without its line end. Never blocks.

        Raises `BufferError` when the reader is hopelessly behind, or what made a write fail.
        """
        if self._put - self._taken > self._backlog:
            raise BufferError("whoever reads the report is too far behind")
        self._put += len(line)
        self._pending.append(line)
        self._pump.notify()

    def close(self) -> None:
        """Waits for the lines to be written; see `Pump.close`."""
        self._pump.close()

    def _take(self, closing: bool) -> str:
        lines = [self._pending.popleft() for _ in range(len(self._pending))]
        self._taken += sum(map(len, lines))
        return "".join(f"{line}\n" for line in lines)


def open_private(path: Path) -> Output:
    """A new or emptied file that only its owner can read. Raises `OSError`.

    A symbolic link is refused. What is below `/dev`, such as `/dev/fd/63` of a shell's `>(...)`, is
    not ours: it is followed and its permissions stay. A named pipe without a reader is an error.
    """
    ours = not path.is_relative_to("/dev")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags | (os.O_NOFOLLOW if ours else 0), 0o600)
    if ours:
        os.fchmod(descriptor, 0o600)
    return Output(descriptor)


def _own_descriptor(stream: TextIO) -> int | None:
    try:
        return os.dup(stream.fileno())
    except UnsupportedOperation:  # a stream in memory
        return None


def _wait_writable(descriptor: int) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.poll(1000)
