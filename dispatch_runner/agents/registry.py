"""The agents by name: the built-in roles, the operator's programs, Markdown files, and what packages
bring.

Everything is named by its import path and imported when its name is first asked for, so a dispatch
pays for the agents that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from dispatch_runner.errors import InternalError, SettingsError
from dispatch_runner.models.budget import Budget
from dispatch_runner.protocols import Agent, Role
from dispatch_runner.settings.names import suggestion
from dispatch_runner.settings.values import shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from dispatch_runner.agents.front_matter import AgentFile
    from dispatch_runner.protocols import Backend
    from dispatch_runner.settings import Settings
    from dispatch_runner.settings.backend_options import BackendOptions
    from dispatch_runner.settings.schema import AgentSettings

ROLES = {
    "coder": "dispatch_runner.agents.coder.role:CoderRole",
    "debug": "dispatch_runner.agents.debug.role:DebugRole",
    "echo": "dispatch_runner.agents.echo:EchoRole",
}
BACKENDS = {
    "offline": "dispatch_runner.backends.offline:build",
    "command": "dispatch_runner.backends.command:build",
    "claude-code": "dispatch_runner.backends.claude_code.backend:build",
    "codex": "dispatch_runner.backends.codex.backend:build",
    "gemini": "dispatch_runner.backends.gemini.backend:build",
    "opencode": "dispatch_runner.backends.opencode.backend:build",
    "acp": "dispatch_runner.backends.acp.backend:build",
    "llm": "dispatch_runner.backends.llm.backend:build",
}
"""What makes a backend from an agent's `BackendOptions`."""
NEED_A_COMMAND = {
    "command": 'define command = ["program", "argument"] in [agents.{name}]',
    "acp": 'define the agent to talk to, such as command = ["gemini", "--acp"], in [agents.{name}]',
}
PROGRAM_ROLE = "dispatch_runner.backends.command:ProgramRole"
ENTRY_POINTS = "dispatch_runner.agents"
"""The group in which a package names its roles: agent's name to the class of an `OfflineRole`, a
`PromptedRole`, or both."""
ROLE_PARTS = ("name", *(part for part in dir(Role) if not part.startswith("_")))
"""What an object needs in order to be a role; besides, one of `WAYS_TO_ANSWER`."""
WAYS_TO_ANSWER = ("solve", "question")
OWN_ANSWER = frozenset({"echo"})
"""Roles that a general choice of backend leaves alone."""
STALL_SECONDS = 120.0
REPAIR_ROUNDS = 2
_KEPT = (
    "max_concurrency", "timeout_seconds", "retries", "resources", "stall_seconds", "repair_rounds",
    "cache", "workspace",
)  # fmt: skip
"""Keys of an agent's table that are the agent's, and not its backend's."""


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """One agent for people: what it is, and whether it can run here."""

    name: str
    role: str | None
    """`coder`, `debug`, ..., `program`, or `markdown`; null for one that could not be loaded."""
    backend: str
    origin: str
    """`built in`, a place in a settings file, an agent file, or an entry point."""
    available: bool
    reason: str | None
    """Why it cannot run here, or null."""
    max_concurrency: int | None = None
    timeout_seconds: float | None = None
    capabilities: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None
    description: str = ""
    """What it is for, where its definition says so."""
    model: str | None = None
    """Which model answers, where one is named."""


class Registry:
    """All agents of one installation under one operator's settings.

    A name of `dispatch.toml` that has a command is a program, or, for a built-in role, the program
    that answers for the role. Other names are looked for in the operator's folders of agent files, then
    among the installed packages' entry points.
    """

    def __init__(
        self, settings: Settings, scan: Callable[[], Sequence[EntryPoint]] | None = None
    ) -> None:
        """Raises `SettingsError` with every definition of an agent that cannot work.

        `scan` finds the entry points; it is called at most once, and only when an unknown name is
        asked for, or all names are.
        """
        self._settings = settings
        self._scan = scan or _scan
        self._agents: dict[str, Agent | None] = {}
        self._found: Mapping[str, EntryPoint] | None = None
        self.warnings: list[str] = []
        """About agent files and entry points that were found and are not used."""
        self._files: Mapping[str, tuple[Path, AgentFile]] = {}
        self._broken_files: Mapping[str, SettingsError] = {}
        if settings.agent_folders:
            self._read_agent_files()
        if problems := list(self._wrong_definitions()):
            raise SettingsError.of(problems)

    def get(self, name: str) -> Agent | None:
        """The agent of that name, or null when there is none.

        Raises `SettingsError` when there is one and it cannot be made: a package that cannot be
        imported, a chosen backend that lacks its command.
        """
        if name not in self._agents:
            role = self._role(name)
            self._agents[name] = None if role is None else self._agent(name, role)
        return self._agents[name]

    def role(self, name: str) -> Role:
        """What is asked of an agent. Raises `InternalError` for an unknown name."""
        role = self._role(name)
        if role is None:
            raise InternalError(f"there is no agent '{name}'")
        return role

    def backend(self, name: str, backend: str) -> Backend:
        """The backend as it would answer for an agent, whichever one does. Raises `SettingsError`."""
        return self._backend(name, backend)

    def names(self) -> list[str]:
        """All names, sorted."""
        files = (*self._files, *self._broken_files)
        return sorted({*ROLES, *self._settings.agents, *files, *self._entry_points()})

    def describe(self) -> list[AgentInfo]:
        """Every agent, sorted by name, also those that are broken or cannot run here."""
        return [self._describe(name) for name in self.names()]

    def _describe(self, name: str) -> AgentInfo:
        try:
            agent = self.get(name)
        except SettingsError as error:
            role, backend = (name if name in ROLES else None), self._backend_name(name)
            return AgentInfo(name, role, backend, self._origin(name), False, str(error))
        if agent is None:
            raise InternalError(f"agent '{name}' has a name and does not exist")
        reason = agent.backend.unavailable(agent.role)
        return AgentInfo(
            name=name,
            role=self._kind(name) or agent.role.name,
            backend=agent.backend.name,
            origin=agent.origin,
            available=reason is None,
            reason=reason,
            max_concurrency=agent.max_concurrency,
            timeout_seconds=agent.timeout_seconds,
            capabilities=agent.capabilities,
            command=self._command(name) if self._backend_name(name) == "command" else None,
            description=getattr(agent.role, "description", ""),
            model=self._model(name, agent.role),
        )

    def _model(self, name: str, role: Role) -> str | None:
        definition = self._settings.agents.get(name)
        return (definition and definition.model) or getattr(role, "model", None)

    def _agent(self, name: str, role: Role) -> Agent:
        settings, definition = self._settings, self._settings.agents.get(name)
        backend, origin = self._backend(name, self._backend_name(name)), self._origin(name)
        general = Agent(
            name,
            role,
            backend,
            origin,
            stall_seconds=settings.stall_seconds or STALL_SECONDS,
            repair_rounds=(
                REPAIR_ROUNDS if settings.repair_rounds is None else settings.repair_rounds
            ),
        )
        return general if definition is None else self._defined(general, definition)

    def _defined(self, general: Agent, definition: AgentSettings) -> Agent:
        """The agent as its own table says; a flag or the environment goes before that table."""
        own = definition.model_fields_set - self._settings.overriding
        told = {key: getattr(definition, key) for key in _KEPT if key in own}
        return general._replace(
            **{key: value for key, value in told.items() if value is not None},
            capabilities=tuple(definition.capabilities),
            checks=tuple(definition.checks),
            fallback=tuple(self._backend(general.name, each) for each in definition.fallback),
            budget=Budget(definition.max_cost_usd, definition.max_tokens, definition.max_requests),
        )

    def _role(self, name: str) -> Role | None:
        if name in ROLES:
            made = _imported(ROLES[name])
            return cast("Role", made(self._settings.tests) if name == "debug" else made())
        if self._is_program(name):
            return cast("Role", _imported(PROGRAM_ROLE)(name))
        return self._role_of_file(name) or self._role_of_package(name)

    def _role_of_file(self, name: str) -> Role | None:
        if name not in self._files:
            return None
        from dispatch_runner.agents.agent_files import role_of

        path, agent = self._files[name]
        self.warnings += [f"agent file {path}: {note}" for note in agent.notes]
        return role_of(agent)

    def _role_of_package(self, name: str) -> Role | None:
        entry_point = self._entry_points().get(name)
        if entry_point is not None:
            return _installed_role(entry_point)
        if name in self._broken_files:
            raise self._broken_files[name]
        return None

    def _kind(self, name: str) -> str | None:
        """What an agent is whose role has no name of its own."""
        if self._is_program(name):
            return "program"
        return "markdown" if name in self._files else None

    def _is_program(self, name: str) -> bool:
        """Whether the operator defined it as a program; an agent may also have a command for its
        backend's own program."""
        definition = self._settings.agents.get(name)
        if name in ROLES or definition is None or definition.command is None:
            return False
        return definition.backend in {None, "command", "offline"}

    def _command(self, name: str) -> tuple[str, ...] | None:
        definition = self._settings.agents.get(name)
        return (
            None if definition is None or definition.command is None else tuple(definition.command)
        )

    def _backend_name(self, name: str) -> str:
        """Which backend answers: a flag or the environment, the agent's definition, `[defaults]`."""
        settings, definition = self._settings, self._settings.agents.get(name)
        if self._is_program(name):
            return "command"
        if "backend" in settings.overriding and name not in OWN_ANSWER:
            return settings.backend
        if definition is not None and definition.backend is not None:
            return definition.backend
        if definition is not None and definition.command is not None:
            return "command"
        return "offline" if name in OWN_ANSWER else settings.backend

    def _backend(self, name: str, backend: str) -> Backend:
        own = backend == self._backend_name(
            name
        )  # a fallback has no command: that is the first one's
        if backend in NEED_A_COMMAND and not (own and self._command(name)):
            raise SettingsError(
                f"agent '{name}' has no command for backend '{backend}'",
                source=self._settings.origin("backend"),
                hint=NEED_A_COMMAND[backend].format(name=name),
            )
        return cast("Backend", _imported(BACKENDS[backend])(self._options(name, backend)))

    def _options(self, name: str, backend: str) -> BackendOptions | None:
        if backend == "offline":
            return None
        from dispatch_runner.settings.backend_options import options_for

        own = backend == self._backend_name(name)
        return options_for(name, self._settings.agents.get(name), self._settings.cwd, own)

    def _origin(self, name: str) -> str:
        if name in self._settings.agents:
            return self._settings.origin("agents", name)
        if name in ROLES:
            return "built in"
        if name in self._files:
            return shown(self._files[name][0], self._settings.cwd)
        if name in self._entry_points():
            return _shown(self._entry_points()[name])
        return self._broken_files[name].source

    def _read_agent_files(self) -> None:
        """Finds the agents of the operator's folders. What is defined elsewhere goes before a file."""
        from pathlib import Path

        from dispatch_runner.agents.agent_files import read_folders

        settings = self._settings
        programs = filter(self._is_program, settings.agents)
        taken = {name: settings.origin("agents", name) for name in programs}
        taken |= dict.fromkeys(ROLES, "dispatch-runner itself")
        found = read_folders(map(Path, settings.agent_folders), taken)
        self._files, self._broken_files = found.agents, found.broken
        self.warnings += found.warnings

    def _entry_points(self) -> Mapping[str, EntryPoint]:
        """The usable entry points by agent's name; the others become warnings."""
        if self._found is None:
            self._found = dict(self._usable(self._scan()))
        return self._found

    def _usable(self, found: Sequence[EntryPoint]) -> Iterator[tuple[str, EntryPoint]]:
        for entry_point in found:
            name = entry_point.name
            if name in ROLES:
                self.warnings.append(f"{_shown(entry_point)} is ignored: '{name}' is built in")
            elif name in self._files:
                file = self._files[name][0]
                self.warnings.append(f"{_shown(entry_point)} is ignored: '{name}' is {file}")
            elif rivals := [
                other for other in found if other.name == name and other != entry_point
            ]:
                shown = _shown(rivals[0])
                self.warnings.append(f"{_shown(entry_point)} is ignored: {shown} has the same name")
            else:
                yield name, entry_point

    def _wrong_definitions(self) -> Iterator[SettingsError]:
        for name, definition in self._settings.agents.items():
            if name in ROLES or name in self._files:
                continue
            if name in self._broken_files:
                yield self._broken_files[name]
            elif not self._is_program(name) and name not in self._entry_points():
                lacks = "has no command, " if definition.command is None else ""
                message = f"agent '{name}' {lacks}is not built in, and no package brings it"
                hint = suggestion(name, [*ROLES, *self._entry_points()], "agents without a command")
                yield self._settings.error(message, "agents", name, hint=hint)
            elif definition.command is not None and definition.backend == "offline":
                message = f"agent '{name}' is a program, which backend 'offline' cannot run"
                hint = 'write backend = "command"'
                yield self._settings.error(message, "agents", name, "backend", hint=hint)


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _scan() -> Sequence[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=ENTRY_POINTS))


def _shown(entry_point: EntryPoint) -> str:
    package = f" of package '{entry_point.dist.name}'" if entry_point.dist else ""
    return f"entry point '{entry_point.name}'{package}"


def _installed_role(entry_point: EntryPoint) -> Role:
    """The role of an entry point. Its package's code runs here, so anything may go wrong."""
    try:
        role = entry_point.load()()
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise _broken(entry_point, f"cannot be loaded: {reason}") from error
    missing = [part for part in ROLE_PARTS if not hasattr(role, part)]
    if not any(hasattr(role, way) for way in WAYS_TO_ANSWER):
        missing.append(" or ".join(WAYS_TO_ANSWER))
    if missing:
        shown = ", ".join(missing)
        raise _broken(entry_point, f"is not a role: '{entry_point.value}' lacks {shown}")
    return cast("Role", role)


def _broken(entry_point: EntryPoint, message: str) -> SettingsError:
    hint = "mend, update or remove the package"
    return SettingsError(message, source=_shown(entry_point), hint=hint)
