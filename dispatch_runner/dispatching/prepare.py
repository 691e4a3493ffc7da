"""Everything that is decided before the first task starts: settings, agents, the checked request."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from dispatch_runner.agents.registry import Registry
from dispatch_runner.engine.runner import Job
from dispatch_runner.errors import InternalError, RequestRejected
from dispatch_runner.models import JsonObject, Problem, Request, Task
from dispatch_runner.models.request import Workspace
from dispatch_runner.models.trace import Attempt
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.preflight.check import check
from dispatch_runner.preflight.document import from_object, parse
from dispatch_runner.protocols import Agent
from dispatch_runner.references import has_references
from dispatch_runner.settings import (
    EffectiveConfig,
    Flags,
    Settings,
    effective,
    load,
    task_retries,
    task_timeout,
)

NOTHING: Mapping[str, Sequence[Attempt]] = MappingProxyType({})


class Operator(NamedTuple):
    """What the operator decided, before any request is read."""

    settings: Settings
    registry: Registry
    roots: AllowedRoots
    environ: Mapping[str, str]

    @classmethod
    def of(cls, flags: Flags, environ: Mapping[str, str], folder: Path) -> "Operator":
        """Raises `SettingsError` when something that the operator defined is wrong."""
        settings = load(flags, environ, folder)
        return cls(settings, Registry(settings), AllowedRoots.of(settings.allow_paths), environ)

    def as_json(self) -> JsonObject:
        """What a dispatch must find again when it is resumed: else other agents answer, elsewhere."""
        settings = self.settings
        return {
            "folder": str(settings.cwd),
            "settings_file": str(settings.file) if settings.file else None,
            "backend": settings.backend,
            "workspace": settings.workspace,
            "merge": settings.merge,
        }


class Prepared(NamedTuple):
    """A request that was checked, with the configuration in force."""

    operator: Operator
    request: Request
    document: JsonObject
    """As it was written, for the record."""
    config: EffectiveConfig
    warnings: list[str]

    def jobs(self, earlier: Mapping[str, Sequence[Attempt]] = NOTHING) -> list[Job]:
        """A job for each task, in request order; `earlier` are attempts in earlier processes, by id."""
        jobs = [job_of(self.operator, self.config, task) for task in self.request.tasks]
        if not earlier:
            return jobs
        return [job._replace(earlier=earlier.get(job.task.task_id, ())) for job in jobs]


def prepare(
    operator: Operator,
    request: bytes | JsonObject,
    known: Mapping[str, Sequence[str]] | None = None,
) -> Prepared:
    """Checks a request, as it was piped in or as an object.

    `known` are tasks of the same dispatch that came earlier, with their dependencies.

    Raises:
        RequestRejected: with all problems at once; nothing was started and nothing written.
    """
    document = parse(request) if isinstance(request, bytes) else from_object(request)
    document.problems.warnings += operator.settings.notes
    checked = check(
        document.value,
        agents=operator.registry,
        roots=operator.roots,
        limits={name: limit.capacity for name, limit in operator.settings.limits.items()},
        checks={name: each.command for name, each in operator.settings.checks.items()},
        cost_limited=operator.settings.max_cost_usd is not None,
        unknown_cost_is_free=operator.settings.allow_unknown_cost,
        problems=document.problems,
        known=known,
    )
    _require_repository(operator, checked.request)
    config = effective(operator.settings, checked.request.config)
    warnings = [*checked.warnings, *operator.registry.warnings, *config.warnings]
    return Prepared(operator, checked.request, document.value, config, warnings)


def _require_repository(operator: Operator, request: Request) -> None:
    """Raises `RequestRejected` when a task works in a git worktree and none can be made here."""
    wanting = (
        (place, task)
        for place, task in enumerate(request.tasks)
        if _workspace(operator, task, operator.registry.get(task.agent)) == "worktree"
    )
    place, task = next(wanting, (0, None))
    if task is None:
        return
    from dispatch_runner.workspaces.git import GitError
    from dispatch_runner.workspaces.repository import Repository

    try:
        Repository.find(operator.settings.cwd, operator.environ)
    except GitError as error:
        where = f"/tasks/{place}" + ("/workspace" if task.workspace else "")
        message = f"no git worktree can be made: {error.message}"
        problem = Problem("no_worktree", where, message, error.hint, task.task_id)
        raise RequestRejected([problem]) from error


def _workspace(operator: Operator, task: Task, agent: Agent | None) -> Workspace:
    own = None if agent is None else agent.workspace
    return task.workspace or own or operator.settings.workspace


def job_of(operator: Operator, config: EffectiveConfig, task: Task) -> Job:
    """The task with its agent and its own limits."""
    agent = operator.registry.get(task.agent)
    if agent is None:
        raise InternalError(f"agent '{task.agent}' was checked and is gone")
    return Job(
        task,
        agent,
        task_timeout(task, agent.timeout_seconds, config),
        task_retries(task, agent.retries, config),
        has_references(task.input_data),
        workspace=_workspace(operator, task, agent),
    )
