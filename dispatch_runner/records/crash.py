"""Lets a process kill itself at a chosen write of its journal: how the promises of a resume are tried."""

import os
import re
import signal
from collections.abc import Callable

from dispatch_runner.errors import RecordError
from dispatch_runner.records.folder import write_all

WANTED = re.compile(r"([1-9]\d{0,8})(?::(before|middle|after))?")


def crashing(write: Callable[[bytes], None], fd: int, wanted: str) -> Callable[[bytes], None]:
    """The same write; the n-th kills the process before it, in the middle of it, or after it.

    Args:
        write: what writes a line.
        fd: of the journal.
        wanted: `n` or `n:before`, `n:middle`, `n:after`; `after` when it is left out.

    Raises:
        RecordError: it is not of that form.
    """
    match = WANTED.fullmatch(wanted)
    if match is None:
        raise RecordError("crash at", wanted, "write n, n:before, n:middle or n:after")
    left, place = int(match[1]), match[2] or "after"

    def write_or_die(line: bytes) -> None:
        nonlocal left
        left -= 1
        if left:
            write(line)
            return
        if place == "middle":
            write_all(fd, line[: len(line) // 2])
        elif place == "after":
            write(line)
        os.kill(os.getpid(), signal.SIGKILL)

    return write_or_die
