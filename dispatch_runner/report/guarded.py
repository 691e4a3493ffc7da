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
        self._report: Report | None = report
        self._on_drop = on_drop

    def __call__(self, event: Event) -> None:
        if self._report is None:
            return
        try:
            self._report(event)
        except Exception as failure:  # noqa: BLE001 - whatever it was, it is not the dispatch's
            self._drop(self._report, failure)

    def close(self) -> None:
        """Closes the report, once. Never raises."""
        if self._report is None:
            return
        try:
            self._report.close()
        except Exception as failure:  # noqa: BLE001 - as above
            self._drop(None, failure)
        self._report = None

    def _drop(self, report: Report | None, failure: Exception) -> None:
        self._report = None
        if report is not None:
            with suppress(Exception):
                report.close()
        with suppress(Exception):
            self._on_drop(f"progress report dropped: {one_line(str(failure)) or type(failure).__name__}")
