"""The operator's settings as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dispatch_runner.errors import SettingsError

if TYPE_CHECKING:
    from dispatch_runner.models.request import Workspace
    from dispatch_runner.settings.mcp import McpSettings
    from dispatch_runner.settings.schema import AgentSettings, CheckSettings, LimitSettings

Durability = Literal["power", "process"]
Merging = Literal["none", "topological"]
Scope = Literal["warn", "deny"]
CheckAfter = Literal["each", "last"]

CACHE_MAX_MB = 1024
"""How much the cache may hold, where the operator does not say."""

Location = tuple[str, ...]
"""A key of the file with its tables: `("agents", "lint", "command")`."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says. Null or empty: not given."""

    config: Path | None = None
    max_workers: int | None = None
    timeout_seconds: float | None = None
    dispatch_timeout_seconds: float | None = None
    trace_dir: Path | str | None = None
    retries: int | None = None
    fail_fast: bool | None = None
    allow_path: tuple[str, ...] = ()
    backend: str | None = None
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_requests: int | None = None
    stall_seconds: float | None = None
    repair_rounds: int | None = None
    agent_folder: tuple[str, ...] = ()
    wait_for_reset: bool | None = None
    allow_unknown_cost: bool | None = None
    durability: str | None = None
    no_cache: bool | None = None
    refresh: bool | None = None
    explain: bool | None = None
    workspace: str | None = None
    merge: str | None = None
    carry_changes: bool | None = None
    mcp_config: Path | str | None = None
    """A file of MCP servers in the format of `.mcp.json`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator has set, and where. Null: the operator has not set it."""

    cwd: Path
    """The working directory, absolute: relative paths are below it, wherever they were written."""
    file: Path | None = None
    """The settings file in force."""
    max_workers: int | None = None
    timeout_seconds: float | None = None
    """Limit of one attempt, in seconds."""
    dispatch_timeout_seconds: float | None = None
    """Limit of the whole dispatch, in seconds."""
    retries: int | None = None
    fail_fast: bool | None = None
    trace_dir: str | None = None
    """Absolute."""
    allow_paths: tuple[str, ...] = ()
    """Absolute folders that tasks may use besides the working and the temporary directory."""
    backend: str = "offline"
    """What answers for the roles whose own definition does not say."""
    durability: Durability = "power"
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    limits: Mapping[str, LimitSettings] = field(default_factory=dict)
    tests: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Commands that run tests, by name."""
    checks: Mapping[str, CheckSettings] = field(default_factory=dict)
    """Acceptance checks, by name."""
    max_cost_usd: float | None = None
    max_tokens: int | None = None
    max_requests: int | None = None
    """Most that all agents of a dispatch together may consume."""
    stall_seconds: float | None = None
    repair_rounds: int | None = None
    agent_folders: tuple[str, ...] = ()
    """Absolute folders of Markdown agent files."""
    wait_for_reset: bool = False
    """Whether a dispatch waits for a quota to come back."""
    allow_unknown_cost: bool = False
    """Whether agents whose cost will not be known may start under a budget in USD."""
    no_cache: bool = False
    """Whether results are neither looked for in the cache nor kept."""
    refresh: bool = False
    """Whether results are kept and none is looked for."""
    explain: bool = False
    """Whether progress tells why the cache has a result or has none."""
    cache_folder: str | None = None
    """Absolute; null: there is no place for one."""
    cache_max_mb: int = CACHE_MAX_MB
    """How much the cache may hold, in MiB."""
    workspace: Workspace = "in_place"
    """Where tasks work that do not say, nor their agents."""
    merge: Merging = "none"
    """What becomes of the branches of a dispatch's worktrees."""
    carry_changes: bool = False
    """Whether worktrees begin with the caller's uncommitted changes."""
    scope: Scope | None = None
    """What becomes of changes that a task did not declare; null: a warning, in worktrees only."""
    merge_check: str | None = None
    """The acceptance check of what is merged, by name."""
    check_after: CheckAfter = "each"
    filters: bool = False
    """Whether programs run in worktrees that only the repository's own configuration names."""
    mcp: McpSettings | None = None
    """MCP servers and the tools mapped to them; null: nothing is said of them."""
    overriding: frozenset[str] = frozenset()
    """Keys set by a flag or the environment: these outrank the definitions of agents in the file, and
    the request where no limits are meant (`fail_fast`, `trace_dir`)."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value in force comes from, by key: `flag --retries`, `environment
    DISPATCH_RUNNER_RETRIES`, `file dispatch.toml:3`, `default`. Agents and limits and their keys are
    `agents.NAME`, `agents.NAME.KEY`, `limits.NAME`, `limits.NAME.KEY`."""
    lines: Mapping[Location, int] = field(default_factory=dict)
    """Line in the file of each table and key."""
    notes: tuple[str, ...] = ()
    """What the operator should know, such as a file that was ignored."""

    def origin(self, *location: str) -> str:
        """Where an agent, a limit, or a key of one was defined."""
        return self.origins.get(".".join(location), "default")

    def error(self, message: str, *location: str, hint: str | None = None) -> SettingsError:
        """What is wrong at a place of the settings file."""
        source = shown(self.file, self.cwd) if self.file else "settings"
        return SettingsError(message, source=source, line=line_of(self.lines, location), hint=hint)


def shown(path: Path, cwd: Path) -> str:
    """A path as a person would write it: relative when it is below the working directory."""
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)


def line_of(lines: Mapping[Location, int], location: Location) -> int | None:
    """Line of a key, else of the nearest table around it."""
    for end in range(len(location), 0, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None
