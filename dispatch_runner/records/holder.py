"""The process that runs a dispatch: told to end by a signal, and never mistaken for another."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from dispatch_runner.errors import RecordError
from dispatch_runner.records.journal import JOURNAL_NAME
from dispatch_runner.records.live import runs
from dispatch_runner.records.register import Place


def signal_holder(place: Place, pid: int, number: signal.Signals) -> None:
    """Sends a signal to the process that holds the dispatch. Nothing is sent when it has ended.

    Args:
        place: the dispatch.
        pid: what the last opening of its journal says.
        number: the signal.

    Raises:
        RecordError: that process is not to be seen from here, or belongs to somebody else.
    """
    try:
        # a number may be given to another process at any time; a pidfd stays with its own
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        try:
            if not _holds(place, pid):
                if runs(place):
                    raise RecordError("cancel", place.run_folder, _ELSEWHERE.format(pid))
            elif handle is None:
                os.kill(pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        finally:
            if handle is not None:
                os.close(handle)
    except ProcessLookupError:
        if runs(place):
            raise RecordError("cancel", place.run_folder, _ELSEWHERE.format(pid)) from None
    except PermissionError as error:
        cause = f"process {pid} belongs to another user"
        raise RecordError("cancel", place.run_folder, cause) from error


_ELSEWHERE = "process {} runs it on another machine or in another container: cancel it there"


def _holds(place: Place, pid: int) -> bool:
    """Whether the dispatch runs and this process has its journal open.

    Where the system does not show what a process has open, the lock has to do: the process that took
    it is the one that wrote its number into the journal, and the lock goes with it.
    """
    if not runs(place):
        return False
    if not Path("/proc/self/fd").is_dir():
        return True
    journal = (place.run_folder / JOURNAL_NAME).stat()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{name}"), journal):
                return True
    return False
