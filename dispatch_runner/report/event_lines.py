"""The events as JSON, for programs: the shape of each line of `--progress json`.

Every line is one object with `event`, which says what it is, and

    seq         1, 2, 3, ... without a gap
    time        UTC, RFC 3339 with `Z`
    elapsed_ms  since the observer's first event, by the monotonic clock

and the fields of the event's class below. Outputs and inputs are not in it: they are in the task's
trace file, which is complete when its `task_finished` is written. Messages are bounded.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic's own; it refuses the one of Python 3.11

from dispatch_runner.events import (
    AttemptFailed,
    CacheAnswer,
    CacheConsulted,
    DispatchFinished,
    DispatchStarted,
    DispatchStopping,
    Event,
    ProviderHeld,
    TaskDeclared,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import (
    DispatchStatus,
    ErrorType,
    Interruption,
    JsonObject,
    Summary,
    TaskError,
    TaskStatus,
    Usage,
)
from dispatch_runner.report.wording import shortened

TEXT_LENGTH = 2_000
TASKS_PER_LINE = 200
_DOCUMENTED = with_config(ConfigDict(use_attribute_docstrings=True, extra="forbid"))


@_DOCUMENTED
class DispatchStartedLine(TypedDict):
    """The first line."""

    event: Literal["dispatch_started"]
    correlation_id: str
    max_workers: int
    config: JsonObject
    """The configuration in force."""


@_DOCUMENTED
class DeclaredTask(TypedDict):
    """A task before it starts."""

    task_id: str
    agent: str
    description: str
    """Cut after 2,000 characters."""
    dependencies: list[str]


@_DOCUMENTED
class TasksAddedLine(TypedDict):
    """Tasks entered the graph: at most 200 a line, all before the first of them starts."""

    event: Literal["tasks_added"]
    tasks: list[DeclaredTask]


@_DOCUMENTED
class TaskStartedLine(TypedDict):
    """The first attempt at a task begins."""

    event: Literal["task_started"]
    task_id: str
    agent: str


@_DOCUMENTED
class ErrorSummary(TypedDict):
    """Why an attempt or a task did not succeed; its details are in the trace file."""

    type: ErrorType
    message: str
    """Cut after 2,000 characters."""
    retryable: bool
    hint: str | None
    """What to do about it, when that is known."""


@_DOCUMENTED
class AttemptFailedLine(TypedDict):
    """An attempt failed and another one follows."""

    event: Literal["attempt_failed"]
    task_id: str
    attempt: int
    """1 for the first."""
    error: ErrorSummary
    retry_in_ms: float
    """From now to the start of the next attempt, in milliseconds."""


@_DOCUMENTED
class ProviderHeldLine(TypedDict):
    """A provider asked for less, or for nothing more: no new calls of it start for a while."""

    event: Literal["provider_held"]
    provider: str
    cause: str
    """In words."""
    seconds: float | None
    """How long; null: for the rest of the dispatch."""
    resets_at: float | None
    """When its quota is there again, where it is known: seconds since 1970."""


@_DOCUMENTED
class CacheConsultedLine(TypedDict):
    """What the cache said of a task that opted in; only with `--explain`."""

    event: Literal["cache_consulted"]
    task_id: str
    answer: CacheAnswer
    """`skipped`: it cannot be told what the result would depend on."""
    key: str | None
    """By which the result is kept; null when it was skipped."""
    reason: str
    """In words; cut after 2,000 characters."""


@_DOCUMENTED
class TaskFinishedLine(TypedDict):
    """A task settled, perhaps without having started. Its trace is on disk."""

    event: Literal["task_finished"]
    task_id: str
    agent: str
    backend: str | None
    """Who answered; null when nothing was started."""
    status: TaskStatus
    execution_time_ms: float
    attempts: int
    error: ErrorSummary | None
    """Null after a success."""
    blocked_by: list[str]
    """The tasks whose failure stopped this one: root causes, at most 100."""
    usage: Usage | None
    """Null when the agent consumed nothing that is counted."""
    trace_file: str | None
    warnings: list[str]


@_DOCUMENTED
class DispatchStoppingLine(TypedDict):
    """No more tasks are started and what runs is being cancelled."""

    event: Literal["dispatch_stopping"]
    cause: Interruption | None
    """Null when a record could not be written, or when the caller cancelled."""


@_DOCUMENTED
class DispatchFinishedLine(TypedDict):
    """The last line. The whole result is in `result_file`."""

    event: Literal["dispatch_finished"]
    status: DispatchStatus
    interrupted: Interruption | None
    """What cut the dispatch short, or null."""
    summary: Summary
    trace_index: str | None
    result_file: str | None
    warnings: list[str]


EventLine = (
    DispatchStartedLine
    | TasksAddedLine
    | TaskStartedLine
    | AttemptFailedLine
    | ProviderHeldLine
    | CacheConsultedLine
    | TaskFinishedLine
    | DispatchStoppingLine
    | DispatchFinishedLine
)


def to_json(event: Event) -> EventLine:
    """The event as a JSON object, without `seq`, `time` and `elapsed_ms`. Pure."""
    match event:
        case TaskStarted():
            return {"event": "task_started", "task_id": event.task_id, "agent": event.agent}
        case TaskFinished():
            return _finished(event)
        case AttemptFailed():
            return {
                "event": "attempt_failed",
                "task_id": event.task_id,
                "attempt": event.attempt,
                "error": _error(event.error),
                "retry_in_ms": round(event.retry_in * 1000, 3),
            }
        case ProviderHeld():
            return {
                "event": "provider_held",
                "provider": event.provider,
                "cause": shortened(event.cause, TEXT_LENGTH),
                "seconds": event.seconds,
                "resets_at": event.resets_at,
            }
        case CacheConsulted():
            return {
                "event": "cache_consulted",
                "task_id": event.task_id,
                "answer": event.answer,
                "key": event.key,
                "reason": shortened(event.reason, TEXT_LENGTH),
            }
        case TasksAdded():
            return {"event": "tasks_added", "tasks": [_declared(each) for each in event.tasks]}
        case DispatchStarted():
            return {
                "event": "dispatch_started",
                "correlation_id": event.correlation_id,
                "max_workers": event.max_workers,
                "config": event.config,
            }
        case DispatchStopping():
            return {"event": "dispatch_stopping", "cause": event.cause}
        case DispatchFinished():
            return _over(event)


def in_lines(event: Event) -> Iterator[Event]:
    """The same event in pieces that make lines of a sensible length."""
    if not isinstance(event, TasksAdded) or len(event.tasks) <= TASKS_PER_LINE:
        yield event
        return
    tasks = iter(event.tasks)
    while part := tuple(islice(tasks, TASKS_PER_LINE)):
        yield TasksAdded(part)


def event_schema() -> JsonObject:
    """The JSON Schema (2020-12) of one line."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(EventLine).json_schema()
    for definition in schema["$defs"].values():
        if "event" in definition.get("properties", {}):
            _add_stamp(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event",
        "description": "One line of the progress of a dispatch.",
        **schema,
    }


_STAMP: JsonObject = {
    "seq": {"type": "integer", "minimum": 1, "description": "1, 2, 3, ... without a gap."},
    "time": {"type": "string", "format": "date-time", "description": "UTC, RFC 3339 with `Z`."},
    "elapsed_ms": {
        "type": "number",
        "minimum": 0,
        "description": "Milliseconds since the first event, by the monotonic clock.",
    },
}


def _add_stamp(definition: JsonObject) -> None:
    event, rest = definition["properties"].pop("event"), definition["properties"]
    definition["properties"] = {"event": event, **_STAMP, **rest}
    definition["required"] = list(definition["properties"])


def _declared(task: TaskDeclared) -> DeclaredTask:
    return {
        "task_id": task.task_id,
        "agent": task.agent,
        "description": shortened(task.description, TEXT_LENGTH),
        "dependencies": list(task.dependencies),
    }


def _finished(event: TaskFinished) -> TaskFinishedLine:
    result = event.result
    return {
        "event": "task_finished",
        "task_id": result.task_id,
        "agent": result.agent,
        "backend": result.backend,
        "status": result.status,
        "execution_time_ms": round(result.execution_time_ms, 3),
        "attempts": result.attempts,
        "error": _error(result.error) if result.error else None,
        "blocked_by": list(result.blocked_by),
        "usage": result.usage,
        "trace_file": result.trace_file,
        "warnings": result.warnings,
    }


def _over(event: DispatchFinished) -> DispatchFinishedLine:
    result = event.result
    return {
        "event": "dispatch_finished",
        "status": result.status,
        "interrupted": result.interrupted,
        "summary": result.summary,
        "trace_index": result.trace_index,
        "result_file": result.result_file,
        "warnings": result.warnings,
    }


def _error(error: TaskError) -> ErrorSummary:
    return {
        "type": error.type,
        "message": shortened(error.message, TEXT_LENGTH),
        "retryable": error.retryable,
        "hint": shortened(error.hint, TEXT_LENGTH) if error.hint else None,
    }
