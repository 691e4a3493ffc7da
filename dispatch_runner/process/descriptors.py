"""How many files this process may have open, and so how many programs it can run at once."""

import os
import sys

DESCRIPTORS_PER_PROGRAM = 3
"""Held while a program runs: its two output files and the handle that tells of its end."""

WANTED_DESCRIPTORS = 65_536
"""Not simply the hard limit: that may be 10^9, and children that close every possible descriptor
would then take minutes."""

RESERVED_DESCRIPTORS = 32
"""Left for records, imports, and the moment of a start, which needs five more for a short while."""


def raise_descriptor_limit() -> None:
    """Raises the soft limit of open files to the hard one, or to 65,536; never lowers it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED_DESCRIPTORS if hard == unlimited else min(hard, WANTED_DESCRIPTORS)
    if soft == unlimited or soft >= wanted:
        return
    for target in (wanted, min(wanted, 10_240)):  # macOS refuses more than OPEN_MAX
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        except (OSError, ValueError):
            continue
        return


def descriptor_headroom() -> int:
    """Descriptors that programs may still use now: the soft limit, less what is open and a reserve."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(0, soft - len(os.listdir("/dev/fd")) - RESERVED_DESCRIPTORS)
