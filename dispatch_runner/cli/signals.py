"""SIGINT, SIGTERM and SIGHUP, from the first moment to the last.

Before the event loop runs, a signal raises `Interrupted` where the process is: reading stdin, checking.
While it runs, a signal wakes a task of the loop. Afterwards signals are only remembered: the document
is being written. One set of handlers does all three, so there is no gap in which a signal would kill us.
"""

import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Literal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SignalName = Literal["SIGINT", "SIGTERM", "SIGHUP"]
_NAMES: dict[int, SignalName] = {
    signal.SIGINT: "SIGINT",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP",
}


class Interrupted(BaseException):
    """A signal arrived before anything was started."""

    def __init__(self, name: SignalName) -> None:
        super().__init__(name)
        self.name: SignalName = name


class Signals:
    """The handlers of this process."""

    def __init__(self) -> None:
        self._raise = True
        self._received: list[SignalName] = []
        self._reader, self._writer = socket.socketpair()

    def install(self) -> None:
        """Takes the signals over. An ignored SIGHUP stays ignored: that is what nohup asks for."""
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    def hold(self) -> None:
        """From now on signals are remembered, not raised."""
        self._raise = False

    def pending(self) -> bool:
        """Whether a signal arrived that nobody has heard of yet."""
        return bool(self._received)

    async def listen(self, heard: Callable[[SignalName], None]) -> None:
        """Tells of each signal, as a task of the event loop, until it is cancelled."""
        import anyio  # not at the top: the handlers are installed before anything heavy is imported

        while True:
            while self._received:
                heard(self._received.pop(0))
            await anyio.wait_readable(self._reader)
            try:
                self._reader.recv(4096)
            except BlockingIOError:
                continue

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = _NAMES[number]
        if self._raise:
            self._raise = False  # a second one must not interrupt the answer to the first
            raise Interrupted(name)
        self._received.append(name)
