"""What a backend is told of an agent's definition. Loaded only by what makes or is a backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dispatch_runner.protocols import Access
    from dispatch_runner.settings.schema import AgentSettings


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """How the operator wants a backend for one agent. Null: the backend's own default."""

    agent: str
    """Name of the agent."""
    command: tuple[str, ...] | None = None
    """The program and its first arguments."""
    stdin: Literal["json", "none"] | None = None
    output: Literal["json", "text", "exit"] | None = None
    env: tuple[str, ...] | None = None
    """Names and globs of the environment that a program sees."""
    cwd: Path | None = None
    """Null: the workspace of the call."""
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    provider: str | None = None
    access: Access | None = None
    """Null: what the role asks for."""
    max_turns: int | None = None
    grace_seconds: float | None = None
    output_limit: int | None = None
    max_memory_mb: int | None = None
    max_cpu_seconds: int | None = None
    max_open_files: int | None = None


def options_for(
    agent: str, definition: AgentSettings | None, cwd: Path, first: bool
) -> BackendOptions:
    """What an agent's definition says of its backend.

    Args:
        agent: its name.
        definition: null: it has none.
        cwd: below which its own working directory is.
        first: whether this is the agent's first backend: the definition's `command` is that one's.
    """
    if definition is None:
        return BackendOptions(agent)
    told: dict[str, Any] = {
        each.name: getattr(definition, each.name, None) for each in fields(BackendOptions)
    }
    return BackendOptions(
        **{
            **told,
            "agent": agent,
            "command": _vector(definition.command) if first else None,
            "env": _vector(definition.env),
            "cwd": None if definition.cwd is None else cwd / definition.cwd,
        }
    )


def _vector(words: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)
