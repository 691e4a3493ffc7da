"""A mark that a process cannot lose by accident: a resource limit that limits nothing.

A program that starts a daemon with an empty environment, in a session of its own, and ends, leaves a
process that nothing connects with it any more, except what the kernel hands from parent to child
whatever they do: the resource limits. One of them means nothing to any process that is not scheduled in
real time, `RLIMIT_RTTIME`, and its soft value may be any number of microseconds: some 146,000 years,
and a number that says who started it.

Linux only, and only where no such limit was set before; nothing is lost but this mark elsewhere.
"""

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

NUMBER_BITS = 24
"""Of the number of a start, which begins anew after 16 million of them."""

LOWEST = 1 << 62

OURS = (LOWEST >> NUMBER_BITS) + int.from_bytes(os.urandom(4), "big")
"""What all tags of this process have in common: above the bits of the number."""

_numbers = itertools.count(1)


def new_tag() -> int:
    """The tag of one start; never the number of a process."""
    return (OURS << NUMBER_BITS) + next(_numbers) % (1 << NUMBER_BITS)


@contextmanager
def tagged(tag: int) -> Iterator[None]:
    """What this thread starts within carries the tag, with all that it starts."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    if hard != resource.RLIM_INFINITY or 0 <= soft < LOWEST:  # somebody means it
        yield
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_RTTIME, (tag, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_RTTIME, before)


def tag_of(pid: int) -> int | None:
    """The tag that a process carries; null if it has none, or none that can be seen."""
    if sys.platform != "linux":
        return None
    import resource

    try:
        soft, _ = resource.prlimit(pid, resource.RLIMIT_RTTIME)
    except OSError:
        return None
    return soft if soft >= LOWEST else None
