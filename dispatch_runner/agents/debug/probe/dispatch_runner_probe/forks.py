"""Copies of this process that run what may hang, crash or eat the memory."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable, Iterable

Send = Callable[[bytes], None]


class Fork:
    """A running copy and what it sends."""

    def __init__(self, work: Callable[[Send], None], processor_seconds: float) -> None:
        """Begins `work` in a copy of this process, which ends with it."""
        self.reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn when there are threads
            self.pid = os.fork()
        if self.pid == 0:
            _live(work, self.reader, writer, processor_seconds)
        os.close(writer)
        self.data = b""

    def read(self) -> bytes:
        """More of what it sends; empty when it ended."""
        data = os.read(self.reader, 65536)
        self.data += data
        return data

    def end(self) -> None:
        """Kills it if it still runs, and what it started in its group."""
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.reader)
        os.waitpid(self.pid, 0)


def _live(work: Callable[[Send], None], reader: int, writer: int, processor_seconds: float) -> None:
    """Never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.close(reader)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        limit(resource.RLIMIT_CPU, int(processor_seconds) + 1)
        work(lambda data: _send(writer, data))
        code = 0
    finally:
        os._exit(code)


def limit(kind: int, value: int) -> None:
    """Lowers a limit of this process and of what it starts, where the system knows it."""
    with contextlib.suppress(ValueError, OSError):
        _, most = resource.getrlimit(kind)
        resource.setrlimit(kind, (value, most))


def _send(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]


def follow(fork: Fork, seconds: float) -> Iterable[bytes]:
    """What a copy sends, until it ends or is silent for so long."""
    while select.select([fork.reader], [], [], max(seconds, 0))[0]:
        data = fork.read()
        if not data:
            return
        yield data


def run_all(
    works: Iterable[tuple[int, Callable[[Send], None]]],
    *,
    workers: int,
    seconds: float,
    finished: Callable[[int, bytes], bool],
) -> None:
    """Runs each work in a copy of its own, so many at once, none longer than `seconds`.

    `finished` is told what each sent before it ended or was killed, and says whether to go on.
    """
    waiting = iter(works)
    running: dict[int, tuple[int, Fork, float]] = {}
    more = True
    while True:
        while more and len(running) < workers:
            following = next(waiting, None)
            if following is None:
                more = False
                break
            fork = Fork(following[1], seconds)
            running[fork.reader] = (following[0], fork, time.monotonic() + seconds)
        if not running:
            return
        for number, fork in _ended(running):
            more = finished(number, fork.data) and more


def _ended(running: dict[int, tuple[int, Fork, float]]) -> Iterable[tuple[int, Fork]]:
    """Waits until at least one ended, by itself or by force when its time is over."""
    soonest = min(deadline for _, _, deadline in running.values())
    ready = select.select(list(running), [], [], max(soonest - time.monotonic(), 0))[0]
    done = [reader for reader in ready if not running[reader][1].read()]
    now = time.monotonic()
    late = [reader for reader in running if reader not in done and running[reader][2] <= now]
    ended = []
    for reader in (*done, *late):
        number, fork, _ = running.pop(reader)
        fork.end()
        ended.append((number, fork))
    return ended
