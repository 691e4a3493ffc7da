"""A mark that a process cannot lose by accident: a resource limit that limits nothing.

A program that starts a daemon with an empty environment, in a session of its own, and ends, leaves a
process that nothing connects with it any more, except what the kernel hands from parent to child
whatever they do: the resource limits. One of them means nothing to any process that is not scheduled in
real time, `RLIMIT_RTTIME`, and its soft value may be any number of microseconds: some 146,000 years,
and a number that says who started it.

Linux only, and only where no such limit was set before; nothing is lost but this mark elsewhere.
"""

import itertools
import sys
from contextlib import suppress
from functools import cache

from dispatch_runner.marks import TOKEN, tag_offset

NUMBER_BITS = 24
"""Of the number of a start, which begins anew after 16 million of them."""

LOWEST = 1 << 62


def tag_prefix(offset: int) -> int:
    """What the tags of a process have in common: above the bits of the number."""
    return (LOWEST >> NUMBER_BITS) + offset


OURS = tag_prefix(tag_offset(TOKEN))
"""What all tags of this process have in common: above the bits of the number."""

_numbers = itertools.count(1)


def new_tag() -> int:
    """The tag of one start; never the number of a process."""
    return (OURS << NUMBER_BITS) + next(_numbers) % (1 << NUMBER_BITS)


class Tagged:
    """A context: what this thread starts within carries the tag, with all that it starts."""

    def __init__(self, tag: int) -> None:
        self._tag = tag

    def __enter__(self) -> None:
        self._set(self._tag)

    def __exit__(self, *_: object) -> None:
        self._set(None)

    def _set(self, tag: int | None) -> None:
        before = _limit_before()
        if before is not None and sys.platform == "linux":
            import resource

            with suppress(OSError, ValueError):
                limit = before if tag is None else (tag, before[1])
                resource.setrlimit(resource.RLIMIT_RTTIME, limit)


@cache
def _limit_before() -> tuple[int, int] | None:
    """The limit that this process began with; null where somebody means it, or there is none."""
    if sys.platform != "linux":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
    meant = hard != resource.RLIM_INFINITY or 0 <= soft < LOWEST
    return None if meant else (soft, hard)


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
