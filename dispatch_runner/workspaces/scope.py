"""Which changes were declared."""

from collections.abc import Mapping, Sequence

from dispatch_runner.engine.runner import Job
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, TaskError
from dispatch_runner.paths import identity, matches
from dispatch_runner.references import resolve
from dispatch_runner.workspaces.names import shown

SHOWN = 5


def declared(job: Job, outputs: Mapping[str, JsonObject]) -> list[str]:
    """Paths and globs that a task says it changes: its `modifies_files`, and what its agent writes."""
    value = job.task.input_data
    if job.has_references:
        try:
            value = resolve(value, outputs)
        except AgentError:
            value = {}  # the attempt will say so
    return sorted(map(identity, {*job.task.modifies_files, *job.agent.role.writes(value)}))


def outside(changed: Sequence[str], scope: Sequence[str]) -> list[str]:
    """The changed files that were not declared. Nothing declared: anything goes."""
    if not scope:
        return []
    return [path for path in changed if not any(matches(each, path) for each in scope)]


def complaint(files: Sequence[str]) -> str:
    """What is said of files outside the scope."""
    named = ", ".join(f"'{shown(path)}'" for path in files[:SHOWN])
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"changed outside its declared scope: {named}{more}"


def refusal(files: Sequence[str]) -> TaskError:
    """The error of a task that went outside its scope."""
    return TaskError(
        ErrorType.PERMISSION_DENIED,
        complaint(files),
        hint='declare the files in modifies_files, or set scope = "warn"',
        details={"files": [shown(path) for path in files[:100]]},
    )
