"""Reads the servers of an `.mcp.json`, the format of Claude Code and others.

Only a file that the operator names counts: it starts programs. `${VAR}` and `${VAR:-default}` are
replaced in commands, arguments, variables, URLs and headers, as there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dispatch_runner.errors import SettingsError
from dispatch_runner.settings.file import read
from dispatch_runner.settings.mcp import McpServer, header_values, unset
from dispatch_runner.settings.names import server_name_problem, url_problem

VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}")
HTTP_TYPES = ("http", "streamable-http", "streamableHttp")


def read_servers(
    path: Path, source: str, environ: Mapping[str, str], cwd: Path
) -> dict[str, McpServer]:
    """The servers by name. Keys that mean something only to other programs are passed over.

    A server that needs a variable that is not set, or speaks a transport that we do not, is there
    with its problem.

    Raises `SettingsError` with everything that is wrong with the file's form.
    """
    try:
        text = read(path, source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError("is not UTF-8", source=source, hint="save the file as UTF-8") from error
    reader = _Reader(text, source, environ, cwd)
    servers = {name: reader.server(name, entry) for name, entry in reader.entries().items()}
    if reader.problems:
        raise SettingsError.of(sorted(reader.problems, key=lambda problem: problem.line or 0))
    return servers


class _Reader:
    def __init__(self, text: str, source: str, environ: Mapping[str, str], cwd: Path) -> None:
        self.problems: list[SettingsError] = []
        self._text = text
        self._source = source
        self._environ = environ
        self._cwd = cwd

    def entries(self) -> dict[str, Any]:
        document = self._loaded()
        servers = document.get("mcpServers") if isinstance(document, dict) else None
        if isinstance(servers, dict):
            return servers
        raise SettingsError(
            "has no object 'mcpServers'",
            source=self._source,
            hint='write {"mcpServers": {"NAME": {"command": "...", "args": []}}}',
        )

    def _loaded(self) -> Any:
        try:
            return json.loads(self._text)
        except json.JSONDecodeError as error:
            message = f"is not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
            raise SettingsError(message, source=self._source, line=error.lineno) from error
        except RecursionError as error:
            raise SettingsError("is nested too deeply", source=self._source) from error

    def server(self, name: str, entry: Any) -> McpServer:
        origin = f"file {self._source}:{self._line(name)}"
        if problem := server_name_problem(name):
            self._complain(name, None, problem, "rename it")
        if not isinstance(entry, dict):
            self._complain(name, None, f"server '{name}' is not an object")
            return McpServer(name, origin)
        kind = entry.get("type", "http" if "url" in entry and "command" not in entry else "stdio")
        missing: list[str] = []
        if kind == "stdio":
            server = self._program(name, entry, origin, missing)
        elif kind in HTTP_TYPES:
            server = self._remote(name, entry, origin, missing)
        else:
            problem = f"its transport {kind!a:.40} is not supported; use stdio or http"
            return McpServer(name, origin, problem=problem)
        if entry.get("disabled") is True:
            missing.insert(0, "it is not enabled")
        return replace(server, problem=missing[0]) if missing else server

    def _program(self, name: str, entry: Any, origin: str, missing: list[str]) -> McpServer:
        from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT, passed_environment

        command = self._text_of(name, entry, "command", missing)
        args = entry.get("args", [])
        if not isinstance(args, list) or not all(isinstance(each, str) for each in args):
            self._complain(name, "args", f"'args' of server '{name}' is not a list of strings")
            args = []
        env = self._texts_of(name, entry, "env", missing)
        return McpServer(
            name,
            origin,
            command=(command, *(self._expanded(each, "args", missing) for each in args)),
            env={**passed_environment(DEFAULT_ENVIRONMENT, self._environ), **env},
            cwd=self._cwd,
        )

    def _remote(self, name: str, entry: Any, origin: str, missing: list[str]) -> McpServer:
        url = self._text_of(name, entry, "url", missing)
        if not missing and url and (problem := url_problem(url)):
            self._complain(name, "url", f"'url' of server '{name}' {problem}")
        headers = header_values(self._texts_of(name, entry, "headers", missing), missing)
        return McpServer(name, origin, url=url, headers=headers)

    def _text_of(self, name: str, entry: Any, key: str, missing: list[str]) -> str:
        value = entry.get(key)
        if isinstance(value, str) and value and "\0" not in value:
            return self._expanded(value, key, missing)
        what = "has no" if value is None else "needs a text as"
        self._complain(name, key, f"server '{name}' {what} '{key}'")
        return ""

    def _texts_of(self, name: str, entry: Any, key: str, missing: list[str]) -> dict[str, str]:
        values = entry.get(key, {})
        if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            self._complain(name, key, f"'{key}' of server '{name}' is not an object of strings")
            return {}
        return {
            each: self._expanded(value, f"{key}.{each}", missing) for each, value in values.items()
        }

    def _expanded(self, text: str, place: str, missing: list[str]) -> str:
        def value(found: re.Match[str]) -> str:
            variable, default = found.groups()
            if self._environ.get(variable):
                return self._environ[variable]
            if default is None:
                missing.append(unset(variable, place))
            return default or ""

        return VARIABLE.sub(value, text)

    def _complain(self, name: str, key: str | None, message: str, hint: str | None = None) -> None:
        line = self._line(name, key)
        self.problems.append(SettingsError(message, source=self._source, line=line, hint=hint))

    def _line(self, name: str, key: str | None = None) -> int:
        """Where a server is, or a key of it: the first place that looks like it."""
        start = self._text.find('"mcpServers"')
        for each in (name, key):
            if each is not None:
                found = re.compile(re.escape(json.dumps(each)) + r"\s*:").search(self._text, start)
                start = found.start() if found else start
        return self._text.count("\n", 0, max(start, 0)) + 1
