"""What can run on this machine, and why not what cannot. Starts each agent's program once, for its
version; reaches no network and spends nothing."""

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from dispatch_runner import __version__
from dispatch_runner.agents.registry import AgentInfo
from dispatch_runner.dispatching.prepare import Operator
from dispatch_runner.errors import AgentError, SettingsError
from dispatch_runner.settings import BACKENDS, effective
from dispatch_runner.settings.environment import SECRET_NAME

VERSION_SECONDS = 15.0
"""How long a program may take to tell its version."""

VERSION_LENGTH = 80
ASKED_ROLE = "coder"
"""The agent for which a backend is judged that none has chosen: every installation has it."""


@dataclass(slots=True)
class BackendReport:
    """Whether one backend can answer here."""

    name: str
    available: bool
    reason: str | None
    """Why not, and what to do about it."""
    agent: str | None = None
    """The agent that has chosen it, by whose definition it was judged; null: none has."""
    program: str | None = None
    """Where its program is."""
    version: str | None = None
    """As its program tells it."""
    provider: str | None = None
    keys: list[str] = field(default_factory=list)
    """Names of the variables with a secret that its program would see; never their values."""
    cost: str | None = None
    """Why the cost of a call would not be known, or null."""


@dataclass(slots=True)
class Report:
    """Everything that `doctor` found."""

    version: str
    backends: list[BackendReport]
    unavailable_agents: list[AgentInfo]
    """Agents that the operator defined or chose, and that cannot run."""
    machine: dict[str, Any]
    notes: list[str]

    @property
    def healthy(self) -> bool:
        """Whether everything that the operator asked for can run, and records can be written."""
        return not self.unavailable_agents and bool(self.machine["records"]["writable"])


async def examine(operator: Operator) -> Report:
    """Looks at all backends and agents, and at what the dispatcher itself needs."""
    agents = operator.registry.describe()
    chosen = {agent.backend: agent.name for agent in reversed(agents) if agent.backend != "offline"}
    backends = [_backend(operator, name, chosen.get(name)) for name in BACKENDS]
    async with anyio.create_task_group() as group:
        for report, made in backends:
            program = getattr(made, "program", None)
            if report.available and program is not None:
                group.start_soon(_ask_version, report, program.command, program.environment)
    unavailable = [agent for agent in agents if not agent.available]
    notes = [*operator.settings.notes, *operator.registry.warnings]
    reports = [report for report, _ in backends]
    return Report(__version__, reports, unavailable, _machine(operator), notes)


def _backend(operator: Operator, name: str, agent: str | None) -> tuple[BackendReport, Any]:
    """The backend as an agent has it that has chosen it, or as any would."""
    asked = agent or ASKED_ROLE
    try:
        role = operator.registry.role(asked)
        backend = operator.registry.backend(asked, name)
    except SettingsError as error:
        return BackendReport(name, False, _for_any(error.hint or error.message)), None
    except ImportError as error:
        return BackendReport(name, False, f"it cannot be loaded: {error}"), None
    reason = backend.unavailable(role)
    if reason is not None and agent is None:
        reason = _for_any(reason)
    report = BackendReport(name, reason is None, reason, agent, provider=backend.provider)
    report.cost = backend.unknown_cost(role)
    program = getattr(backend, "program", None)
    if program is not None:
        found = shutil.which(program.command[0], path=program.environment.get("PATH", os.defpath))
        report.program = found
        report.keys = sorted(filter(SECRET_NAME.search, program.environment))
    return report, backend


def _for_any(hint: str) -> str:
    """A hint for whichever agent, where no agent has chosen the backend."""
    return hint.replace(f"[agents.{ASKED_ROLE}]", "[agents.NAME]")


async def _ask_version(
    report: BackendReport, command: tuple[str, ...], environment: Mapping[str, str]
) -> None:
    from dispatch_runner.process import run

    with anyio.move_on_after(VERSION_SECONDS) as scope:
        try:
            completed = await run([*command, "--version"], env=environment)
        except AgentError as error:
            report.available, report.reason = False, error.message
            return
        lines = completed.stdout.text(VERSION_LENGTH * 4).strip().splitlines()
        report.version = lines[0][:VERSION_LENGTH] if lines else None
        if completed.returncode != 0:
            report.available = False
            report.reason = f"'{command[0]} --version' ended with exit code {completed.returncode}"
    if scope.cancelled_caught:
        report.available = False
        report.reason = f"'{command[0]} --version' did not end within {VERSION_SECONDS:g} s"


def _machine(operator: Operator) -> dict[str, Any]:
    from dispatch_runner.process import descriptor_headroom
    from dispatch_runner.process.family import adopt_orphans, orphans

    adopt_orphans()
    git = shutil.which("git")
    return {
        "python": platform.python_version(),
        "platform": sys.platform,
        "git": git,
        "open_files_left": descriptor_headroom(),
        "finds_daemons": orphans.adopted,
        "records": _records(operator),
        "settings_file": str(operator.settings.file) if operator.settings.file else None,
    }


def _records(operator: Operator) -> dict[str, Any]:
    from dispatch_runner.models import Config

    folder = effective(operator.settings, Config()).trace_dir
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return {"folder": str(folder), "writable": writable, "free_bytes": _free(existing)}


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
