"""The MCP servers that the operator has defined, and which tool stands behind a logical one.

What they refer to in the environment is looked up once, here. A variable that is missing is no error:
the server is then unusable, and says so to whoever asks for its tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch_runner.errors import SettingsError
from dispatch_runner.settings.names import EMBEDDED, suggestion
from dispatch_runner.settings.values import line_of

if TYPE_CHECKING:
    from dispatch_runner.settings.file import FileSettings
    from dispatch_runner.settings.schema import McpServerSettings, Reference

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class McpServer:
    """How to reach one server: it has a command, a URL, or a problem."""

    name: str
    origin: str
    """Where it was defined, such as `file dispatch.toml:12`."""
    command: tuple[str, ...] = ()
    url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The whole environment of the program."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    timeout_seconds: float = TIMEOUT_SECONDS
    """Of one call."""
    connect_timeout_seconds: float = TIMEOUT_SECONDS
    problem: str | None = None
    """Why it cannot be used at all."""


@dataclass(frozen=True, slots=True)
class McpTool:
    """What is called for a logical tool."""

    server: str
    tool: str
    rename: Mapping[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class McpSettings:
    """What the operator has said about tools."""

    servers: Mapping[str, McpServer] = field(default_factory=dict)
    tools: Mapping[str, McpTool] = field(default_factory=dict)
    embedded: bool = True
    """Whether tools without a mapping are the embedded server's."""
    notes: tuple[str, ...] = ()


def mcp_settings(
    file: FileSettings,
    source: str,
    named: Mapping[str, McpServer],
    environ: Mapping[str, str],
    cwd: Path,
) -> McpSettings:
    """The servers of the settings file and those of a file in another format, which win.

    Raises `SettingsError` for a tool of a server that there is not.
    """
    from dispatch_runner.settings.schema import McpTables

    tables = file.mcp or McpTables()
    servers = {
        name: _server(name, each, _origin(file, source, name), environ, cwd)
        for name, each in tables.servers.items()
    } | dict(named)
    tools = {}
    problems = []
    for name, each in tables.tools.items():
        server, _, tool = each.tool.partition("/")
        if server not in servers and server != EMBEDDED:
            line = line_of(file.lines, ("mcp", "tools", name))
            problems.append(_unknown_server(name, server, servers, source, line))
        tools[name] = McpTool(server, tool, each.rename, frozenset(each.drop))
    if problems:
        raise SettingsError.of(problems)
    return McpSettings(servers, tools, tables.embedded, tuple(_unused(servers, tools)))


def _server(
    name: str, each: McpServerSettings, origin: str, environ: Mapping[str, str], cwd: Path
) -> McpServer:
    from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT, passed_environment

    values = _Values(environ)
    return McpServer(
        name,
        origin,
        command=tuple(each.command or ()),
        url=each.url,
        env={
            **passed_environment(DEFAULT_ENVIRONMENT if each.env is None else each.env, environ),
            **values.of("set_env", each.set_env),
        },
        headers=header_values(values.of("headers", each.headers), values.problems),
        cwd=cwd / each.cwd if each.cwd else None,
        timeout_seconds=each.timeout_seconds,
        connect_timeout_seconds=each.connect_timeout_seconds,
        problem="it is not enabled" if not each.enabled else values.problem(),
    )


class _Values:
    """Looks references up, and keeps what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def of(self, key: str, references: Mapping[str, Reference]) -> dict[str, str]:
        found = {}
        for name, each in references.items():
            if each.from_env in self._environ:
                found[name] = each.prefix + self._environ[each.from_env]
            else:
                self.problems.append(unset(each.from_env, f"{key}.{name}"))
        return found

    def problem(self) -> str | None:
        return self.problems[0] if self.problems else None


def unset(variable: str, place: str) -> str:
    """What is said of a variable that is not there."""
    return f"its {place} needs the environment variable {variable}, which is not set"


def header_values(headers: dict[str, str], problems: list[str]) -> dict[str, str]:
    """The headers. One that cannot be sent is a problem; its value, a secret perhaps, is not told."""
    for name, value in headers.items():
        if not (name + value).isascii() or not value.isprintable() or not name.isprintable():
            problems.append(f"its header {name!a} holds characters that a header cannot have")
    return headers


def _origin(file: FileSettings, source: str, name: str) -> str:
    line = line_of(file.lines, ("mcp", "servers", name))
    return f"file {source}:{line}" if line else f"file {source}"


def _unknown_server(
    name: str, server: str, known: Mapping[str, McpServer], source: str, line: int | None
) -> SettingsError:
    defining = f"define [mcp.servers.{server}], or name an .mcp.json with --mcp-config"
    hint = suggestion(server, [*known, EMBEDDED]) if known else defining
    message = f"tool '{name}' is mapped to server '{server}', which is not defined"
    return SettingsError(message, source=source, line=line, hint=hint)


def _unused(servers: Mapping[str, McpServer], tools: Mapping[str, McpTool]) -> Iterator[str]:
    """Servers that no tool is mapped to are asked by models only, which their owner may not expect."""
    used = {tool.server for tool in tools.values()}
    idle: Sequence[str] = [name for name in servers if name not in used]
    if idle and not used:
        names = ", ".join(f"'{name}'" for name in idle[:5])
        told = "only agents on backend 'llm' use it; see [mcp.tools]"
        yield f"no tool is mapped to MCP server {names}: {told}"
