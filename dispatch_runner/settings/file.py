"""Reads a settings file: every problem at once, with its line and what to do about it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatch_runner.errors import InternalError, SettingsError
from dispatch_runner.settings.names import server_name_problem, suggestion
from dispatch_runner.settings.values import Location, line_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from dispatch_runner.models.base import Model
    from dispatch_runner.settings.schema import (
        AgentSettings,
        CacheSettings,
        CheckSettings,
        Document,
        LimitSettings,
        McpServerSettings,
        McpTables,
        TestSettings,
    )

MOST_BYTES = 1 << 20
RESERVED_AGENTS = frozenset({"auto"})
PROGRAM_KEYS = ("stdin", "output", "env", "cwd", "grace_seconds", "output_limit")
"""Keys that mean something only beside a `command`, or for a backend that has a program of its own."""
OWN_PROGRAM = frozenset({"claude-code", "codex", "gemini", "opencode"})


@dataclass(frozen=True, slots=True)
class FileSettings:
    """What a file says."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `[defaults]` that are there."""
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    limits: Mapping[str, LimitSettings] = field(default_factory=dict)
    tests: Mapping[str, TestSettings] = field(default_factory=dict)
    checks: Mapping[str, CheckSettings] = field(default_factory=dict)
    cache: CacheSettings | None = None
    """Null: the file has no such table."""
    workspaces: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `[workspaces]` that are there."""
    mcp: McpTables | None = None
    """Null: the file has no such table."""
    lines: Mapping[Location, int] = field(default_factory=dict)


def read(path: Path, source: str) -> bytes:
    """The content of a regular file of at most 1 MiB. Never waits, whatever lies there.

    Raises `SettingsError`, naming the file as `source`. The null device is an empty file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"cannot be read: {reason}", source=source) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) and str(path) != os.devnull:
            raise SettingsError("is not a regular file", source=source)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MOST_BYTES:
        raise SettingsError(f"is larger than {MOST_BYTES} bytes", source=source)
    return content


def parse(content: bytes, source: str) -> FileSettings:
    """The settings in a file's content. Raises `SettingsError` with all problems, in order of lines."""
    text = _decoded(content, source)
    try:
        return _parsed(text, _loaded(text, source), source)
    except RecursionError as error:
        raise SettingsError("is nested too deeply", source=source) from error


def _parsed(text: str, data: dict[str, Any], source: str) -> FileSettings:
    from dispatch_runner.settings.locate import lines

    where = lines(text)
    document = _validated(data, source, where)
    _raise_all(
        SettingsError(message, source=source, line=line_of(where, location), hint=hint)
        for location, message, hint in _contradictions(document)
    )
    defaults = {key: getattr(document.defaults, key) for key in document.defaults.model_fields_set}
    mcp = document.mcp if "mcp" in document.model_fields_set else None
    return FileSettings(
        defaults, document.agents, document.limits, document.tests, document.checks,
        document.cache if "cache" in document.model_fields_set else None,
        {key: getattr(document.workspaces, key) for key in document.workspaces.model_fields_set},
        mcp, where,
    )  # fmt: skip


def _raise_all(problems: Iterable[SettingsError]) -> None:
    if found := sorted(problems, key=lambda problem: problem.line or 0):
        raise SettingsError.of(found)


def _decoded(content: bytes, source: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            "is not UTF-8", source=source, line=line, hint="save the file as UTF-8"
        ) from error
    return text.replace("\r\n", "\n")


def _loaded(text: str, source: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as error:
        message, line = str(error), None
        if found := re.fullmatch(
            r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message
        ):
            message = found[1]
            line = int(found[2]) if found[2] else text.count("\n") + 1
        raise SettingsError(
            f"is not valid TOML: {message[:1].lower()}{message[1:]}", source=source, line=line
        ) from error


def _validated(data: dict[str, Any], source: str, where: Mapping[Location, int]) -> Document:
    from pydantic import ValidationError

    from dispatch_runner.settings.schema import Document

    try:
        return Document.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
    _raise_all(_problem(item, source, where) for item in found)
    raise InternalError("a document was refused without a reason")


def _problem(item: ErrorDetails, source: str, where: Mapping[Location, int]) -> SettingsError:
    location = tuple(str(part) for part in item["loc"])
    message, hint = _explained(item, location)
    return SettingsError(message, source=source, line=line_of(where, location), hint=hint)


def _explained(item: ErrorDetails, location: Location) -> tuple[str, str | None]:
    """Message and hint for one thing that pydantic found."""
    kind, value, name = item["type"], item["input"], ".".join(location)
    if kind == "extra_forbidden":
        return f"unknown key '{name}'", suggestion(
            location[-1], _known_keys(location), "known keys"
        )
    if kind == "backend":
        context = item["ctx"]
        return f"'{name}': {context['message']}", context["hint"]
    if kind in {"nul", "url", "tool_address"}:
        return f"'{name}' {item['msg']}", None
    if kind == "shell_line":
        return f"'{name}' {item['msg']}", f"write it as {_as_vector(value)}"
    if kind in {"model_type", "dict_type"}:
        return f"'{name}' should be a table, not {value!r:.60}", None
    expected = item["msg"].removeprefix("Input ")
    expected = expected[:1].lower() + expected[1:]
    return f"'{name}' {expected}, not {value!r:.60}", None


def _known_keys(location: Location) -> list[str]:
    from dispatch_runner.settings import schema

    models: dict[Location, type[Model]] = {
        ("defaults",): schema.Defaults,
        ("agents", "*"): schema.AgentSettings,
        ("limits", "*"): schema.LimitSettings,
        ("tests", "*"): schema.TestSettings,
        ("checks", "*"): schema.CheckSettings,
        ("cache",): schema.CacheSettings,
        ("workspaces",): schema.WorkspaceSettings,
        ("mcp",): schema.McpTables,
        ("mcp", "servers", "*"): schema.McpServerSettings,
        ("mcp", "servers", "*", "set_env", "*"): schema.Reference,
        ("mcp", "servers", "*", "headers", "*"): schema.Reference,
        ("mcp", "tools", "*"): schema.McpToolSettings,
    }
    table = location[:-1]
    for pattern, model in models.items():
        if len(pattern) == len(table) and all(
            each in {"*", key} for each, key in zip(pattern, table, strict=True)
        ):
            return list(model.model_fields)
    return list(schema.Document.model_fields)


def _as_vector(line: str) -> str:
    """A shell line as the TOML array that was probably meant."""
    import json
    import shlex

    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    return f"an array: command = {json.dumps(words, ensure_ascii=False)}"


_Contradiction = tuple[Location, str, str | None]


def _contradictions(document: Document) -> Iterator[_Contradiction]:
    """What is well-formed and yet cannot work."""
    for name, limit in document.limits.items():
        if limit.capacity is None and limit.per_minute is None:
            yield ("limits", name), f"limit '{name}' limits nothing", "set capacity or per_minute"
    for name, agent in document.agents.items():
        if not name.strip() or name in RESERVED_AGENTS:
            yield ("agents", name), f"'{name}' cannot be the name of an agent", "rename it"
        yield from _about_the_program(name, agent)
        yield from _about_resources(name, agent, document.limits)
        yield from _about_checks(name, agent, document.checks)
    check = document.workspaces.check
    if check is not None and check not in document.checks:
        hint = suggestion(check, document.checks) if document.checks else f"define [checks.{check}]"
        message = f"[workspaces] names check '{check}', which is not defined"
        yield ("workspaces", "check"), message, hint
    for name, server in document.mcp.servers.items():
        yield from _about_server(name, server)


def _about_the_program(name: str, agent: AgentSettings) -> Iterator[_Contradiction]:
    if agent.command is not None:
        return
    if agent.backend == "command":
        hint = 'add command = ["program", "argument"]'
        yield ("agents", name, "backend"), f"agent '{name}' has no command to run", hint
    if agent.backend in OWN_PROGRAM:
        return
    for key in PROGRAM_KEYS:
        if getattr(agent, key) is not None:
            message = f"'{key}' of agent '{name}' has no effect without a command"
            yield ("agents", name, key), message, "add command, or remove it"


def _about_resources(
    name: str, agent: AgentSettings, limits: Mapping[str, LimitSettings]
) -> Iterator[_Contradiction]:
    for resource, amount in agent.resources.items():
        location = ("agents", name, "resources", resource)
        limit = limits.get(resource)
        if limit is None:
            hint = suggestion(resource, limits) if limits else f"define [limits.{resource}]"
            yield location, f"agent '{name}' uses limit '{resource}', which is not defined", hint
        elif limit.capacity is not None and amount > limit.capacity:
            message = f"agent '{name}' takes {amount} of '{resource}', which has {limit.capacity}"
            yield location, message, "no task of it could ever start; raise capacity"


def _about_checks(
    name: str, agent: AgentSettings, checks: Mapping[str, CheckSettings]
) -> Iterator[_Contradiction]:
    for check in agent.checks:
        if check not in checks:
            hint = suggestion(check, checks) if checks else f"define [checks.{check}]"
            message = f"agent '{name}' names check '{check}', which is not defined"
            yield ("agents", name, "checks"), message, hint


def _about_server(name: str, server: McpServerSettings) -> Iterator[_Contradiction]:
    location = ("mcp", "servers", name)
    if problem := server_name_problem(name):
        yield location, problem, "rename it"
    if (server.command is None) == (server.url is None):
        both = "both a command and a url" if server.url else "neither a command nor a url"
        yield location, f"server '{name}' has {both}", "a server has one of the two"
        return
    needed = "url" if server.command else "command"
    for key in ("headers",) if server.command else ("env", "set_env", "cwd"):
        if getattr(server, key):
            message = f"'{key}' of server '{name}' has no effect without a {needed}"
            yield (*location, key), message, f"remove it, or give a {needed}"
