"""The agents by name: the built-in roles, the operator's programs, and what packages bring.

Everything is named by its import path and imported when its name is first asked for, so a dispatch
pays for the agents that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from dispatch_runner.errors import InternalError, SettingsError
from dispatch_runner.protocols import Agent, OfflineRole
from dispatch_runner.settings.names import suggestion

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from dispatch_runner.protocols import Backend, Role
    from dispatch_runner.settings import Settings

ROLES = {
    "coder": "dispatch_runner.agents.coder.role:CoderRole",
    "debug": "dispatch_runner.agents.debug.role:DebugRole",
    "echo": "dispatch_runner.agents.echo:EchoRole",
}
BACKENDS = {
    "offline": "dispatch_runner.backends.offline:OfflineBackend",
    "command": "dispatch_runner.backends.command:CommandBackend",
}
PROGRAM_ROLE = "dispatch_runner.backends.command:ProgramRole"
ENTRY_POINTS = "dispatch_runner.agents"
"""The group in which a package names its roles: agent's name to the class of an `OfflineRole`."""
ROLE_PARTS = ("name", *(part for part in dir(OfflineRole) if not part.startswith("_")))
"""What an object needs in order to be a role."""
OWN_ANSWER = frozenset({"echo"})
"""Roles that a general choice of backend leaves alone."""


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """One agent for people: what it is, and whether it can run here."""

    name: str
    role: str | None
    """`coder`, `debug`, ..., or `program`; null for a package's role that could not be loaded."""
    backend: str
    origin: str
    """`built in`, a place in a settings file, or an entry point."""
    available: bool
    reason: str | None
    """Why it cannot run here, or null."""
    max_concurrency: int | None = None
    timeout_seconds: float | None = None
    capabilities: tuple[str, ...] = ()
    command: tuple[str, ...] | None = None


class Registry:
    """All agents of one installation under one operator's settings.

    A name of `dispatch.toml` that has a command is a program, or, for a built-in role, the program
    that answers for the role. Other names are looked for among the installed packages' entry points.
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
        self._offline: Backend | None = None
        self._found: Mapping[str, EntryPoint] | None = None
        self.warnings: list[str] = []
        """About entry points that were found and are not used."""
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

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*ROLES, *self._settings.agents, *self._entry_points()})

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
            role="program" if self._is_program(name) else agent.role.name,
            backend=agent.backend.name,
            origin=agent.origin,
            available=reason is None,
            reason=reason,
            max_concurrency=agent.max_concurrency,
            timeout_seconds=agent.timeout_seconds,
            capabilities=agent.capabilities,
            command=self._command(name) if self._backend_name(name) == "command" else None,
        )

    def _agent(self, name: str, role: Role) -> Agent:
        backend, origin = self._backend(name), self._origin(name)
        definition = self._settings.agents.get(name)
        if definition is None:
            return Agent(name, role, backend, origin)
        return Agent(
            name=name,
            role=role,
            backend=backend,
            origin=origin,
            max_concurrency=definition.max_concurrency,
            timeout_seconds=definition.timeout_seconds,
            retries=definition.retries,
            resources=definition.resources,
            capabilities=tuple(definition.capabilities),
        )

    def _role(self, name: str) -> Role | None:
        if name in ROLES:
            made = _imported(ROLES[name])
            return cast("Role", made(self._settings.tests) if name == "debug" else made())
        if self._is_program(name):
            return cast("Role", _imported(PROGRAM_ROLE)(name))
        entry_point = self._entry_points().get(name)
        return None if entry_point is None else _installed_role(entry_point)

    def _is_program(self, name: str) -> bool:
        return name not in ROLES and self._command(name) is not None

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

    def _backend(self, name: str) -> Backend:
        if self._backend_name(name) == "command":
            return self._program(name)
        if self._offline is None:
            self._offline = cast("Backend", _imported(BACKENDS["offline"])())
        return self._offline

    def _program(self, name: str) -> Backend:
        definition, command = self._settings.agents.get(name), self._command(name)
        if definition is None or command is None:
            raise SettingsError(
                f"agent '{name}' has no command for backend 'command'",
                source=self._settings.origin("backend"),
                hint=f'define command = ["program", "argument"] in [agents.{name}]',
            )
        options: dict[str, Any] = {
            key: getattr(definition, key)
            for key in ("stdin", "output", "env", "output_limit", "grace_seconds")
            if getattr(definition, key) is not None
        }
        if definition.cwd is not None:
            options["cwd"] = self._settings.cwd / definition.cwd
        return cast("Backend", _imported(BACKENDS["command"])(command, **options))

    def _origin(self, name: str) -> str:
        if name in self._settings.agents:
            return self._settings.origin("agents", name)
        return "built in" if name in ROLES else _shown(self._entry_points()[name])

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
            elif rivals := [
                other for other in found if other.name == name and other != entry_point
            ]:
                shown = _shown(rivals[0])
                self.warnings.append(f"{_shown(entry_point)} is ignored: {shown} has the same name")
            else:
                yield name, entry_point

    def _wrong_definitions(self) -> Iterator[SettingsError]:
        for name, definition in self._settings.agents.items():
            if name in ROLES:
                continue
            if definition.command is None and name not in self._entry_points():
                message = (
                    f"agent '{name}' has no command, is not built in, and no package brings it"
                )
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
    if missing := [part for part in ROLE_PARTS if not hasattr(role, part)]:
        shown = ", ".join(missing)
        raise _broken(entry_point, f"is not a role: '{entry_point.value}' lacks {shown}")
    return cast("Role", role)


def _broken(entry_point: EntryPoint, message: str) -> SettingsError:
    hint = "mend, update or remove the package"
    return SettingsError(message, source=_shown(entry_point), hint=hint)
