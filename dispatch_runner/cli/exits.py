"""Exit codes: a promise to scripts."""

from enum import IntEnum

from dispatch_runner.models import Result


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
    SIGHUP = 129
    SIGINT = 130
    SIGTERM = 143


def exit_code(result: Result, *, exit_zero: bool) -> int:
    """The exit code of a dispatch that ran."""
    if result.interrupted in {"SIGHUP", "SIGINT", "SIGTERM"}:
        return Exit[result.interrupted]
    if result.status == "success" or exit_zero:
        return Exit.SUCCESS
    return Exit.NOT_ALL
