"""What a task takes while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from dispatch_runner.errors import AgentError
from dispatch_runner.models.budget import Budget
from dispatch_runner.models.usage import total_usage
from dispatch_runner.paths import identity
from dispatch_runner.references import resolve

if TYPE_CHECKING:
    from dispatch_runner.engine.budgets import Account
    from dispatch_runner.engine.gates import Ticket
    from dispatch_runner.engine.runner import Job
    from dispatch_runner.models import JsonObject, Usage


class Needs(NamedTuple):
    """What one task takes while it runs."""

    units: Mapping[str, int] = MappingProxyType({})
    """Amount by limit. Agents' caps are limits too, under `agent:NAME`."""
    locks: Sequence[str] = ()
    """Identities of paths, and globs; see `paths.identity`."""


class Withdrawal(NamedTuple):
    """Why a task is not started at all, and will not be."""

    cause: str
    """In words."""
    details: JsonObject
    budget: bool
    """Whether the budget of the dispatch is the reason."""


@dataclass(slots=True)
class Wants:
    """Everything that a task takes while it runs, and what it has of it."""

    needs: Needs
    cap: tuple[str, int] | None = None
    """Name and capacity of the limit that its agent's `max_concurrency` is."""
    providers: Sequence[str | None] = (None,)
    """Of its agent's backends, in the order in which they are asked."""
    agent: str = ""
    budgets: Sequence[Budget] = ()
    """Of the task: its agent's, and its own."""
    used: Usage | None = None
    """What it consumed in earlier processes."""
    account: Account | None = None
    ticket: Ticket | None = None
    """Of the gate, while it runs."""


NOTHING = Wants(Needs())
"""Takes nothing: most tasks, and no work at all for them."""


def wants_of(job: Job, outputs: Mapping[str, JsonObject]) -> Wants:
    """What a ready task takes. Its file locks are known only now: paths may come from outputs."""
    task, agent = job.task, job.agent
    units: dict[str, int] = {}
    if agent.resources or task.resources:
        units = {**agent.resources, **task.resources}
    cap = None
    if agent.max_concurrency is not None:
        cap = f"agent:{agent.name}", agent.max_concurrency
        units[cap[0]] = 1
    value = task.input_data
    if job.has_references:
        try:
            value = resolve(value, outputs)
        except AgentError:
            value = {}  # the attempt will say so
    written = agent.role.writes(value)
    paid = agent.backend.provider is not None or agent.fallback
    if not (units or written or task.modifies_files or paid):
        return NOTHING
    locks = {*task.modifies_files, *written}
    providers = agent.backend.provider, *(each.provider for each in agent.fallback)
    own = Budget(task.max_cost_usd, task.max_tokens, task.max_requests)
    needs = Needs(units, sorted(map(identity, locks)))
    used = total_usage([attempt.usage for attempt in job.earlier])
    return Wants(needs, cap, providers, agent.name, (agent.budget, own), used)
