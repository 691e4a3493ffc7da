"""Gathers the operator's settings: flags before the environment before the settings file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatch_runner.errors import SettingsError
from dispatch_runner.settings.convert import CONVERTERS, Unusable
from dispatch_runner.settings.file import FileSettings, parse, read
from dispatch_runner.settings.names import suggestion
from dispatch_runner.settings.trust import TrustState, base_folder, trusted_content
from dispatch_runner.settings.values import CACHE_MAX_MB, Flags, Settings, line_of, shown

if TYPE_CHECKING:
    from dispatch_runner.settings.mcp import McpSettings

PREFIX = "DISPATCH_RUNNER_"
PROJECT_FILE = "dispatch.toml"
GIVEN_TO_AGENTS = frozenset({"TASK_ID", "CORRELATION_ID"})
"""Set by a dispatcher for the programs that it starts, so there in a dispatch inside a dispatch."""

OTHERS = ("config", "allow_path", "agents", "mcp_config", "cache_dir")
"""Variables that are read elsewhere than in `CONVERTERS`."""

_Given = dict[str, tuple[Any, str]]
"""Value and origin by key."""


def load(flags: Flags, environ: Mapping[str, str], cwd: Path) -> Settings:
    """What the operator has set, from everywhere. Reads at most one settings file, and the
    file of MCP servers that was named; writes nothing.

    Raises `SettingsError` with everything that is wrong with flags and environment, or else with the
    file.
    """
    cwd = cwd.absolute()
    given = _from_texts(_texts(flags, environ))
    path, content, notes = _find(flags, environ, cwd)
    source = shown(path, cwd) if path else ""
    file = parse(content, source) if path else FileSettings()
    values = _from_file(file, source) | given
    if "trace_dir" in values:
        text, origin = values["trace_dir"]
        values["trace_dir"] = _absolute(text, environ, cwd), origin
    extra_paths = _allow_paths(flags, environ, file, source)
    mcp = _mcp(flags, environ, file, source, cwd)
    return Settings(
        cwd=cwd,
        file=path,
        **{key: value for key, (value, _) in values.items()},
        allow_paths=tuple(dict.fromkeys(_absolute(path, environ, cwd) for path, _ in extra_paths)),
        agents=file.agents,
        limits=file.limits,
        tests={name: tuple(tests.command) for name, tests in file.tests.items()},
        checks=file.checks,
        agent_folders=_agent_folders(flags, environ, file, cwd),
        cache_folder=_cache_folder(environ, file, cwd),
        cache_max_mb=file.cache.max_mb if file.cache else CACHE_MAX_MB,
        scope=file.workspaces.get("scope"),
        merge_check=file.workspaces.get("check"),
        check_after=file.workspaces.get("check_after", "each"),
        filters=file.workspaces.get("filters", False),
        mcp=mcp,
        overriding=frozenset(given),
        origins=_origins(values, extra_paths, file, source) | _cache_origin(environ),
        lines=file.lines,
        notes=(*notes, *(mcp.notes if mcp else ()), *_misspelt(environ)),
    )


def _texts(flags: Flags, environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Key, origin and text of what is given, the stronger source last. An empty variable is not given."""
    for key in CONVERTERS:
        variable = PREFIX + key.upper()
        if text := environ.get(variable):
            yield key, f"environment {variable}", text
    for key in CONVERTERS:
        value = getattr(flags, key)
        if value is not None:
            yield key, f"flag {flag_name(key)}", str(value)


def flag_name(key: str) -> str:
    """The flag of a key: `--timeout` for `timeout_seconds`."""
    return "--" + key.removesuffix("_seconds").replace("_", "-")


def _from_texts(texts: Iterable[tuple[str, str, str]]) -> _Given:
    given: _Given = {}
    problems = []
    for key, origin, text in texts:
        try:
            given[key] = CONVERTERS[key](text), origin
        except Unusable as error:
            problems.append(SettingsError(str(error), source=origin, hint=error.hint))
    if problems:
        raise SettingsError.of(problems)
    return given


def _from_file(file: FileSettings, source: str) -> _Given:
    return {
        key: (value, _place(file, source, table, key))
        for table, keys in (("defaults", file.defaults), ("workspaces", file.workspaces))
        for key, value in keys.items()
        if key in CONVERTERS and value is not None
    }


def _place(file: FileSettings, source: str, *location: str) -> str:
    line = line_of(file.lines, location)
    return f"file {source}:{line}" if line else f"file {source}"


def _find(
    flags: Flags, environ: Mapping[str, str], cwd: Path
) -> tuple[Path | None, bytes, list[str]]:
    """The settings file in force with its content, and notes about files that are not."""
    named = flags.config or environ.get(f"{PREFIX}CONFIG")
    if named:
        path = Path(_absolute(str(named), environ, cwd))
        return path, read(path, shown(path, cwd)), []
    notes = []
    project = cwd / PROJECT_FILE
    if os.path.lexists(project):
        state, content = trusted_content(project, PROJECT_FILE, environ)
        if content is not None:
            return project, content, []
        notes.append(_ignored(state))
    folder = base_folder(environ, "XDG_CONFIG_HOME", ".config")
    user = folder / "config.toml" if folder else None
    if user is None or not os.path.lexists(user):
        return None, b"", notes
    return user, read(user, str(user)), notes


def _ignored(state: TrustState) -> str:
    because = (
        "has changed since it was trusted" if state is TrustState.CHANGED else "is not trusted"
    )
    return (
        f"{PROJECT_FILE} here {because} and was ignored; read it, then run `dispatch-runner trust`"
    )


def _allow_paths(
    flags: Flags, environ: Mapping[str, str], file: FileSettings, source: str
) -> list[tuple[str, str]]:
    """Path and origin of each folder that is allowed besides: every source adds to the others."""
    variable = f"{PREFIX}ALLOW_PATH"
    sources = [
        ("flag --allow-path", flags.allow_path),
        (f"environment {variable}", environ.get(variable, "").split(os.pathsep)),
        (_place(file, source, "defaults", "allow_paths"), file.defaults.get("allow_paths", [])),
    ]
    return [(path, origin) for origin, paths in sources for path in paths if path]


def _agent_folders(
    flags: Flags, environ: Mapping[str, str], file: FileSettings, cwd: Path
) -> tuple[str, ...]:
    """Every source adds to the others; the stronger one first, since the first of a name counts."""
    named = environ.get(f"{PREFIX}AGENTS", "").split(os.pathsep)
    folders = [*flags.agent_folder, *named, *file.defaults.get("agent_folders", [])]
    return tuple(dict.fromkeys(_absolute(folder, environ, cwd) for folder in folders if folder))


def _cache_folder(environ: Mapping[str, str], file: FileSettings, cwd: Path) -> str | None:
    """Of the results that are kept; null without a home."""
    named = environ.get(f"{PREFIX}CACHE_DIR") or (file.cache and file.cache.folder)
    if named:
        return _absolute(named, environ, cwd)
    base = base_folder(environ, "XDG_CACHE_HOME", ".cache")
    return str(base / "results") if base else None


def _cache_origin(environ: Mapping[str, str]) -> dict[str, str]:
    variable = f"{PREFIX}CACHE_DIR"
    return {"cache_folder": f"environment {variable}"} if environ.get(variable) else {}


def _mcp(
    flags: Flags, environ: Mapping[str, str], file: FileSettings, source: str, cwd: Path
) -> McpSettings | None:
    named = flags.mcp_config or environ.get(f"{PREFIX}MCP_CONFIG")
    if not named and file.mcp is None:
        return None
    from dispatch_runner.settings.mcp import mcp_settings

    if not named:
        return mcp_settings(file, source, {}, environ, cwd)
    from dispatch_runner.settings.mcp_file import read_servers

    path = Path(_absolute(str(named), environ, cwd))
    return mcp_settings(
        file, source, read_servers(path, shown(path, cwd), environ, cwd), environ, cwd
    )


def _absolute(path: str, environ: Mapping[str, str], cwd: Path) -> str:
    home = environ.get("HOME")
    if home and (path == "~" or path.startswith("~/")):
        path = home + path[1:]
    return str(cwd / path)


def _origins(
    values: _Given, extra_paths: Iterable[tuple[str, str]], file: FileSettings, source: str
) -> dict[str, str]:
    origins = dict.fromkeys([*CONVERTERS, "allow_paths"], "default")
    origins |= {key: origin for key, (_, origin) in values.items()}
    if added := ", ".join(dict.fromkeys(origin for _, origin in extra_paths)):
        origins["allow_paths"] = added
    for key in file.cache.model_fields_set if file.cache else ():
        origins[f"cache_{key}"] = _place(file, source, "cache", key)
    for kind, tables in (("agents", file.agents), ("limits", file.limits)):
        for name, table in tables.items():
            origins[f"{kind}.{name}"] = _place(file, source, kind, name)
            for key in table.model_fields_set:
                origins[f"{kind}.{name}.{key}"] = _place(file, source, kind, name, key)
    return origins


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """A note for each variable that is nearly one of ours. Others may be meant for another program."""
    known = [key.upper() for key in (*CONVERTERS, *OTHERS)]
    others = {name.removeprefix(PREFIX) for name in environ if name.startswith(PREFIX)}
    for name in sorted(others.difference(known, GIVEN_TO_AGENTS)):
        hint = suggestion(name, known)
        if hint.startswith("did you mean"):
            meant = hint.replace("'", f"'{PREFIX}", 1)
            yield f"environment {PREFIX}{name} is not known and was ignored; {meant}"
