"""Ends a program and everything that it started: asks, insists, kills; in bounded time."""

import os
import signal
from collections.abc import Callable

import anyio

from dispatch_runner.process.family import Member, everything, family, ignores
from dispatch_runner.process.guardian import guardian
from dispatch_runner.process.launch import Child

LINGER_SECONDS = 0.1
"""What a process gets that cannot hear the signal, or that ends by itself just after its parent."""

KILL_SECONDS = 5.0
"""How long the end of killed processes is waited for; only the kernel can hold them longer."""

FIRST_PAUSE = 0.001
LONGEST_PAUSE = 0.05

Members = Callable[[bool], list[Member]]
"""Who is to end and is alive: given true, of this moment; else perhaps of a moment ago."""


async def end(child: Child, *, grace_seconds: float, hurry: anyio.Event) -> None:
    """Ends a running program with all its descendants. Cannot be cancelled.

    Takes at most two grace times and `KILL_SECONDS`; with `hurry` set, `KILL_SECONDS`.
    """
    with anyio.CancelScope(shield=True):
        await _end(lambda fresh: _family(child, fresh), grace_seconds, hurry)
    child.poll()


async def end_strays(child: Child, *, grace_seconds: float, hurry: anyio.Event) -> int:
    """Ends what a program left behind, and says how many processes that were.

    What ends by itself within `LINGER_SECONDS` is not counted. Cannot be cancelled, takes no longer
    than `end` and `LINGER_SECONDS`, and microseconds when there is nothing.
    """
    strays = _family(child, fresh=True)
    if strays:
        with anyio.CancelScope(shield=True):
            strays = await _wait_for_end(lambda fresh: _family(child, fresh), LINGER_SECONDS, hurry)
            await _end(lambda fresh: _family(child, fresh), grace_seconds, hurry)
    return len(strays)


async def end_everything(*, grace_seconds: float, hurry: anyio.Event) -> int:
    """Ends every descendant of this process, whoever started it, and says how many there were.

    None where this process had children before its first program.

    For the last act of a process that is about to exit: it finds also those that hid from their
    program's end. Our guardian goes, too.
    """
    with anyio.CancelScope(shield=True):
        found = everything()
        await _end(lambda fresh: everything(), grace_seconds, hurry)
    guardian.dismiss()
    return len(found)


async def _end(members: Members, grace_seconds: float, hurry: anyio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if hurry.is_set() or not _send(members(True), number):
            break
        await _wait_for_end(members, grace_seconds, hurry, number)
    await _kill(members)


async def _wait_for_end(
    members: Members,
    seconds: float,
    hurry: anyio.Event,
    number: signal.Signals | None = None,
) -> list[Member]:
    """Those who are left when all have ended, the time is over, or there is a hurry.

    Those who ignore the signal get `LINGER_SECONDS` only: they may be about to end for another
    reason, such as the end of their parent.
    """
    start = anyio.current_time()
    pause = FIRST_PAUSE
    while left := members(False):
        passed = anyio.current_time() - start
        deaf = number is not None and all(ignores(member.pid, number) for member in left)
        if hurry.is_set() or passed >= (min(LINGER_SECONDS, seconds) if deaf else seconds):
            break
        await anyio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return left


async def _kill(members: Members) -> None:
    deadline = anyio.current_time() + KILL_SECONDS
    pause = FIRST_PAUSE
    while _send(members(True), signal.SIGKILL) and anyio.current_time() < deadline:
        await anyio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _send(members: list[Member], number: signal.Signals) -> bool:
    """Signals each; says whether there was anyone. One that is stopped is woken to hear it."""
    for member in members:
        for one in (number, signal.SIGCONT):
            try:
                os.kill(member.pid, one)
            except (ProcessLookupError, PermissionError):
                break
    return bool(members)


def _family(child: Child, fresh: bool) -> list[Member]:
    running = child.poll() is None
    return family(child.pid, child.marker, child.tag, with_program=running, fresh=fresh)
