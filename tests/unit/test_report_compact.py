"""Documents for a limited view fit it, whatever is in them, and count what they leave out."""

from dataclasses import replace

import orjson
import pytest

from dispatch_runner.models import ErrorType, Result, Summary, TaskError, TaskResult, TaskStatus
from dispatch_runner.models.live import DispatchState, RunningTask, TaskCounts
from dispatch_runner.report.compact import LARGEST, compacted, summarised

LONG_ID = "é" * 200


def failed(task_id, status=TaskStatus.ERROR, message="it did not work"):
    error = TaskError(ErrorType.CRASHED, message)
    return TaskResult(task_id, "echo", None, status, error=error, blocked_by=("x",) * 90)


def result(tasks, warnings=()):
    summary = Summary(len(tasks), 0, len(tasks), 0, 0, 0, 1.0, None, 0.0, None, 1)
    return Result("failure", "id", None, tasks, summary, "/i.json", "/r.json", list(warnings))


@pytest.mark.parametrize(
    "tasks",
    [
        [],
        [failed("a")],
        [failed(f"{number}{LONG_ID}") for number in range(500)],
        [failed(f"{number}", message="\ud800\n" + "x" * 1_000_000) for number in range(50)],
    ],
)
def test_a_summary_fits_and_counts_the_rest(tasks):
    summary = summarised(result(tasks, ["y" * 10_000] * 90))
    assert len(orjson.dumps(summary)) < LARGEST
    assert len(summary.unsuccessful) + summary.unsuccessful_omitted == len(tasks)
    assert len(summary.warnings) + summary.warnings_omitted == 90
    assert bool(summary.unsuccessful) == bool(tasks)


def test_causes_come_before_what_they_blocked():
    tasks = [failed("b", TaskStatus.BLOCKED), failed("c", TaskStatus.CANCELLED), failed("a")]
    tasks += [
        failed("t", TaskStatus.TIMEOUT),
        TaskResult("s", "echo", "offline", TaskStatus.SUCCESS),
    ]
    assert [each.task_id for each in summarised(result(tasks)).unsuccessful] == ["a", "t", "c", "b"]


def test_a_state_fits_and_leaves_room_for_failures_beside_what_runs():
    failures = summarised(result([failed(f"{n}{LONG_ID}") for n in range(9)])).unsuccessful
    running = [RunningTask(f"{n}{LONG_ID}", "echo", 1.0) for n in range(50)]
    state = DispatchState(
        "d", "running", None, "id", 1.0, False, TaskCounts(100), running, 7, failures, 3, None,
        "/i.json", "/r", 1,
    )  # fmt: skip
    small = compacted(state)
    assert len(orjson.dumps(small)) < LARGEST
    assert small.running
    assert small.unsuccessful
    assert len(small.running) + small.running_omitted == 57
    assert len(small.unsuccessful) + small.unsuccessful_omitted == len(failures) + 3
    assert compacted(replace(state, running=[], unsuccessful=[])).running_omitted == 7
