"""Documents that fit a caller's limited view: at most 8,000 bytes, with a count of what is left out."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

from dispatch_runner.models import Result, TaskResult, TaskStatus
from dispatch_runner.models.live import (
    DispatchState,
    ResultSummary,
    ShortError,
    UnsuccessfulTask,
)
from dispatch_runner.report.json_text import json_line
from dispatch_runner.report.wording import one_line

LARGEST = 8_000
"""Bytes of a document, its newline included; only very long paths can make it longer."""

ROOTS = 5
WARNING_BYTES = 1_500

_RANK = {TaskStatus.ERROR: 0, TaskStatus.TIMEOUT: 1, TaskStatus.CANCELLED: 2, TaskStatus.BLOCKED: 3}

_Row = TypeVar("_Row")


def summarised(result: Result) -> ResultSummary:
    """The result without outputs. Causes come before what they blocked."""
    failed = sorted(
        (task for task in result.results if task.status is not TaskStatus.SUCCESS),
        key=lambda task: _RANK[task.status],
    )
    warnings = _that_fit((one_line(text) for text in result.warnings), WARNING_BYTES)
    document = ResultSummary(
        result_file=result.result_file,
        status=result.status,
        correlation_id=result.correlation_id,
        interrupted=result.interrupted,
        summary=result.summary,
        unsuccessful=[],
        unsuccessful_omitted=len(failed),
        trace_index=result.trace_index,
        warnings=warnings,
        warnings_omitted=len(result.warnings) - len(warnings),
        merge_branch=result.merge.branch if result.merge else None,
    )
    rows = _that_fit(map(_unsuccessful, failed), _room(document))
    return replace(document, unsuccessful=rows, unsuccessful_omitted=len(failed) - len(rows))


def compacted(state: DispatchState) -> DispatchState:
    """The state with as many of its tasks as fit: half of the room at most for those that run."""
    room = _room(replace(state, running=[], unsuccessful=[]))
    running = _that_fit(state.running, room // 2)
    failed = _that_fit(map(_shortened, state.unsuccessful), room - _size(running))
    return replace(
        state,
        running=running,
        running_omitted=state.running_omitted + len(state.running) - len(running),
        unsuccessful=failed,
        unsuccessful_omitted=state.unsuccessful_omitted + len(state.unsuccessful) - len(failed),
    )


def _unsuccessful(task: TaskResult) -> UnsuccessfulTask:
    error = ShortError(task.error.type, task.error.message) if task.error else None
    return _shortened(
        UnsuccessfulTask(task.task_id, task.status, error, list(task.blocked_by), task.trace_file)
    )


def _shortened(task: UnsuccessfulTask) -> UnsuccessfulTask:
    error = task.error and replace(task.error, message=one_line(task.error.message))
    return replace(task, error=error, blocked_by=task.blocked_by[:ROOTS])


def _room(document: Any) -> int:
    """Bytes that are left beside the document as it is; some for counts that grow."""
    return LARGEST - _size(document) - 32


def _that_fit(rows: Iterable[_Row], room: int) -> list[_Row]:
    """The first rows, as many as fit into so many bytes."""
    taken: list[_Row] = []
    for row in rows:
        room -= _size(row) + 1
        if room < 0:
            break
        taken.append(row)
    return taken


def _size(part: object) -> int:
    return len(json_line(part).encode())
