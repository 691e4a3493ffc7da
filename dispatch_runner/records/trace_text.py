"""A task's trace as JSON text: without secrets, and bounded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from dispatch_runner.events import TaskFinished
from dispatch_runner.models import TaskError
from dispatch_runner.models.trace import Attempt, McpCall, TraceEvent
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.text import bounded, encode

NOTHING = orjson.Fragment(b"[]")


@dataclass(slots=True)
class TraceText:
    """What is written for a finished task."""

    trace: bytes
    whole_output: bytes | None
    """The output's JSON text, when the trace does not hold all of it."""
    output_redacted: bool
    """Whether the output lost secrets."""


class TraceMaker:
    """Makes the traces of one dispatch. Redacts the result of a task in place."""

    def __init__(self, correlation_id: str, redactor: Redactor) -> None:
        self._correlation_id = correlation_id
        self._redactor = redactor

    def make(self, event: TaskFinished, task: bytes, timestamp: str) -> TraceText:
        """The trace of a task; its members are those of `models.trace.Trace`.

        Args:
            event: its `result` loses its secrets.
            task: the task's id as JSON text.
            timestamp: of the file.
        """
        result = event.result
        self._redact_error(result.error)
        if result.warnings:
            result.warnings = self._redactor.redact(result.warnings)
        given = result.output
        result.output, output_text = self._redactor.redact_encoded(given)
        output, cut = bounded(result.output, output_text)
        members = {
            "task_id": orjson.Fragment(task),
            "agent": result.agent,
            "backend": result.backend,
            "correlation_id": self._correlation_id,
            "description": self._part(event.description),
            "status": result.status,
            "input": self._part(event.input),
            "output": orjson.Fragment(output),
            "error": _fragment(result.error),
            "blocked_by": _fragment(result.blocked_by),
            "execution_time_ms": result.execution_time_ms,
            "attempts": self._attempts(event.attempts),
            "mcp_calls": self._mcp_calls(event.mcp_calls),
            "events": self._events(event.events),
            "usage": result.usage,
            "warnings": _fragment(result.warnings),
            "started_at": result.started_at,
            "finished_at": result.finished_at,
            "timestamp": timestamp,
        }
        redacted = result.output is not given
        return TraceText(orjson.dumps(members), output_text if cut else None, redacted)

    def redact_error(self, error: TaskError) -> None:
        """Remove the secrets of an error in place."""
        self._redact_error(error)

    def _redact_error(self, error: TaskError | None) -> None:
        if error is None:
            return
        error.message = self._redactor.redact_text(error.message)
        error.hint = error.hint and self._redactor.redact_text(error.hint)
        error.details = self._redactor.redact(error.details)

    def _part(self, value: Any) -> orjson.Fragment:
        value, text = self._redactor.redact_encoded(value)
        return orjson.Fragment(bounded(value, text)[0])

    def _attempts(self, attempts: Iterable[Attempt]) -> orjson.Fragment:
        for attempt in attempts:
            self._redact_error(attempt.error)
        return _fragment(list(attempts)) if attempts else NOTHING

    def _mcp_calls(self, calls: Iterable[McpCall]) -> Any:
        return [
            {
                "server": call.server,
                "tool": call.tool,
                "input": self._part(call.input),
                "output": self._part(call.output),
                "is_error": call.is_error,
                "duration_ms": call.duration_ms,
            }
            for call in calls
        ]

    def _events(self, events: Iterable[TraceEvent]) -> Any:
        return [
            {"timestamp": e.timestamp, "event": e.event, "data": self._part(e.data)} for e in events
        ]


def _fragment(value: Any) -> orjson.Fragment:
    return orjson.Fragment(bounded(value, encode(value))[0])
