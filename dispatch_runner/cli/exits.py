"""Exit codes: a promise to scripts."""

from enum import IntEnum

from dispatch_runner.models import Interruption


class Exit(IntEnum):
    """What the exit code of `run` says. The table in the README is tested against this."""

    SUCCESS = 0
    """All tasks succeeded."""
    NOT_ALL = 1
    """The dispatch ran and not all tasks succeeded."""
    REJECTED = 2
    """The request, a flag or the configuration is wrong; nothing ran."""
    FAULT = 3
    """Our own fault: a record or the result could not be written, or a bug."""
    STILL_RUNNING = 124
    """Of `wait`, `cancel` and `result`: the dispatch had not ended, as with `timeout(1)`."""
    SIGHUP = 129
    SIGINT = 130
    SIGTERM = 143


def exit_code(status: str, interrupted: Interruption | None, *, exit_zero: bool) -> int:
    """The exit code of a dispatch, whether it has ended or not."""
    if status in _WITHOUT_RESULT:
        return _WITHOUT_RESULT[status]
    if interrupted in {"SIGHUP", "SIGINT", "SIGTERM"}:
        return Exit[interrupted]
    if status == "success" or exit_zero:
        return Exit.SUCCESS
    return Exit.NOT_ALL


_WITHOUT_RESULT = {"running": Exit.STILL_RUNNING, "crashed": Exit.FAULT}
