"""The configuration in force for one dispatch and for one task. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dispatch_runner.models.budget import Budget

if TYPE_CHECKING:
    from dispatch_runner.models import Config, JsonObject, Task
    from dispatch_runner.settings.values import Settings

MAX_WORKERS = 5
TIMEOUT_SECONDS = 300.0
RETRIES = 2
TRACE_DIR = "traces"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class EffectiveConfig:
    """How a dispatch runs: the operator's settings and the request's config, settled."""

    max_workers: int
    timeout_seconds: float
    """Limit of one attempt of a task that names none itself, in seconds; see `task_timeout`."""
    dispatch_timeout_seconds: float | None
    trace_dir: Path
    """Absolute."""
    retries: int
    """Further attempts of a task that names none itself; see `task_retries`."""
    fail_fast: bool
    budget: Budget
    """Of all agents together."""
    warnings: tuple[str, ...]
    """What the request asked for and does not get."""
    settings: Settings = field(repr=False)
    config: Config = field(repr=False)

    def as_json(self) -> JsonObject:
        """The values in force, for the index and the first event."""
        return {
            "max_workers": self.max_workers,
            "timeout_seconds": self.timeout_seconds,
            "dispatch_timeout_seconds": self.dispatch_timeout_seconds,
            "trace_dir": str(self.trace_dir),
            "retries": self.retries,
            "fail_fast": self.fail_fast,
            "max_cost_usd": self.budget.cost_usd,
            "max_tokens": self.budget.tokens,
            "max_requests": self.budget.requests,
        }


def effective(settings: Settings, config: Config) -> EffectiveConfig:
    """The operator's limits and the request's wishes, the smaller of the two where both are set."""
    trace_dir = _first(settings, "trace_dir", config.trace_dir, settings.trace_dir) or TRACE_DIR
    return EffectiveConfig(
        max_workers=smallest(config.max_workers, settings.max_workers) or MAX_WORKERS,
        timeout_seconds=smallest(config.timeout_seconds, settings.timeout_seconds)
        or TIMEOUT_SECONDS,
        dispatch_timeout_seconds=smallest(
            config.dispatch_timeout_seconds, settings.dispatch_timeout_seconds
        ),
        trace_dir=settings.cwd / trace_dir,
        retries=_or(smallest(config.retries, settings.retries), RETRIES),
        fail_fast=_first(settings, "fail_fast", config.fail_fast, settings.fail_fast) or False,
        budget=Budget(
            smallest(config.max_cost_usd, settings.max_cost_usd),
            smallest(config.max_tokens, settings.max_tokens),
            smallest(config.max_requests, settings.max_requests),
        ),
        warnings=tuple(_refused_wishes(settings, config)),
        settings=settings,
        config=config,
    )


def task_timeout(task: Task, agent_seconds: float | None, in_force: EffectiveConfig) -> float:
    """Limit of one attempt of a task, in seconds.

    The task's own wish, else the request's; never more than what the operator allows: a flag or the
    environment, and the agent's definition, which within the file stands before `[defaults]`.
    """
    settings = in_force.settings
    allowed = _allowed(settings, "timeout_seconds", settings.timeout_seconds, agent_seconds)
    wish = _or(task.timeout_seconds, in_force.config.timeout_seconds)
    return smallest(wish, allowed) or TIMEOUT_SECONDS


def task_retries(task: Task, agent_retries: int | None, in_force: EffectiveConfig) -> int:
    """Further attempts of a task after transient failures; by the same rule as `task_timeout`."""
    settings = in_force.settings
    allowed = _allowed(settings, "retries", settings.retries, agent_retries)
    return _or(smallest(_or(task.retries, in_force.config.retries), allowed), RETRIES)


def smallest(a: Number | None, b: Number | None) -> Number | None:
    """The smaller one of those that are set."""
    if a is None or b is None:
        return b if a is None else a
    return min(a, b)


_Value = TypeVar("_Value")
_Fallback = TypeVar("_Fallback")


def _or(value: _Value | None, fallback: _Fallback) -> _Value | _Fallback:
    """The fallback for null only: 0 retries is a wish."""
    return fallback if value is None else value


def _allowed(
    settings: Settings, key: str, general: Number | None, agent: Number | None
) -> Number | None:
    if agent is None:
        return general
    return smallest(general, agent) if key in settings.overriding else agent


def _first(
    settings: Settings, key: str, wish: _Value | None, operator: _Value | None
) -> _Value | None:
    """Where no limit is meant: flag or environment, then the request, then the file."""
    if key in settings.overriding or wish is None:
        return operator
    return wish


def _refused_wishes(settings: Settings, config: Config) -> list[str]:
    pairs = {
        "max_workers": (config.max_workers, settings.max_workers),
        "timeout_seconds": (config.timeout_seconds, settings.timeout_seconds),
        "dispatch_timeout_seconds": (
            config.dispatch_timeout_seconds,
            settings.dispatch_timeout_seconds,
        ),
        "retries": (config.retries, settings.retries),
        "max_cost_usd": (config.max_cost_usd, settings.max_cost_usd),
        "max_tokens": (config.max_tokens, settings.max_tokens),
        "max_requests": (config.max_requests, settings.max_requests),
    }
    return [
        f"config.{key} {wish:g} is above the operator's limit: {limit:g} holds"
        f" ({settings.origin(key)})"
        for key, (wish, limit) in pairs.items()
        if wish is not None and limit is not None and wish > limit
    ]
