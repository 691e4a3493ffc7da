"""The request: what a caller pipes in."""

from typing import Annotated, Literal

from pydantic import Field

from dispatch_runner.models.base import JsonObject, Model

RunWhen = Literal["all_success", "all_done", "one_success"]

_PRINTABLE = r"^(?=.*\S)[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]+$"
_UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

# The patterns are for the JSON Schema only: pre-flight checks the same with better words.
TaskId = Annotated[
    str, Field(min_length=1, max_length=200, json_schema_extra={"pattern": _PRINTABLE})
]
CorrelationId = Annotated[str, Field(json_schema_extra={"format": "uuid", "pattern": _UUID})]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[int, Field(ge=1)]


class Task(Model):
    """One node of the graph: an agent, its input, and what it waits for."""

    task_id: TaskId
    """Unique in the request. Any printable text; file names are percent-quoted, not forbidden."""
    agent: str
    """Which agent runs it: `coder`, `debug`, `echo`, or any agent that the operator registered."""
    description: str = ""
    """For people, routing and traces."""
    input_data: JsonObject
    """The agent's input, checked against the agent's own schema before anything starts.
    A string may hold `${tasks.ID.output.PATH}`, the output of a direct or indirect dependency."""
    dependencies: list[str] = []
    """Ids of the tasks that must settle first. They exist, are not the task itself, and form no cycle."""
    priority: int = 0
    """Higher first among ready tasks."""
    timeout_seconds: Seconds | None = None
    """Wall-clock limit of one attempt, in seconds. Default: `config.timeout_seconds`."""
    retries: Annotated[int, Field(ge=0, le=10)] | None = None
    """Further attempts after a transient failure. Default: `config.retries`."""
    estimated_seconds: Seconds | None = None
    """Expected duration in seconds; used only to order the critical path and for the plan."""
    modifies_files: list[str] = []
    """Absolute paths or globs that the task writes: write locks, held while it runs."""
    resources: dict[str, Amount] = {}
    """Units of limits that the operator defined, such as `{"anthropic": 1}`; held while it runs."""
    run_when: RunWhen = "all_success"
    """Which outcomes of the dependencies release the task. `all_success`: every one succeeded;
    `all_done`: every one settled, whatever the outcome; `one_success`: every one settled and at
    least one succeeded."""


class Config(Model):
    """How the dispatch runs. An operator's limit (flag, environment, file) can be lowered, never raised."""

    max_workers: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Tasks running at once. Default: 5."""
    timeout_seconds: Seconds | None = None
    """Default wall-clock limit of one attempt, in seconds. Default: 300."""
    dispatch_timeout_seconds: Seconds | None = None
    """Limit of the whole dispatch in seconds; what has not finished then is cancelled and reported.
    Default: none."""
    trace_dir: Annotated[str, Field(min_length=1)] | None = None
    """Folder of the run folders and indexes, relative to the working directory. Default: `./traces`."""
    retries: Annotated[int, Field(ge=0, le=10)] | None = None
    """Default further attempts after a transient failure. Default: 2."""
    fail_fast: bool | None = None
    """Whether the first failure stops new starts and cancels what runs. Default: false."""


class Request(Model):
    """One dispatch: the tasks and how to run them."""

    tasks: Annotated[list[Task], Field(min_length=1)]
    """The graph, in the order in which the results are reported."""
    config: Config = Config.model_construct()
    """How to run it."""
    correlation_id: CorrelationId | None = None
    """UUID that links everything of this dispatch. Default: generated."""
    metadata: JsonObject = {}
    """Copied to the index untouched."""
