"""Folders of Markdown agent files. They are named by the operator only; nothing is picked up by itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dispatch_runner.agents import front_matter
from dispatch_runner.agents.front_matter import AgentFile, Wrong
from dispatch_runner.errors import SettingsError

if TYPE_CHECKING:
    from dispatch_runner.agents.markdown import MarkdownRole

MOST_BYTES = 100_000
"""Of one file: some programs take a system prompt as an argument, which the system limits to 128 KiB."""
MOST_FILES = 1_000


class Broken(NamedTuple):
    """A file that defines no agent."""

    name: str
    """Of the agent that it means to define, else of the file."""
    error: SettingsError


class Folder(NamedTuple):
    """What the files of a folder define."""

    agents: dict[Path, AgentFile]
    """By file, in the order of their paths."""
    problems: list[Broken]


def read_folder(folder: Path) -> Folder:
    """Every `*.md` below a folder, however deep; a `README.md` is none. Nothing else is skipped in
    silence: a file that defines no agent is a problem, with its line and what to do.

    Raises `SettingsError` when there is no such folder.
    """
    if not folder.is_dir():
        hint = "correct the path, or make the folder"
        raise SettingsError("there is no such folder of agents", source=str(folder), hint=hint)
    found = Folder({}, [])
    taken: dict[str, Path] = {}
    unreadable: list[OSError] = []
    for number, path in enumerate(_files(folder, unreadable)):
        if number == MOST_FILES:
            wrong = Wrong(f"only the first {MOST_FILES} files are read", 1, "use several folders")
            found.problems.append(_broken(path, wrong))
            break
        try:
            agent = _agent(path, folder, taken)
        except Wrong as problem:
            found.problems.append(_broken(path, problem))
        else:
            taken[agent.name] = path
            found.agents[path] = agent
    for error in unreadable:
        wrong = Wrong(f"it cannot be read: {error.strerror}", 1, "make it readable")
        found.problems.append(_broken(Path(str(error.filename)), wrong))
    return found


class AgentFiles(NamedTuple):
    """The agents of all folders."""

    agents: Mapping[str, tuple[Path, AgentFile]]
    """By name."""
    broken: Mapping[str, SettingsError]
    """Why a name that only a broken file means to define is no agent."""
    warnings: Sequence[str]
    """About every file that is not used."""


def read_folders(folders: Iterable[Path], taken: Mapping[str, str]) -> AgentFiles:
    """The agents of several folders; the first of a name counts.

    Raises `SettingsError` with every folder that there is not.

    Args:
        folders: in the order of precedence.
        taken: names that are defined elsewhere, and where; their files are not used.
    """
    agents: dict[str, tuple[Path, AgentFile]] = {}
    problems: list[Broken] = []
    missing: list[SettingsError] = []
    for folder in dict.fromkeys(folders):
        try:
            found = read_folder(folder)
        except SettingsError as error:
            missing.append(error)
            continue
        problems += found.problems
        for path, agent in found.agents.items():
            if agent.name in agents:
                problems.append(_broken(path, _second(agent.name, str(agents[agent.name][0]))))
            elif agent.name in taken:
                problems.append(_broken(path, _second(agent.name, taken[agent.name])))
            else:
                agents[agent.name] = path, agent
    if missing:
        raise SettingsError.of(missing)
    broken = {each.name: each.error for each in reversed(problems)}
    warnings = [f"agent file is not used: {each.error}" for each in problems]
    known = agents.keys() | taken.keys()
    return AgentFiles(
        agents, {name: broken[name] for name in broken if name not in known}, warnings
    )


def role_of(agent: AgentFile) -> MarkdownRole:
    """What the agent of a file is to the engine."""
    from dispatch_runner.agents.markdown import MarkdownRole

    return MarkdownRole(agent.name, agent.description, agent.system, agent.tools, agent.model)


def _files(folder: Path, unreadable: list[OSError]) -> Iterator[Path]:
    """The Markdown files below a folder in order of their paths; linked folders are not entered."""
    for where, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(".md") and name.lower() != "readme.md":
                yield Path(where, name)


def _broken(path: Path, wrong: Wrong) -> Broken:
    error = SettingsError(wrong.message, source=str(path), line=wrong.line, hint=wrong.hint)
    return Broken(wrong.name or path.stem, error)


def _agent(path: Path, folder: Path, taken: dict[str, Path]) -> AgentFile:
    agent = front_matter.read(_text(path, folder))
    if agent.name in taken:
        raise _second(agent.name, str(taken[agent.name]))
    return agent


def _second(name: str, first: str) -> Wrong:
    wrong = Wrong(f"agent '{name}' is defined by {first}, too", 1, "rename one of them")
    wrong.name = name
    return wrong


def _text(path: Path, folder: Path) -> str:
    """A file's text. Raises `Wrong`."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Wrong("it is a symbolic link out of the folder", 1, "copy the file into the folder")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MOST_BYTES + 1) or b""
    except OSError as error:
        raise Wrong(f"it cannot be read: {error.strerror}", 1, "make it readable") from error
    if len(data) > MOST_BYTES:
        raise Wrong(f"it has more than {MOST_BYTES:,} bytes", 1, "shorten it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Wrong("it is not UTF-8", line, "save it as UTF-8") from error
