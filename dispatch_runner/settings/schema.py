"""What a settings file may hold. Imported only when there is a file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from dispatch_runner.models.base import Model
from dispatch_runner.models.constraints import Amount, Retries, Seconds, Workers
from dispatch_runner.settings.names import backend_problem, url_problem


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
    """What answers for the roles whose own definition does not say: `offline` or `command`."""
    allow_paths: list[Text] = []
    """Folders that tasks may use besides the working and the temporary directory."""
    durability: Literal["power", "process"] | None = None
    """What a finished task survives: a loss of power, or any death of the process."""


class AgentSettings(Model):
    """`[agents.NAME]`: a program as an agent, or the choices for a role."""

    backend: Backend | None = None
    """`offline` or `command`. Default: `command` where there is a command, else `[defaults] backend`."""
    command: Command | None = None
    """The program and its arguments. Never a shell line; nothing is expanded in it."""
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
    mcp: McpTables = McpTables.model_construct()
