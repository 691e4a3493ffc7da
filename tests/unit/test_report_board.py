"""The board: what fits on a terminal, and what is on its screen in the end."""

import fcntl
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from dispatch_runner.clock import Clock
from dispatch_runner.events import (
    AttemptFailed,
    DispatchStarted,
    DispatchStopping,
    TaskDeclared,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import ErrorType, TaskError
from dispatch_runner.report.board import Board, Painter
from dispatch_runner.report.frame import frame
from dispatch_runner.report.output import Output
from dispatch_runner.report.tally import Tally


def tallied(*events, now=0.0):
    tally = Tally()
    for event in events:
        tally.add(event, now)
    return tally


def drawn(tally, *, now=0.0, columns=80, rows=24):
    return [line.plain.rstrip() for line in frame(tally.view(rows), now, columns)]


def started(count, description=""):
    tasks = tuple(TaskDeclared(f"t{n}", "coder", description, ()) for n in range(count))
    return [DispatchStarted("1f0c9a52-0", {}, 5), TasksAdded(tasks)] + [
        TaskStarted(task.task_id, "coder") for task in tasks
    ]


def test_a_board_shows_counts_what_runs_what_failed_and_what_settled(dispatch_events):
    limited = TaskError(ErrorType.RATE_LIMITED, "too many requests", retryable=True)
    retry = AttemptFailed("d", 1, limited, 30.0)
    tally = tallied(*dispatch_events[:-2], TaskStarted("d", "debug"), retry)
    assert drawn(tally, now=12.5) == [
        "3/3  1 failed  1 blocked  1 running  0:12  1f0c9a52",
        "━" * 79,
        "↻ d  12.5s  attempt 2 in 17.5s rate_limited: too many requests",
        "✗ b   1.5s  missing_file: file '/x' does not exist",
        "✓ a   1.5s  coder",
        "- c         blocked by b",
    ]


def test_a_task_that_is_being_tried_again_says_why():
    limited = TaskError(ErrorType.OVERLOADED, "busy", retryable=True)
    tally = tallied(*started(1), AttemptFailed("t0", 2, limited, 5.0))
    assert drawn(tally, now=4.0)[2] == "↻ t0   4.0s  attempt 3 in 1.0s overloaded: busy"
    assert drawn(tally, now=6.0)[2] == "• t0   6.0s  attempt 3 overloaded: busy"


def test_what_runs_shows_its_agent_and_description():
    tally = tallied(*started(1, "Generate [bold]the[/bold] model"))
    assert drawn(tally)[2] == "• t0    0ms  coder       Generate [bold]the[/bold] model"


def test_a_narrow_board_keeps_the_most_important():
    tally = tallied(*started(9, "a description"), DispatchStopping("SIGTERM"))
    lines = drawn(tally, now=3.0, columns=40, rows=10)
    assert lines[0] == "0/9  9 running  stopping: SIGTERM  0:03"
    assert lines[1] == "─" * 39
    assert lines[2:] == [f"• t{n}   3.0s" for n in range(7)] + ["  and 2 more running"]


def test_failures_and_outcomes_keep_their_place_beside_many_that_run(finished):
    failed = [finished(f"f{n}", "error", ErrorType.CRASHED, "exit 1") for n in range(50)]
    done = [finished(f"s{n}") for n in range(50)]
    lines = drawn(tallied(*started(1000), *failed, *done), rows=22)
    assert [line[2:5] for line in lines[-10:]] == [f"{x}{n}" for x in "fs" for n in range(45, 50)]
    assert lines[-11] == "  and 991 more running"
    assert len(lines) == 22


def test_rows_that_nothing_runs_in_go_to_outcomes(finished):
    failed = [finished(f"f{n}", "error", ErrorType.CRASHED, "exit 1") for n in range(50)]
    assert len(drawn(tallied(*started(1), *failed), rows=12)) == 2 + 1 + 6


def test_the_time_left_is_a_guess_from_what_has_settled(finished):
    tally = tallied(*started(10), *(finished(f"t{n}") for n in range(5)))
    assert "left" not in drawn(tally, now=4.0)[0]
    assert "~1:00 left" in drawn(tally, now=60.0)[0]
    tally.add(DispatchStopping("SIGINT"), 60.0)
    assert "left" not in drawn(tally, now=60.0)[0]


def test_the_bar_is_to_scale(finished):
    settled = [finished("t0"), finished("t1", "error", ErrorType.CRASHED)]
    (bar,) = frame(tallied(*started(4), *settled).view(24), 0.0, 41)[1:2]
    assert bar.plain == "━" * 20 + "─" * 20
    assert [(span.end - span.start, span.style) for span in bar.spans] == [
        (10, "green"),
        (10, "red"),
        (20, "dim"),
    ]


@given(
    st.lists(st.text(st.characters(), min_size=1, max_size=40), min_size=1, max_size=40),
    st.integers(1, 120),
    st.integers(1, 40),
)
def test_no_board_is_larger_than_its_terminal_whatever_the_tasks_are_called(names, columns, rows):
    tally = tallied(
        DispatchStarted(names[0], {}, 5),
        TasksAdded(tuple(TaskDeclared(name, name, name, ()) for name in names)),
        *(TaskStarted(name, name) for name in names),
        AttemptFailed(names[0], 1, TaskError(ErrorType.CRASHED, names[-1]), 1.0),
    )
    lines = frame(tally.view(rows), 0.5, columns)
    assert len(lines) <= max(rows, 2)
    for line in lines:
        assert cell_len(line.plain) <= max(columns - 1, 1)
        assert line.plain.isprintable()


def test_a_hundred_thousand_tasks_are_remembered_only_while_they_run(finished):
    tally = tallied(*started(1000))
    for n in range(1000):
        tally.add(finished(f"t{n}"), 1.0)
    assert tally.view(24).running == 0
    assert len(tally.running) + len(tally.failures) + len(tally.others) < 10


class Screen:
    """As much of a terminal as the board uses. Lines that are too long wrap and stay wrapped."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column = [""], 0, 0

    def feed(self, text):
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", text):
            self._obey(part) if part[0] in "\x1b\r\n" else self._put(part)

    def _obey(self, part):
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self._down()
        elif part[-1] == "A":
            assert int(part[2:-1]) < self.rows, "a board higher than its terminal"
            self.row -= int(part[2:-1])
        elif part[-1] in "KJ":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 if part[-1] == "J" else len(self.lines) :]
        else:
            assert part[-1] == "m", f"unexpected {part!r}"

    def _put(self, character):
        if self.column == self.columns:
            self._down()
            self.column = 0
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
        self.column += 1

    def _down(self):
        self.row += 1
        self.lines += [""] * (self.row + 1 - len(self.lines))


def test_each_picture_takes_the_place_of_the_one_before():
    screen, painter = Screen(20, 10), Painter(colours=True)
    screen.feed("before\r\n")
    for lines in (["a", "bbb", "c"], ["dd"], ["e", "f", "g", "h"], ["long line", "x"]):
        screen.feed(painter.paint([Text(line) for line in lines], 20))
        assert screen.lines == ["before", *lines]
    screen.feed(painter.replace(["done", "result"], "\x1b[1m", 20))
    assert screen.lines == ["before", "done", "result", ""]


def test_nothing_is_written_when_nothing_changed():
    painter = Painter(colours=True)
    assert painter.paint([Text("a")], 20)
    assert painter.paint([Text("a")], 20) == ""


def test_a_terminal_that_became_narrower_is_cleared_of_what_wrapped():
    painter = Painter(colours=True)
    painter.paint([Text("x" * 15), Text("y")], 20)
    screen = Screen(10, 10)
    screen.feed("before\r\n" + "x" * 15 + "\r\ny")  # as the terminal has wrapped it
    screen.feed(painter.paint([Text("z")], 10))
    assert screen.lines == ["before", "z"]


def test_no_colour_is_no_colour():
    line = Text("failed", "bold red")
    assert "31" in Painter(colours=True).paint([line], 20)
    assert "31" not in Painter(colours=False).paint([line], 20)
    assert "31" in Painter(colours=True).replace(["failure"], "\x1b[31m", 20)
    assert "31" not in Painter(colours=False).replace(["failure"], "\x1b[31m", 20)


@pytest.fixture
def terminal():
    """Opens a pseudo-terminal of a size; `read` ends when the other side was closed."""
    opened = []

    def make(columns, rows):
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        got = bytearray()

        def read():
            try:
                while part := os.read(master, 65536):
                    got.extend(part)
            except OSError:  # how Linux says that a terminal has no other side any more
                pass

        thread = threading.Thread(target=read)
        thread.start()
        opened.append((master, thread))
        return slave, lambda: (thread.join(), got.decode())[1]

    yield make
    for master, thread in opened:
        thread.join()
        os.close(master)


def test_a_dispatch_that_is_over_at_once_does_not_pay_for_rich(dispatch_events):
    program = """
import io, pickle, sys
from dispatch_runner.report import board as module
from dispatch_runner.report.output import Output
module.REFRESH_SECONDS = 60.0  # the end does not wait for it
stream = io.StringIO()
board = module.Board(Output(stream), {})
for event in pickle.load(sys.stdin.buffer):
    board(event)
board.close()
assert "partial" in stream.getvalue()
assert "rich" not in sys.modules
"""
    command = [sys.executable, "-c", program]
    subprocess.run(command, input=pickle.dumps(dispatch_events), check=True, timeout=30)


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10), (20, 2), (1, 1)])
def test_on_a_real_terminal_only_the_summary_is_left(terminal, dispatch_events, columns, rows):
    slave, read = terminal(columns, rows)
    board = Board(Output(slave), {})
    for event in dispatch_events:
        board(event)
    board.close()
    screen = Screen(1000, 24)
    screen.feed(read())
    assert screen.lines[0] == "partial: 1 of 3 succeeded, 1 failed, 1 blocked in 2.5s"
    assert screen.lines[-2:] == ["  result: /traces/result.json", ""]


def test_a_board_without_a_result_leaves_its_last_picture(terminal, dispatch_events):
    slave, read = terminal(80, 24)
    board = Board(Output(slave), {"NO_COLOR": "1"}, Clock(monotonic=lambda: 5.0))
    for event in dispatch_events[:-1]:
        board(event)
    board.close()
    screen = Screen(80, 24)
    screen.feed(read())
    assert (
        screen.lines[0]
        == "3/3  1 failed  1 blocked  stopping: SIGINT  anthropic held 2.0s  0:00  1f0c9a52"
    )
    assert screen.lines[-1] == ""


def test_a_terminal_that_went_away_is_an_error_that_can_be_dropped(dispatch_events):
    master, slave = os.openpty()
    os.close(master)
    board = Board(Output(slave), {})
    board(dispatch_events[0])
    with pytest.raises(OSError, match="Input/output error"):
        board.close()


def test_a_terminal_without_unicode_gets_plain_signs(dispatch_events):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    board = Board(Output(stream), {})
    for event in dispatch_events[:-1]:
        board(event)
    board.close()
    text = stream.buffer.getvalue().decode("latin-1")
    assert "#####" in text
    assert "x\x1b" in text
    assert "?" not in text
