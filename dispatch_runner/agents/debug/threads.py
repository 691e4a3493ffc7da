"""Processor-bound work in threads, so that the event loop never waits for it.

Threads of one interpreter do not compute at once, but each of them makes the event loop's thread wait a
turn: so few of them work at a time, however many tasks there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

Arguments = TypeVarTuple("Arguments")
Item = TypeVar("Item")
Result = TypeVar("Result")

AT_ONCE = 1
BATCH_SECONDS = 0.02
"""Small pieces of work are done together for so long, then another task has its turn."""

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("dispatch_runner_debug_threads")


def _threads() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        made = anyio.CapacityLimiter(AT_ONCE)
        _limiter.set(made)
        return made


async def in_thread(work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """The result of blocking work. A cancellation waits for its end."""
    return await anyio.to_thread.run_sync(work, *arguments, limiter=_threads())


async def each_in_thread(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The result for each item, in order. A cancellation waits for one item, or 20 ms."""
    waiting = iter(items)
    results: list[Result] = []
    while await in_thread(_batch, work, waiting, results):
        pass
    return results


def _batch(work: Callable[[Item], Result], waiting: Iterator[Item], results: list[Result]) -> bool:
    """Works until the time is over: whether there may be more."""
    end = time.monotonic() + BATCH_SECONDS
    for item in waiting:
        results.append(work(item))
        if time.monotonic() >= end:
            return True
    return False
