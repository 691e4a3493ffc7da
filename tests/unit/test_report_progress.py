"""Which report a caller gets, and that a report never fails a dispatch."""

import io

import pytest

from dispatch_runner.events import DispatchStopping
from dispatch_runner.report.board import Board
from dispatch_runner.report.guarded import Guarded
from dispatch_runner.report.lines import Lines
from dispatch_runner.report.ndjson import NdjsonEvents
from dispatch_runner.report.progress import progress

EVENT = DispatchStopping("SIGINT")
XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("mode", "is_terminal", "environ", "kind"),
    [
        ("auto", True, XTERM, Board),
        ("auto", False, XTERM, Lines),
        ("auto", True, {"TERM": "dumb"}, Lines),
        ("auto", True, {}, Lines),
        ("board", True, XTERM, Board),
        ("board", False, XTERM, Lines),
        ("lines", True, XTERM, Lines),
        ("json", True, XTERM, NdjsonEvents),
        ("none", True, XTERM, type(None)),
    ],
)
def test_the_mode_and_the_terminal_choose_the_report(mode, is_terminal, environ, kind):
    report = progress(mode, io.StringIO(), is_terminal=is_terminal, environ=environ)
    assert type(report) is kind


def test_without_a_stream_there_is_no_report():
    assert progress("json", None, is_terminal=False, environ={}) is None


def test_json_is_utf_8_whatever_the_stream_speaks(tmp_path, dispatch_events):
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        report = progress("json", stream, is_terminal=False, environ={})
        report(DispatchStopping("é"))
        report.close()
    assert '"cause":"é"' in (tmp_path / "log").read_text(encoding="utf-8")


class Flaky:
    """A report that fails at the n-th event, or when it is closed."""

    def __init__(self, fails_at=None, fails_at_close=False):
        self.seen, self.closed = [], 0
        self._fails_at, self._fails_at_close = fails_at, fails_at_close

    def __call__(self, event):
        self.seen.append(event)
        if len(self.seen) == self._fails_at:
            raise BrokenPipeError("reader\nwent away")

    def close(self):
        self.closed += 1
        if self._fails_at_close:
            raise TimeoutError


def test_a_report_that_works_gets_every_event():
    report, warnings = Flaky(), []
    guarded = Guarded(report, warnings.append)
    guarded(EVENT)
    guarded(EVENT)
    guarded.close()
    assert (len(report.seen), report.closed, warnings) == (2, 1, [])


def test_a_report_that_fails_is_dropped_with_one_warning():
    report, warnings = Flaky(fails_at=2, fails_at_close=True), []
    guarded = Guarded(report, warnings.append)
    for _ in range(5):
        guarded(EVENT)
    guarded.close()
    assert (len(report.seen), report.closed) == (2, 1)
    assert warnings == ["progress report dropped: reader went away"]


def test_a_report_that_cannot_be_closed_is_a_warning():
    warnings = []
    Guarded(Flaky(fails_at_close=True), warnings.append).close()
    assert warnings == ["progress report dropped: TimeoutError"]


def test_a_warning_that_cannot_be_given_is_not_an_error_either():
    def broken(message):
        raise OSError(message)

    guarded = Guarded(Flaky(fails_at=1), broken)
    guarded(EVENT)
    guarded.close()


@pytest.mark.parametrize("mode", ["lines", "json", "board"])
def test_a_dispatch_outlives_a_closed_stderr(mode, tmp_path, dispatch_events):
    stream = (tmp_path / "log").open("w")
    stream.close()
    warnings = []
    guarded = Guarded(progress(mode, stream, is_terminal=True, environ=XTERM), warnings.append)
    for event in dispatch_events:
        guarded(event)
    guarded.close()
    assert len(warnings) == 1
    assert "closed file" in warnings[0]


def test_interrupts_are_not_swallowed():
    class Interrupted(Flaky):
        def __call__(self, event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guarded(Interrupted(), [].append)(EVENT)
