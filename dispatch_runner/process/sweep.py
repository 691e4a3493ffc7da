"""Ends what a dispatcher left when it was killed. A program by itself, which `guardian` runs.

It imports nothing of this package, so that it starts in milliseconds and needs nobody. Linux only.
"""

import os
import resource
import signal
import time
from contextlib import suppress
from typing import NamedTuple

GRACE_SECONDS = 0.4
"""Between being asked and being killed."""

PATIENCE_SECONDS = 20.0
"""How long killed processes are waited for; only the kernel, or another user, can hold them longer."""

PAUSE_SECONDS = 0.02
NUMBER_BITS = 24
"""As in `tags`."""

QUIET_LOOKS = 3
"""So many looks in a row must find nobody: one that is just becoming another program shows no
environment."""


class Process(NamedTuple):
    """A living process, as seen at one moment."""

    pid: int
    parent: int
    group: int
    session: int


def main() -> None:
    """Sweeps for the processes whose variable `NAME` begins with `PREFIX`, or whose tag begins with `TAG`."""
    needle = os.fsencode(f"{os.environ['NAME']}={os.environ['PREFIX']}")
    tag = int(os.environ["TAG"])
    asked: set[int] = set()
    start = time.monotonic()
    quiet = 0
    while quiet < QUIET_LOOKS and time.monotonic() < start + PATIENCE_SECONDS:
        found = belonging(needle, tag)
        quiet = 0 if found else quiet + 1
        kill = time.monotonic() > start + GRACE_SECONDS
        for pid in found:
            if kill:
                send(pid, signal.SIGKILL)
            elif pid not in asked:
                send(pid, signal.SIGTERM)
        asked |= found
        time.sleep(PAUSE_SECONDS)


def belonging(needle: bytes, tag: int) -> set[int]:
    """Who carries the mark, descends from one who does, or is in such a one's session or group."""
    table = living()
    found = {process.pid for process in table if is_marked(process.pid, needle, tag)}
    size = -1
    while size < len(found):
        size = len(found)
        ours = [process for process in table if process.pid in found]
        # 0 stands for one that cannot be seen from here, and for the kernel's
        sessions = {process.session for process in ours} - {0}
        groups = {process.group for process in ours} - {0}
        found.update(
            process.pid
            for process in table
            if process.parent in found or process.session in sessions or process.group in groups
        )
    return found


def living() -> list[Process]:
    """Every process but this one that has not ended."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [process for pid in pids if pid != os.getpid() and (process := look_at(pid))]


def look_at(pid: int) -> Process | None:
    """The process with this id; null if it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name in parentheses may hold anything, so fields are counted from its end.
    state, parent, group, session, *rest = line[line.rindex(b")") + 2 :].split()
    threads = int(rest[13])
    if state in {b"Z", b"X"} and threads <= 1:
        return None
    return Process(pid, int(parent), int(group), int(session))


def is_marked(pid: int, needle: bytes, tag: int) -> bool:
    """Whether its environment carries the mark, or its limits the tag, as far as can be seen."""
    with suppress(OSError):
        if resource.prlimit(pid, resource.RLIMIT_RTTIME)[0] >> NUMBER_BITS == tag:
            return True
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return any(each.startswith(needle) for each in file.read().split(b"\0"))
    return False


def send(pid: int, number: signal.Signals) -> None:
    """Signals it; one that is stopped is woken to hear it."""
    for one in (number, signal.SIGCONT):
        try:
            os.kill(pid, one)
        except OSError:
            return


if __name__ == "__main__":
    main()
