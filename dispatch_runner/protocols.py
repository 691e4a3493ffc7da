"""The seams: what a role, a backend and an agent are to the engine.

A *role* knows what is asked: its input schema, how to ask, its output schema, and how to verify an
answer. A *backend* knows how to get an answer. Any role runs on any backend that can serve it;
verification is the role's and is the same whoever answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from anyio import Event

    from dispatch_runner.models import JsonObject, Usage
    from dispatch_runner.models.trace import McpCall, TraceEvent
    from dispatch_runner.paths import AllowedRoots


@dataclass(slots=True)
class CallLog:
    """What an attempt adds to its task's trace. Not shared between attempts."""

    events: list[TraceEvent] = field(default_factory=list)
    mcp_calls: list[McpCall] = field(default_factory=list)
    stdout_file: str | None = None
    stderr_file: str | None = None


class ToolAnswer(NamedTuple):
    """What a tool said, or why it said nothing. A failure is a value here, too."""

    status: Literal["ok", "error", "not_assessed"]
    """`error`: the tool was called and failed; `not_assessed`: there is no such tool, or its server
    cannot be reached. Neither is data."""
    output: Any = None
    """JSON, after `ok`."""
    reason: str | None = None
    """Why there is no output."""


class Tools(Protocol):
    """Tools that agents may call by their logical names, such as `assess_code_quality`."""

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        """Calls a tool within its time limit and adds the call to the log. Never raises for a failure."""
        ...


class NoTools:
    """Nothing to call: every answer is `not_assessed`."""

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        return ToolAnswer("not_assessed", reason="no tools are configured")


@dataclass(slots=True)
class AgentCall:
    """Everything one attempt is given. Made anew for each attempt; agents keep nothing of it."""

    task_id: str
    agent: str
    description: str
    input: JsonObject
    """`input_data` with its references resolved, valid for the role's input schema."""
    dependencies: Mapping[str, JsonObject | None]
    """Output of each direct dependency; null for one that did not succeed."""
    correlation_id: str
    attempt: int
    """1 for the first."""
    timeout_seconds: float
    """Limit of this attempt. The engine enforces it by cancelling; a backend may pass it on."""
    workspace: Path
    """The working directory of the attempt."""
    roots: AllowedRoots
    """Where files may be read and written."""
    output_prefix: Path | None
    """What a program prints goes to `<prefix>.<attempt>.stdout` and `.stderr`; null: to
    temporary files."""
    hurry: Event
    """Set when grace times must be skipped: a second signal arrived."""
    log: CallLog = field(default_factory=CallLog)
    tools: Tools = field(default_factory=NoTools)


@dataclass(slots=True)
class Answer:
    """What a backend got. Not yet verified."""

    output: JsonObject
    usage: Usage | None = None
    warnings: list[str] = field(default_factory=list)
    backend: str | None = None
    """Set when another backend than the agent's first one answered."""


class InputProblem(NamedTuple):
    """One thing that is wrong with an agent's input."""

    location: tuple[str | int, ...]
    """Keys and indexes below `input_data`."""
    code: str
    message: str
    hint: str | None = None


class Role(Protocol):
    """What is asked, and what a good answer is."""

    name: str

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        """Everything that is wrong with an input; never touches the file system's content.

        Called before anything starts with the references still in place (problems below a reference
        are dropped by the caller), and again at the start of a task whose references were resolved.
        """
        ...

    def writes(self, value: JsonObject) -> Sequence[str]:
        """Paths that a task with this input writes: its implied file locks."""
        ...

    def missing_tools(self) -> Sequence[str]:
        """Programs that it would use and that this machine lacks: what depends on them is reported as
        not assessed. Cheap; starts nothing."""
        ...

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        """The answer, checked and completed. Raises `AgentError` when it is not a success."""
        ...


@runtime_checkable
class OfflineRole(Role, Protocol):
    """A role that can answer by itself, with real tools, no model and no network."""

    async def solve(self, call: AgentCall) -> Answer:
        """The answer. Raises `AgentError` when there is none."""
        ...


class Backend(Protocol):
    """A way to get an answer."""

    name: str

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role on this machine, or null. Cheap; starts nothing."""
        ...

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The answer. Raises `AgentError` when there is none.

        When it is cancelled, it has ended everything that it started before it returns, within a
        bounded time.
        """
        ...


class Agent(NamedTuple):
    """A role on a backend, with the operator's limits: what the name in a request stands for."""

    name: str
    role: Role
    backend: Backend
    origin: str = "built in"
    """Where it was defined: `built in`, a settings file, or an entry point."""
    max_concurrency: int | None = None
    timeout_seconds: float | None = None
    retries: int | None = None
    resources: Mapping[str, int] = MappingProxyType({})
    capabilities: tuple[str, ...] = ()


class Agents(Protocol):
    """The registry, as the checks before a run and the engine see it."""

    def get(self, name: str) -> Agent | None:
        """The agent of that name, or null. Loads what it needs when it is first asked for."""
        ...

    def names(self) -> Sequence[str]:
        """All names, sorted: for did-you-mean and for `agents`."""
        ...
