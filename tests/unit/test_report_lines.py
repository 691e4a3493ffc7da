"""Progress as lines: what a log shows of a dispatch, of a small one and of a huge one."""

import io

import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.events import DispatchStarted, TaskDeclared, TasksAdded, TaskStarted
from dispatch_runner.models import ErrorType
from dispatch_runner.report.lines import BURST, Lines, Throttle
from dispatch_runner.report.output import Output


def shown(events, clock=None):
    stream = io.StringIO()
    lines = Lines(Output(stream), clock or Clock(monotonic=lambda: 100.0))
    for event in events:
        lines(event)
    lines.close()
    return stream.getvalue().splitlines()


def many(finished, count, *args, **fields):
    """A dispatch of `count` tasks that all end in the same way at the same moment."""
    declared = tuple(TaskDeclared(f"t{n}", "coder", "", ()) for n in range(count))
    yield DispatchStarted("id", {}, 2)
    yield TasksAdded(declared)
    for task in declared:
        yield finished(task.task_id, *args, **fields)


def test_a_dispatch_from_beginning_to_end(dispatch_events):
    assert shown(dispatch_events) == [
        "dispatch 1f0c9a52-0000-4000-8000-000000000000: up to 2 tasks at once",
        "[0/3]     0ms added     3 tasks",
        "[0/3]     0ms started   a  coder",
        "[0/3]     0ms started   b  coder",
        "[0/3]     0ms retry     a  attempt 1 rate_limited: too many requests; again in 2.0s",
        "[0/3]     0ms held      anthropic  for 2.0s: too many requests",
        "[0/3]     0ms miss      a  no result of this task is in the cache",
        "[1/3]     0ms ok        a  1.5s",
        "[2/3]     0ms FAILED    b  1.5s  missing_file: file '/x' does not exist",
        "[3/3]     0ms blocked   c  by b",
        "[3/3]     0ms stopping  SIGINT",
        "partial: 1 of 3 succeeded, 1 failed, 1 blocked in 2.5s",
        "  speed-up 1.2, workers 60% busy, at most 2 at once, critical path 2.0s",
        "  input tokens 1,200, output tokens 30",
        "  FAILED b  missing_file: file '/x' does not exist",
        "  warning: something to know",
        "  result: /traces/result.json",
    ]


def test_times_are_since_the_start_of_the_dispatch(dispatch_events):
    moments = iter([1000.0, 1000.0, 1002.25])
    assert shown(dispatch_events[:3], Clock(monotonic=lambda: next(moments)))[-1].startswith(
        "[0/3]    2.2s started"
    )


def test_no_text_of_a_task_makes_a_line_of_its_own(finished):
    hostile = "x\n::error::\x1b[2J\r"
    events = [
        DispatchStarted(hostile, {}, 1),
        TaskStarted(hostile, hostile),
        finished(hostile, "error", ErrorType.CRASHED, hostile),
        finished("y", "blocked", blocked_by=(hostile,)),
    ]
    lines = shown(events)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_a_thousand_successes_are_thinned_out_and_the_gap_is_told(finished, dispatch_events):
    lines = shown([*many(finished, 1000), dispatch_events[-1]])
    assert sum(" ok " in line for line in lines) == BURST
    assert f"{1000 - BURST} more lines about tasks were not shown" in lines


def test_a_thousand_failures_are_all_shown(finished):
    lines = shown(many(finished, 1000, "error", ErrorType.CRASHED))
    assert sum("FAILED" in line for line in lines) == 1000


def test_a_thousand_blocked_tasks_do_not_bury_the_cause(finished):
    lines = shown(many(finished, 1000, "blocked", blocked_by=("root",)))
    assert sum("blocked" in line for line in lines) == BURST


def test_a_small_dispatch_is_shown_whole(finished, dispatch_events):
    lines = shown([*many(finished, 50), dispatch_events[-1]])
    assert sum(" ok " in line for line in lines) == 50
    assert not any("not shown" in line for line in lines)


@pytest.mark.parametrize("rate", [1.0, 8.0])
def test_the_throttle_lets_a_burst_through_and_then_its_rate(rate):
    throttle = Throttle(rate, burst=5)
    assert [throttle.allows(7.0) for _ in range(7)] == [True] * 5 + [False] * 2
    later = [throttle.allows(7.0 + n / rate) for n in range(1, 101)]
    assert all(later)
    assert not throttle.allows(7.0 + 100 / rate)
