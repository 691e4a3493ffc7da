"""Reads along in a file that a program writes while it runs."""

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import anyio

LOOK_SECONDS = 0.25

T = TypeVar("T")


class Tail:
    """The whole lines that were added to a file."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self.path = path
        self._at = path.stat().st_size if from_end else 0

    def lines(self) -> list[bytes]:
        """Those since the last time; none when the file is not there."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.splitlines()


async def looking(
    run: Callable[[], Awaitable[T]],
    look: Callable[[], None],
    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> T:
    """Awaits `run`, and calls `look` every `LOOK_SECONDS` meanwhile. What `look` raises cancels
    `run`, and is raised when that has ended. `meanwhile` is awaited at the same time, and raises nothing."""
    failures: list[Exception] = []
    results: list[T] = []

    async def watch(working: anyio.CancelScope) -> None:
        while True:
            await anyio.sleep(LOOK_SECONDS)
            try:
                look()
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
                working.cancel()
                return

    async with anyio.create_task_group() as group:
        if meanwhile is not None:
            group.start_soon(meanwhile)
        with anyio.CancelScope() as working:
            group.start_soon(watch, working)
            try:
                results.append(await run())
            except Exception as error:  # noqa: BLE001 - raised below; the group would wrap it
                failures.append(error)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return results[0]
