"""Runs one collected test under a time limit."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from _pytest.runner import runtestprotocol

if TYPE_CHECKING:
    from types import FrameType

    import pytest

Outcome = Literal["passed", "failed", "skipped", "hung"]
LONGEST_TEXT = 20_000
AGAIN = 0.05
"""Seconds after which a test that went on is stopped again."""


PROBE = str(Path(__file__).parent)


class Stopped(BaseException):
    """A test took longer than its limit."""


class Ran(NamedTuple):
    """How one test ended."""

    outcome: Outcome
    seconds: float
    text: str
    """The traceback of a failure."""


class Watch:
    """Raises `Stopped` in the main thread when a limit of seconds is over, again and again.

    With `processor`, the limit is one of processor seconds, which neither waiting uses up nor what
    else the machine does; a test that waits has ten times as long, and a second, by the clock.
    """

    def __init__(self, *, processor: bool, half: Callable[[], None] | None = None) -> None:
        self._processor = processor
        self._half = half
        self._ticks = 0
        self.over = False

    def start(self, seconds: float) -> None:
        self._ticks, self.over = 0, False
        signal.signal(signal.SIGALRM, self._alarm)
        if self._processor:
            signal.signal(signal.SIGPROF, self._end)
            signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
            seconds = 10 * seconds + 1
        signal.setitimer(signal.ITIMER_REAL, seconds / 2, seconds / 2)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _alarm(self, number: int, frame: FrameType | None) -> None:
        self._ticks += 1
        if self._ticks > 1:
            self._end(number, frame)
        if self._half is not None:
            self._half()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.over = True
        raise Stopped("the test ran longer than its limit")


class Errors:
    """A plugin that keeps the exception of the test that runs, where anyone reads it."""

    def __init__(self, *, read: bool) -> None:
        self.read = read
        self.last: BaseException | None = None

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        if self.read and call.excinfo is not None and self.last is None:
            self.last = call.excinfo.value


def run_test(
    item: pytest.Item, following: pytest.Item | None, watch: Watch, seconds: float, errors: Errors
) -> Ran:
    """Runs a test with its fixtures; whatever happens inside is an outcome."""
    errors.last = None
    _cheap(item)
    began = time.perf_counter()
    reports: list[pytest.TestReport] = []
    watch.start(seconds)
    try:
        reports = runtestprotocol(item, log=False, nextitem=following)
    except Stopped as error:
        errors.last = error if errors.read else None
    finally:
        watch.stop()
    taken = time.perf_counter() - began
    if watch.over:
        return Ran("hung", taken, _text(errors.last))
    if any(report.failed for report in reports):
        return Ran("failed", taken, _text(errors.last))
    skipped = any(report.skipped for report in reports)
    return Ran("skipped" if skipped else "passed", taken, "")


def _cheap(item: pytest.Item) -> None:
    """Nobody reads pytest's own account of a failure, and a deep recursion's takes long to write."""
    whole: Any = item
    whole.repr_failure = whole._repr_failure_py = lambda *_, **__: "failed"


def _text(error: BaseException | None) -> str:
    """The traceback as Python prints it, without frames of ours and of pytest."""
    if error is None:
        return ""
    whole = traceback.TracebackException.from_exception(error)
    _without_runner(whole)
    text = "".join(whole.format())
    half = LONGEST_TEXT // 2
    return text if len(text) <= LONGEST_TEXT else f"{text[:half]}\n{text[-half:]}"


def _without_runner(error: traceback.TracebackException) -> None:
    for each in (error, error.__cause__, error.__context__):
        if each is not None:
            kept = [frame for frame in each.stack if not _runner(frame.filename)]
            each.stack = traceback.StackSummary.from_list(kept)


def _runner(file: str) -> bool:
    return file.startswith(PROBE) or "/_pytest/" in file or "/pluggy/" in file
