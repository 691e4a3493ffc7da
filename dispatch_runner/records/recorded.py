"""Results of tasks, read back from their traces: whole, and only if they are what the journal says."""

import os
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from dispatch_runner.models import (
    ErrorType,
    JsonObject,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
)
from dispatch_runner.models.trace import Attempt
from dispatch_runner.records.folder import Folder
from dispatch_runner.records.names import OUTPUT_SUFFIX
from dispatch_runner.records.replay import RecordedTask


def tasks_of(index: JsonObject) -> dict[str, RecordedTask]:
    """The tasks by an index. Raises `KeyError` or `TypeError` for what is not one of ours."""
    return {
        task["task_id"]: RecordedTask(
            task["task_id"], task["agent"], task["status"], task["trace_file"]
        )
        for task in index["tasks"]
    }


def trace_name(task: RecordedTask) -> str:
    """File name of its trace; empty when it has none."""
    return os.path.basename(task.trace or "")


def recorded_trace(
    run: Folder, task: RecordedTask, record: JsonObject | None = None
) -> JsonObject | None:
    """The trace that its `finished` record speaks of, or another such record; null if it is not that."""
    record = record or task.finished
    name = trace_name(task) if record is None else os.path.basename(str(record["trace"]))
    expected = None if record is None else (record["bytes"], record["trace_crc"])
    return _object(_checked(run, name, expected))


def recorded_result(run: Folder, task: RecordedTask) -> TaskResult | None:
    """The task's whole result; null if its trace, or its whole output, is not what was recorded."""
    trace = recorded_trace(run, task)
    if trace is None:
        return None
    record, name = task.finished or {}, trace_name(task)
    whole = f"{name.removesuffix('.json')}{OUTPUT_SUFFIX}.json"
    try:
        if "output_bytes" in record:
            trace["output"] = _object(
                _checked(run, whole, (record["output_bytes"], record["output_crc"]))
            )
            if trace["output"] is None:
                return None
        elif task.finished is None and (text := _checked(run, whole, None)) is not None:
            trace["output"] = _object(text)  # the index tells nothing of it
        return _result(trace, run.path_of(name))
    except (KeyError, TypeError, ValueError):
        return None


def recorded_attempts(trace: JsonObject) -> list[Attempt]:
    """The attempts of a trace. Raises `KeyError`, `TypeError` or `ValueError` for what is none of ours."""
    return [
        Attempt(**{**each, "error": _error(each["error"]), "usage": _usage(each["usage"])})
        for each in trace["attempts"]
    ]


def _result(trace: JsonObject, trace_file: str) -> TaskResult:
    return TaskResult(
        trace["task_id"],
        trace["agent"],
        trace["backend"],
        TaskStatus(trace["status"]),
        output=trace["output"],
        error=_error(trace["error"]),
        blocked_by=tuple(trace["blocked_by"]),
        execution_time_ms=trace["execution_time_ms"],
        attempts=len(trace["attempts"]),
        started_at=trace["started_at"],
        finished_at=trace["finished_at"],
        usage=_usage(trace["usage"]),
        trace_file=trace_file,
        warnings=trace["warnings"],
    )


def _error(value: Mapping[str, Any] | None) -> TaskError | None:
    return None if value is None else TaskError(**{**value, "type": ErrorType(value["type"])})


def _usage(value: Mapping[str, Any] | None) -> Usage | None:
    return None if value is None else Usage(**value)


def _checked(run: Folder, name: str, expected: tuple[int, str] | None) -> bytes | None:
    """Content of a file with that length and CRC; null if it is not there or another."""
    try:
        text = run.read(name)
    except (OSError, ValueError):
        return None
    found = len(text), f"{zlib.crc32(text):08x}"
    return text if expected is None or found == expected else None


def _object(text: bytes | None) -> JsonObject | None:
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
