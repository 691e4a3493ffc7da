"""The seams: what a role, a backend and an agent are to the engine.

A *role* knows what is asked: its input schema, how to ask, its output schema, and how to verify an
answer. A *backend* knows how to get an answer. Any role runs on any backend that can serve it;
verification is the role's and is the same whoever answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from dispatch_runner.models.budget import Budget
from dispatch_runner.models.usage import total_usage

if TYPE_CHECKING:
    from pathlib import Path

    from anyio import Event

    from dispatch_runner.models import JsonObject, Usage
    from dispatch_runner.models.request import Workspace
    from dispatch_runner.models.trace import McpCall, TraceEvent
    from dispatch_runner.paths import AllowedRoots


MOST_EVENTS = 1_000
"""Of one attempt in its trace; what comes after is counted only."""

Access = Literal["read", "edit", "execute"]
"""What an agent may do in its workspace: read files; change files, too; run programs, too."""


@dataclass(slots=True)
class CallLog:
    """What an attempt adds to its task's trace. Not shared between attempts."""

    events: list[TraceEvent] = field(default_factory=list)
    mcp_calls: list[McpCall] = field(default_factory=list)
    stdout_file: str | None = None
    stderr_file: str | None = None
    events_left_out: int = 0

    def tell(self, event: str, **data: Any) -> None:
        """Adds an event, until there are `MOST_EVENTS`."""
        if len(self.events) >= MOST_EVENTS:
            self.events_left_out += 1
            return
        from dispatch_runner.clock import Clock
        from dispatch_runner.models.trace import TraceEvent

        self.events.append(TraceEvent(Clock().utc(), event, data))


class Meter:
    """What a backend tells of itself while it works. This one only adds up what is consumed."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        """Consumed so far by this attempt, also when it fails or is cancelled."""

    def spend(self, usage: Usage) -> None:
        """So much more was consumed. Told as soon as it is known: budgets are kept by it."""
        self.usage = total_usage([self.usage, usage])

    def pulse(self, *, working: bool = False) -> None:
        """A sign of life; the first one, at the call's start, begins the watch for a stall.

        Args:
            working: a tool runs now, which may be silent for longer.
        """

    def throttled(self, retry_after: float | None = None) -> None:
        """The provider told the agent to slow down, and the agent tries again by itself.

        Args:
            retry_after: seconds until then, where they are known.
        """


class Repair(NamedTuple):
    """What an agent is told when its answer failed: a further round of the same attempt."""

    round: int
    """1 for the first."""
    failure: str
    """What failed, for the agent to read; bounded."""
    previous: JsonObject | None
    """The answer that failed, where there was one."""
    session: str | None
    """As the backend gave it with that answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """How a role asks something that understands language."""

    prompt: str
    system: str = ""
    """What the agent is and how it works; empty: nothing is added to the backend's own."""
    schema: JsonObject | None = None
    """JSON Schema of the answer, an object; null: any text, which becomes `{"text": ...}`."""
    access: Access = "read"
    """What it needs; what the operator's definition of the agent says goes before."""
    tools: tuple[str, ...] | None = None
    """By their names in Claude Code (`Read`, `Edit`, `Bash(git *)`); null: what the access allows."""
    model: str | None = None
    """Null, or a wish that the operator's definition of the agent overrides."""


class ToolInfo(NamedTuple):
    """A tool that may be called."""

    name: str
    description: str
    input_schema: JsonObject


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

    async def offered(self) -> Sequence[ToolInfo]:
        """The tools of the servers that the operator defined, for an agent to choose from; never those
        of a server that cannot be reached."""
        ...


class NoTools:
    """Nothing to call: every answer is `not_assessed`."""

    async def call(self, tool: str, arguments: JsonObject, log: CallLog) -> ToolAnswer:
        return ToolAnswer("not_assessed", reason="no tools are configured")

    async def offered(self) -> Sequence[ToolInfo]:
        return ()


class Place(Protocol):
    """Where a task works, when that is not the caller's own folder.

    The caller's paths and the agent's may differ: in a git worktree, `/repo/a.py` is
    `/worktree/a.py`. Paths are found at the start of strings, and where a path begins within one.
    """

    workspace: Path
    roots: AllowedRoots

    def folder(self, wanted: Path) -> Path:
        """What a folder that the operator wrote down is here."""
        ...

    def inward(self, value: Any) -> Any:
        """A JSON value of the caller's as the agent is to see it."""
        ...

    def outward(self, value: Any) -> Any:
        """A JSON value of the agent's as the caller is to see it."""
        ...


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
    meter: Meter = field(default_factory=Meter)
    repair: Repair | None = None
    """Set in the further rounds of an attempt."""
    budget: Budget | None = None
    """What this attempt may consume, to be passed on where the agent can keep it; null: any amount."""
    place: Place | None = None
    """Null: the workspace is the caller's own folder."""
    undo: list[Callable[[], None]] = field(default_factory=list)
    """What takes back what the role's verification put in place. Called in a thread, the last one
    first, when the answer is refused afterwards."""

    def folder(self, wanted: Path | None) -> Path:
        """Where a program of the agent runs: the folder that its definition names, else the workspace."""
        if wanted is None:
            return self.workspace
        return wanted if self.place is None else self.place.folder(wanted)


@dataclass(slots=True)
class Answer:
    """What a backend got. Not yet verified."""

    output: JsonObject
    warnings: list[str] = field(default_factory=list)
    session: str | None = None
    """By which a backend that repairs can go on where it stopped."""


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
class PromptedRole(Role, Protocol):
    """A role that can be put into words: any agent or model may answer for it."""

    def question(self, call: AgentCall) -> Question:
        """What is asked. May read files that the input names; raises `AgentError`."""
        ...


@runtime_checkable
class CacheableRole(Role, Protocol):
    """A role that says what its answers depend on. Of another one the cache takes that they depend on
    the file that defines it, and on every path in the input."""

    @property
    def version(self) -> str:
        """Another one when the same question may be answered otherwise."""
        ...

    def reads(self, value: JsonObject) -> Sequence[str] | None:
        """Files and folders that an answer to this input depends on; null: others, too, so that it
        cannot be told when it is out of date."""
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
    provider: str | None
    """Whose rate limits and bills it shares, such as `anthropic`; null: it costs nothing that is
    counted."""
    repairs: bool
    """Whether it can be asked again in the same attempt, with `AgentCall.repair`."""

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null. Null where there is no provider."""
        ...

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role on this machine, or null. Cheap; starts nothing."""
        ...

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The answer. Raises `AgentError` when there is none.

        What it consumes goes to `call.meter`, whatever happens. When it is cancelled, it has ended everything that it started before it returns, within a
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
    fallback: tuple[Backend, ...] = ()
    """Asked in turn when the one before cannot be reached, refuses the key, or has no quota left."""
    checks: tuple[str, ...] = ()
    """Acceptance checks of every task of this agent, by name."""
    repair_rounds: int = 2
    """How often a failure is fed back in one attempt."""
    stall_seconds: float = 120.0
    """How long a backend that tells of itself may be silent."""
    budget: Budget = Budget()
    """Of one task."""
    cache: bool = False
    """Whether results of its tasks are used again, where a task itself does not say."""
    workspace: Workspace | None = None
    """Where its tasks work, unless they say; null: as the operator's default says."""


class Checks(Protocol):
    """Acceptance checks that the operator defined."""

    async def check(self, names: Sequence[str], call: AgentCall, answer: Answer) -> None:
        """Runs them in the call's workspace. Raises `AgentError` (`check_failed`) for the first that
        fails, with what it printed, bounded."""
        ...


class Agents(Protocol):
    """The registry, as the checks before a run and the engine see it."""

    def get(self, name: str) -> Agent | None:
        """The agent of that name, or null. Loads what it needs when it is first asked for."""
        ...

    def names(self) -> Sequence[str]:
        """All names, sorted: for did-you-mean and for `agents`."""
        ...
