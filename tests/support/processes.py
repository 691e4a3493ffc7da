"""Who is still alive: processes that carry a text in their environment, such as a private folder."""

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def carrying(text: str) -> dict[int, str]:
    """Processes with that text in their environment, with their command lines; this one excluded."""
    wanted, found = text.encode(), {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes():
                found[int(folder.name)] = _command(folder)
    return found


def outlive(pids: Iterable[int], seconds: float) -> set[int]:
    """Waits for the processes to end: those that have not within that time."""
    deadline = time.monotonic() + seconds
    return {pid for pid in pids if not _ends(pid, deadline)}


def kill(pids: Iterable[int]) -> None:
    """Kills them; those that are gone are no matter."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _command(folder: Path) -> str:
    return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def _ends(pid: int, deadline: float) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        left = max(0.0, deadline - time.monotonic())
        return bool(select.select([descriptor], [], [], left)[0])
    finally:
        os.close(descriptor)
