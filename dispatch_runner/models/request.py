"""The request: what a caller pipes in.

Plain dataclasses, so that a run need not build pydantic models, which costs more than the rest of its
start. Pydantic's view of them (constraints, schemas, validators) is in `constraints` and `validators`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from dispatch_runner.models.json import JsonObject

if TYPE_CHECKING:
    from dispatch_runner.models.constraints import (
        Amount,
        CorrelationId,
        Cost,
        Retries,
        Seconds,
        TaskId,
        Tasks,
        Text,
        Workers,
    )

RunWhen = Literal["all_success", "all_done", "one_success"]
Workspace = Literal["in_place", "scratch", "worktree"]

_STRICT = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One node of the graph: an agent, its input, and what it waits for."""

    __pydantic_config__: ClassVar = _STRICT

    task_id: TaskId
    """Unique in the request. Any printable text; file names are percent-quoted, not forbidden."""
    agent: str
    """Which agent runs it: `coder`, `debug`, `echo`, or any agent that the operator registered."""
    description: str = ""
    """For people, routing and traces."""
    input_data: JsonObject
    """The agent's input, checked against the agent's own schema before anything starts.
    A string may hold `${tasks.ID.output.PATH}`, the output of a direct or indirect dependency."""
    dependencies: list[str] = field(default_factory=list)
    """Ids of the tasks that must settle first. They exist, are not the task itself, and form no cycle."""
    priority: int = 0
    """Higher first among ready tasks."""
    timeout_seconds: Seconds | None = None
    """Wall-clock limit of one attempt, in seconds. Default: `config.timeout_seconds`."""
    retries: Retries | None = None
    """Further attempts after a transient failure. Default: `config.retries`."""
    estimated_seconds: Seconds | None = None
    """Expected duration in seconds; used only to order the critical path and for the plan."""
    modifies_files: list[str] = field(default_factory=list)
    """Absolute paths or globs that the task writes: write locks, held while it runs."""
    resources: dict[str, Amount] = field(default_factory=dict)
    """Units of limits that the operator defined, such as `{"anthropic": 1}`; held while it runs."""
    run_when: RunWhen = "all_success"
    """Which outcomes of the dependencies release the task. `all_success`: every one succeeded;
    `all_done`: every one settled, whatever the outcome; `one_success`: every one settled and at
    least one succeeded."""
    checks: list[str] = field(default_factory=list)
    """Acceptance checks that the operator defined, by name: they run after the agent, and all must
    pass for `success`. They are added to the agent's own."""
    max_cost_usd: Cost | None = None
    """Most that the task may cost, in USD, over all its attempts."""
    max_tokens: Amount | None = None
    """Most tokens of input and output together that the task may consume, over all its attempts."""
    max_requests: Amount | None = None
    """Most requests to a model that the task may make, over all its attempts."""
    cache: bool | None = None
    """Whether a result of the same work may be used again, and this one be kept for that. Default:
    as the agent's definition says, else false."""
    workspace: Workspace | None = None
    """Where it works: `in_place`, in the caller's folder; `scratch`, in an empty folder of its own;
    `worktree`, in a git worktree of its own. Default: as the agent's definition says, else
    `in_place`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How the dispatch runs. An operator's limit (flag, environment, file) can be lowered, never raised."""

    __pydantic_config__: ClassVar = _STRICT

    max_workers: Workers | None = None
    """Tasks running at once. Default: 5."""
    timeout_seconds: Seconds | None = None
    """Default wall-clock limit of one attempt, in seconds. Default: 300."""
    dispatch_timeout_seconds: Seconds | None = None
    """Limit of the whole dispatch in seconds; what has not finished then is cancelled and reported.
    Default: none."""
    trace_dir: Text | None = None
    """Folder of the run folders and indexes, relative to the working directory. Default: `./traces`."""
    retries: Retries | None = None
    """Default further attempts after a transient failure. Default: 2."""
    fail_fast: bool | None = None
    """Whether the first failure stops new starts and cancels what runs. Default: false."""
    max_cost_usd: Cost | None = None
    """Most that all agents of the dispatch together may cost, in USD. Default: none."""
    max_tokens: Amount | None = None
    """Most tokens of input and output together, over all agents. Default: none."""
    max_requests: Amount | None = None
    """Most requests to models, over all agents. Default: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One dispatch: the tasks and how to run them."""

    __pydantic_config__: ClassVar = _STRICT

    tasks: Tasks
    """The graph, in the order in which the results are reported."""
    config: Config = Config()
    """How to run it."""
    correlation_id: CorrelationId | None = None
    """UUID that links everything of this dispatch. Default: generated."""
    metadata: JsonObject = field(default_factory=dict)
    """Copied to the index untouched."""
