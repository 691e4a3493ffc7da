"""What is written to disk: the trace of a task and the index of a dispatch."""

from dataclasses import dataclass, field
from typing import Any, Literal

from dispatch_runner.models.json import JsonObject
from dispatch_runner.models.result import Summary, TaskError, TaskStatus, Usage


@dataclass(slots=True)
class McpCall:
    """One call of an MCP tool."""

    server: str
    tool: str
    input: JsonObject
    output: Any
    is_error: bool
    duration_ms: float


@dataclass(slots=True)
class TraceEvent:
    """Something that an agent reported while it worked."""

    timestamp: str
    """UTC, RFC 3339 with `Z`."""
    event: str
    data: JsonObject = field(default_factory=dict)


@dataclass(slots=True)
class Attempt:
    """One attempt at a task."""

    attempt: int
    """1 for the first."""
    started_at: str
    finished_at: str
    duration_ms: float
    error: TaskError | None = None
    """Null when it succeeded."""
    stdout_file: str | None = None
    """Where the program's output went, when there was a program."""
    stderr_file: str | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class Trace:
    """Everything known about one task. A value over 256 KiB is cut and marked."""

    task_id: str
    agent: str
    backend: str | None
    correlation_id: str
    description: str
    status: TaskStatus
    input: Any
    """As resolved for the last attempt: references replaced, secrets redacted."""
    output: Any
    error: TaskError | None
    blocked_by: tuple[str, ...]
    execution_time_ms: float
    attempts: list[Attempt]
    mcp_calls: list[McpCall]
    events: list[TraceEvent]
    usage: Usage | None
    warnings: list[str]
    started_at: str | None
    finished_at: str | None
    timestamp: str
    """When this file was written: UTC, RFC 3339 with `Z`."""


@dataclass(slots=True)
class IndexEntry:
    """One task in the index."""

    task_id: str
    agent: str
    status: str
    """`pending` until the task settles, then its status."""
    trace_file: str | None
    backend: str | None = None
    """Who answered, or was asked last; null when nobody was."""


@dataclass(slots=True)
class Index:
    """Ties the traces of one dispatch together."""

    correlation_id: str
    dispatch_timestamp: str
    """When the dispatch started: UTC, RFC 3339 with `Z`."""
    status: Literal["running", "success", "partial", "failure"]
    interrupted: str | None
    total_time_ms: float | None
    task_count: int
    config: JsonObject
    """The configuration in force, not only what the request asked for."""
    metadata: JsonObject
    summary: Summary | None
    tasks: list[IndexEntry]
    request_file: str
    result_file: str | None
    journal_file: str
    pid: int
    """The process that runs or ran it."""
    version: str
    """Of dispatch-runner."""
