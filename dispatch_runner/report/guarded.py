"""A report that fails is dropped; the dispatch goes on."""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from dispatch_runner.events import Event
from dispatch_runner.report.wording import one_line


class Report(Protocol):
    """An observer of the event stream that is told when it is over."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None:
        """Writes what is left. Bounded in time."""
        ...


class Guarded:
    """Passes events on until the report fails once; then tells `on_drop` why, and is silent."""

    def __init__(self, report: Report, on_drop: Callable[[str], None]) -> None:
        self._report = report
        self._on_drop = on_drop
        self._dropped = False

    def __call__(self, event: Event) -> None:
        if self._dropped:
            return
        try:
            self._report(event)
        except Exception as failure:  # noqa: BLE001 - whatever it was, it is not the dispatch's
            self._drop(failure)

    def close(self) -> None:
        """Closes the report, also one that was dropped: not before, because closing may wait."""
        try:
            self._report.close()
        except Exception as failure:  # noqa: BLE001 - as above
            self._drop(failure)

    def _drop(self, failure: Exception) -> None:
        if self._dropped:
            return
        self._dropped = True
        why = one_line(str(failure)) or type(failure).__name__
        with suppress(Exception):  # it may well write to the stream that has just failed
            self._on_drop(f"progress report dropped: {why}")
