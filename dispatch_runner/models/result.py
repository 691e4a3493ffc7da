"""The result: what goes to stdout, and its parts. Plain dataclasses: ten thousand are made in one run."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from dispatch_runner.models.json import JsonObject


class TaskStatus(StrEnum):
    """How a task ended. Every task of a request gets exactly one."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class ErrorType(StrEnum):
    """Why a task did not succeed."""

    INVALID_INPUT = "invalid_input"
    MISSING_FILE = "missing_file"
    UNAVAILABLE = "unavailable"
    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    PERMISSION_DENIED = "permission_denied"
    BUDGET_EXCEEDED = "budget_exceeded"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    CRASHED = "crashed"
    BAD_OUTPUT = "bad_output"
    CHECK_FAILED = "check_failed"
    UNVERIFIED = "unverified"
    DEPENDENCY = "dependency"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


DispatchStatus = Literal["success", "partial", "failure"]
Interruption = Literal["SIGINT", "SIGTERM", "SIGHUP", "timeout", "budget", "fail_fast"]


@dataclass(slots=True)
class TaskError:
    """The cause of a task that did not succeed."""

    type: ErrorType
    """One of the documented causes."""
    message: str
    """One sentence for a person; never empty."""
    retryable: bool = False
    """Whether the same task may succeed when it is simply run again."""
    hint: str | None = None
    """What to do about it, when that is known."""
    details: JsonObject = field(default_factory=dict)
    """Facts behind the message: exit code, tail of stderr, keys that exist, ..."""


@dataclass(slots=True)
class Usage:
    """What an attempt or a dispatch consumed. A figure that is not known is null, never 0."""

    input_tokens: int | None = None
    """Read by the model, without those that came from its cache."""
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    """Read from the model's cache."""
    requests: int | None = None
    """To the model."""
    cost_usd: float | None = None
    """As the agent says, or by a price list; null when any part of it is not known."""


@dataclass(slots=True)
class TaskResult:
    """How one task ended."""

    task_id: str
    """The task's id in the request."""
    agent: str
    """The agent that the request named."""
    backend: str | None
    """Who answered, such as `offline` or `command`; null when nothing was started."""
    status: TaskStatus
    """`success`, `error`, `timeout`, `blocked` or `cancelled`."""
    output: JsonObject | None = None
    """The agent's JSON object, or null."""
    error: TaskError | None = None
    """The cause, or null after a success."""
    blocked_by: tuple[str, ...] = ()
    """The tasks whose failure stopped this one: root causes, at most 100."""
    execution_time_ms: float = 0.0
    """From the first attempt's start to the end of the last, in milliseconds; 0 if nothing started."""
    attempts: int = 0
    """How many attempts were made."""
    started_at: str | None = None
    """UTC, RFC 3339 with `Z`."""
    finished_at: str | None = None
    """UTC, RFC 3339 with `Z`."""
    usage: Usage | None = None
    """Null when the agent consumed nothing that is counted."""
    trace_file: str | None = None
    """Absolute path of the task's trace."""
    warnings: list[str] = field(default_factory=list)
    """What the caller should know although it did not change the status."""


@dataclass(slots=True)
class Summary:
    """Counts that add up, and what was measured in this run.

    `total_tasks = successful + failed + timed_out + blocked + cancelled`.
    """

    total_tasks: int
    successful: int
    failed: int
    timed_out: int
    blocked: int
    cancelled: int
    total_time_ms: float
    """Wall time from the start of the dispatch to its last task, in milliseconds."""
    speedup: float | None
    """Sum of the tasks' times over the wall time; null when nothing ran."""
    critical_path_ms: float
    """The longest chain of dependent tasks by measured time, in milliseconds."""
    worker_utilisation: float | None
    """Sum of the tasks' times over wall time times workers, 0 to 1; null when nothing ran."""
    peak_concurrency: int
    """The most tasks that ran at one moment."""
    usage: Usage | None = None
    """Totals over all tasks; null when nothing was counted."""


@dataclass(slots=True)
class MergeConflict:
    """A file in which the changes of a task do not go together with what was merged before."""

    task_id: str
    """Whose changes were left out; its branch stays."""
    file: str
    """Path below the repository."""
    hunk: str
    """The first lines concerned, with git's marks, at most 4,000 characters; empty where there are none:
    the file was deleted or replaced on one side, or is no text."""


@dataclass(slots=True)
class FailedCheck:
    """The check did not pass."""

    task_id: str | None
    """Whose changes break it, and were left out; null: it fails without any of them."""
    check: str
    """Its name."""
    message: str
    """What it said."""


@dataclass(slots=True)
class LeftOut:
    """A task whose changes could be merged only together with those of another one."""

    task_id: str
    """Its branch stays."""
    reason: str
    """On whose changes it builds."""


@dataclass(slots=True)
class Merge:
    """What became of the changes that tasks made in git worktrees."""

    branch: str | None = None
    """The branch of the dispatch that holds what was merged; null: nothing was."""
    commit: str | None = None
    """Where that branch is."""
    merged: list[str] = field(default_factory=list)
    """Tasks whose changes are in it, in the order in which they were merged."""
    conflicts: list[MergeConflict] = field(default_factory=list)
    """One for each file."""
    failed_checks: list[FailedCheck] = field(default_factory=list)
    """One for each task that was left out for it."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What could not be merged for want of another task's changes."""


@dataclass(slots=True)
class Result:
    """The document on stdout after a run."""

    status: DispatchStatus
    """`success`: all succeeded; `failure`: none did; `partial`: otherwise."""
    correlation_id: str
    """The request's, or a generated one."""
    interrupted: Interruption | None
    """What cut the dispatch short, or null."""
    results: list[TaskResult]
    """One entry per task, in request order, whatever happened."""
    summary: Summary
    """Counts and measurements."""
    trace_index: str | None
    """Absolute path of the index of this dispatch."""
    result_file: str | None
    """Absolute path of this document, whole, on disk."""
    warnings: list[str] = field(default_factory=list)
    """About the dispatch as a whole."""
    merge: Merge | None = None
    """What became of the changes in git worktrees; null: nothing was to be merged."""


@dataclass(slots=True)
class Problem:
    """One thing that is wrong with a request."""

    code: str
    """Stable name of the kind of problem, such as `unknown_dependency`."""
    pointer: str
    """RFC 6901 JSON pointer into the request; empty for the whole document."""
    message: str
    """What is wrong, quoting the culprit."""
    hint: str | None = None
    """How to mend it, when that is known."""
    task_id: str | None = None
    """The task it belongs to, when there is one."""


@dataclass(slots=True)
class Rejection:
    """The document on stdout when nothing was started: every problem at once."""

    errors: list[Problem]
    """Never empty; at most 1,000, then a warning says how many more there are."""
    status: Literal["rejected"] = "rejected"
    interrupted: Interruption | None = None
    """The signal that arrived before anything was started, or null."""
    warnings: list[str] = field(default_factory=list)
