"""By what the programs of this process can be told from all others, also after its death."""

import os

MARKER = "DISPATCH_RUNNER_TASK_MARKER"
"""The environment variable that marks a program and all its descendants.

Its value is unique for each start. Dispatches may nest: the value then begins with the outer
program's, and a slash.
"""

TOKEN = os.urandom(6).hex()
"""Of this process and no other, also of one that gets its number."""


def tag_offset(token: str) -> int:
    """The part of a token that all tags of its process carry."""
    return int(token[:8], 16)


def marker_prefix() -> str:
    """What all markers of this process begin with, and no other's."""
    outer = os.environ.get(MARKER)
    own = f"{os.getpid()}-{TOKEN}-"
    return f"{outer}/{own}" if outer else own


def started_at(pid: int | str = "self") -> int | None:
    """When a process started, in clock ticks since boot: with its number it names one process for ever.
    Null when there is none, or the system does not tell."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            line = os.read(fd, 4096)
        finally:
            os.close(fd)
    except OSError:  # also when it ended between the two
        return None
    # The name in parentheses may hold anything, so fields are counted from its end.
    return int(line[line.rindex(b")") + 2 :].split()[19])
