"""What a settings file may hold. Imported only when there is a file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from dispatch_runner.models.base import Model
from dispatch_runner.models.constraints import Amount, Cost, Retries, Seconds, Workers
from dispatch_runner.models.request import Workspace
from dispatch_runner.settings.names import backend_problem, url_problem
from dispatch_runner.settings.values import CACHE_MAX_MB, CheckAfter, Merging, Scope


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "holds a NUL character")
    return text


def _argument_vector(value: object) -> object:
    """Refuses a shell line, and says how to write what was meant."""
    if not isinstance(value, str):
        return value
    raise PydanticCustomError("shell_line", "is a shell line, not an argument vector")


def _available(name: str) -> str:
    if problem := backend_problem(name):
        message, hint = problem
        raise PydanticCustomError("backend", "{message}", {"message": message, "hint": hint})
    return name


def _web_address(text: str) -> str:
    if problem := url_problem(text):
        raise PydanticCustomError("url", "{message}", {"message": problem})
    return text


def _tool_address(text: str) -> str:
    server, slash, tool = text.partition("/")
    if not (server and slash and tool):
        raise PydanticCustomError("tool_address", "is not of the form SERVER/TOOL")
    return text


def _address_alone(value: object) -> object:
    """A mapping that is just the address."""
    return {"tool": value} if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
Rounds = Annotated[int, Field(ge=0, le=10)]
Backend = Annotated[str, AfterValidator(_available)]
Command = Annotated[
    list[Annotated[str, AfterValidator(_no_nul)]],
    Field(min_length=1),
    BeforeValidator(_argument_vector),
]


class Defaults(Model):
    """`[defaults]`: limits and choices for every dispatch; the limits as in a request's `config`."""

    max_workers: Workers | None = None
    """Most tasks running at once."""
    timeout_seconds: Seconds | None = None
    """Most seconds of one attempt."""
    dispatch_timeout_seconds: Seconds | None = None
    """Most seconds of the whole dispatch."""
    trace_dir: Text | None = None
    """Folder of the run folders and indexes."""
    retries: Retries | None = None
    """Most further attempts after a transient failure."""
    fail_fast: bool | None = None
    """Whether the first failure stops new starts and cancels what runs."""
    backend: Backend | None = None
    """What answers for the roles whose own definition does not say, such as `offline`."""
    allow_paths: list[Text] = []
    """Folders that tasks may use besides the working and the temporary directory."""
    durability: Literal["power", "process"] | None = None
    """What a finished task survives: a loss of power, or any death of the process."""
    max_cost_usd: Cost | None = None
    """Most that all agents of a dispatch together may cost, in USD."""
    max_tokens: Amount | None = None
    """Most tokens of input and output together, over all agents."""
    max_requests: Amount | None = None
    """Most requests to models, over all agents."""
    stall_seconds: Seconds | None = None
    """How long an agent that tells of itself may be silent; five times as long while a tool runs."""
    repair_rounds: Rounds | None = None
    """How often, in one attempt, an agent is told what failed and asked again."""
    workspace: Workspace | None = None
    """Where tasks work that do not say, nor their agents."""
    agent_folders: list[Text] = []
    """Folders of Markdown agent files, such as `.claude/agents`."""


class AgentSettings(Model):
    """`[agents.NAME]`: a program as an agent, or the choices for a role."""

    backend: Backend | None = None
    """What answers. Default: `command` where there is a command, else `[defaults] backend`."""
    fallback: list[Backend] = []
    """Backends that are asked in turn when the one before cannot be reached, refuses the key, or has
    no quota left."""
    command: Command | None = None
    """The program and its arguments. Never a shell line; nothing is expanded in it. For a backend
    that drives a program of its own: where that one is."""
    model: Text | None = None
    """Which model, as the backend writes it; for `llm` with its provider: `anthropic:NAME`,
    `openai:NAME`, `google:NAME`, `ollama:NAME`."""
    base_url: Annotated[Text, AfterValidator(_web_address)] | None = None
    """Where the model is served, when that is not the provider's own address."""
    api_key_env: Text | None = None
    """The variable that holds the key, when it is not the provider's usual one."""
    provider: Text | None = None
    """Whose rate limits and bills it shares. Default: as the backend and the model say."""
    access: Literal["read", "edit", "execute"] | None = None
    """What the agent may do in its workspace: read; change files, too; run programs, too. Default:
    what the role needs."""
    max_turns: Amount | None = None
    """Most requests to the model in one round, where the backend can keep it."""
    max_cost_usd: Cost | None = None
    """Most that one task may cost, in USD."""
    max_tokens: Amount | None = None
    """Most tokens of input and output together of one task."""
    max_requests: Amount | None = None
    """Most requests to a model of one task."""
    stall_seconds: Seconds | None = None
    """How long it may be silent; five times as long while a tool runs."""
    repair_rounds: Rounds | None = None
    """How often, in one attempt, it is told what failed and asked again."""
    checks: list[Text] = []
    """Acceptance checks of every task of this agent, by name."""
    cache: bool | None = None
    """Whether results of the same work are used again."""
    reads: list[Text] = []
    """Files, folders, or globs of files, below the working directory, that its answers depend on
    besides what its input names: for the cache."""
    workspace: Workspace | None = None
    """Where its tasks work."""
    max_memory_mb: Amount | None = None
    """Most memory of each of its processes, in MiB of address space."""
    max_cpu_seconds: Amount | None = None
    """Most CPU time of each of its processes."""
    max_open_files: Amount | None = None
    """Most descriptors that each of its processes may hold."""
    stdin: Literal["json", "none"] | None = None
    """What the program reads: the envelope as JSON, or nothing."""
    output: Literal["json", "text", "exit"] | None = None
    """How its standard output is read."""
    env: list[Text] | None = None
    """Names, or globs of names, of the environment that it sees."""
    cwd: Text | None = None
    """Its working directory, below ours."""
    capabilities: list[Text] = []
    """What it is good at, for routing and for people."""
    timeout_seconds: Seconds | None = None
    """Most seconds of one attempt."""
    max_concurrency: Amount | None = None
    """Most tasks of this agent at once."""
    retries: Retries | None = None
    """Most further attempts after a transient failure."""
    resources: dict[str, Amount] = {}
    """Units of limits that every task of this agent takes while it runs."""
    grace_seconds: Annotated[float, Field(ge=0, le=600)] | None = None
    """How long the program may take to end when it is asked to."""
    output_limit: Annotated[int, Field(ge=1_024)] | None = None
    """Most bytes of its standard output that are read into memory."""


class LimitSettings(Model):
    """`[limits.NAME]`: units that tasks and agents ask for."""

    capacity: Amount | None = None
    """Most units held at once."""
    per_minute: Amount | None = None
    """Most starts in any 60 seconds."""


class TestSettings(Model):
    """`[tests.NAME]`: how tests are run, for the debug agent at depth `deep`."""

    command: Command
    """The program and its arguments. Never a shell line; nothing is expanded in it."""


class CacheSettings(Model):
    """`[cache]`: where results of tasks that opted in are kept."""

    folder: Text | None = None
    """The folder. Default: `dispatch-runner/results` in the user's cache folder."""
    max_mb: Amount = CACHE_MAX_MB
    """Most MiB; what was used least lately goes first."""


class WorkspaceSettings(Model):
    """`[workspaces]`: git worktrees, and what becomes of what was done in them."""

    merge: Merging | None = None
    """`topological`: what succeeded is merged onto a branch of the dispatch, in the order of the
    dependencies."""
    check: Text | None = None
    """An acceptance check of what is merged, by name."""
    check_after: CheckAfter = "each"
    """When it runs: after each merge; or after the last one, and what breaks it is found by halving."""
    scope: Scope | None = None
    """What becomes of changes that a task did not declare: a warning, or an error."""
    carry_changes: bool | None = None
    """Whether worktrees begin with the caller's uncommitted changes, not only with the last commit."""
    filters: bool = False
    """Whether filters and merge drivers run that only the repository's own configuration names."""


class CheckSettings(Model):
    """`[checks.NAME]`: an acceptance check of what an agent did."""

    command: Command
    """The program and its arguments, run in the task's workspace. Exit code 0 passes."""
    timeout_seconds: Seconds = 300.0
    """Most seconds; then it counts as failed."""
    env: list[Text] | None = None
    """Names, or globs of names, of the environment that it sees."""


class Reference(Model):
    """A value that stands in our environment, never in the file."""

    from_env: Text
    """The variable that holds it."""
    prefix: Annotated[str, AfterValidator(_no_nul)] = ""
    """What stands before it, such as `Bearer `."""


class McpServerSettings(Model):
    """`[mcp.servers.NAME]`: an MCP server, as a program or at a URL."""

    command: Command | None = None
    """The program and its arguments, spoken to over its pipes. Nothing is expanded in it."""
    url: Annotated[Text, AfterValidator(_web_address)] | None = None
    """Where a server is that speaks streamable HTTP."""
    env: list[Text] | None = None
    """Names, or globs of names, of our environment that the program sees."""
    set_env: dict[Text, Reference] = {}
    """Variables that the program gets besides, under other names."""
    headers: dict[Text, Reference] = {}
    """Headers of every request."""
    cwd: Text | None = None
    """The program's working directory, below ours."""
    timeout_seconds: Seconds = 30.0
    """Most seconds of one call."""
    connect_timeout_seconds: Seconds = 30.0
    """Most seconds until a new connection is ready, the start of the program included."""
    enabled: bool = True
    """Whether it may be used."""


class McpToolSettings(Model):
    """`[mcp.tools.NAME]`: what stands behind a tool that agents ask for."""

    tool: Annotated[str, AfterValidator(_tool_address)]
    """`SERVER/TOOL`, by the server's own name of the tool."""
    rename: dict[Text, Text] = {}
    """The server's names of arguments, by ours."""
    drop: list[Text] = []
    """Arguments that the server does not know."""


class McpTables(Model):
    """`[mcp]`: tools that agents may call."""

    embedded: bool = True
    """Whether tools that are mapped to no server are answered by the embedded quality server."""
    servers: dict[str, McpServerSettings] = {}
    tools: dict[str, Annotated[McpToolSettings, BeforeValidator(_address_alone)]] = {}


class Document(Model):
    """A whole settings file."""

    defaults: Defaults = Defaults.model_construct()
    agents: dict[str, AgentSettings] = {}
    limits: dict[str, LimitSettings] = {}
    tests: dict[str, TestSettings] = {}
    checks: dict[str, CheckSettings] = {}
    cache: CacheSettings = CacheSettings.model_construct()
    workspaces: WorkspaceSettings = WorkspaceSettings.model_construct()
    mcp: McpTables = McpTables.model_construct()
