"""Continues a dispatch that an earlier process left: what has finished stays, the rest is run."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from dispatch_runner.dispatching.changes import HINT, differences, mapping
from dispatch_runner.dispatching.prepare import Operator, Prepared, prepare
from dispatch_runner.dispatching.run import Past
from dispatch_runner.errors import RequestRejected
from dispatch_runner.marks import MARKER, started_at
from dispatch_runner.models import Config, JsonObject, Problem, TaskResult, Usage
from dispatch_runner.models.request import Workspace
from dispatch_runner.models.trace import Attempt
from dispatch_runner.models.usage import total_usage
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.restore import Earlier, Reopening
from dispatch_runner.references import has_references
from dispatch_runner.settings import EffectiveConfig, Flags, effective
from dispatch_runner.settings.values import Merging

LIMITS = (
    "max_workers", "timeout_seconds", "dispatch_timeout_seconds", "retries", "fail_fast",
    "max_cost_usd", "max_tokens", "max_requests",
)  # fmt: skip
"""Settings that go on as they were unless a flag says otherwise."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What the caller says about a resume."""

    flags: Flags
    retry_failed: bool = False
    """Whether tasks that failed or ran out of time are run again, too."""
    accept_changes: bool = False
    """Whether another request, or other settings, may take the place of those of before."""
    request: bytes | None = None
    """The request, given again; null: the one in the records."""


class Resumption(NamedTuple):
    """What is run, and what stays."""

    prepared: Prepared
    past: Past

    @property
    def left(self) -> int:
        """Tasks without a result that stays."""
        return len(self.prepared.request.tasks) - len(self.past.known)


def is_complete(earlier: Earlier, wish: Wish) -> bool:
    """Whether there is nothing to run: it ended, and all that has no result is blocked by what has one."""
    if wish.request is not None or earlier.index["status"] == "running":
        return False
    known = earlier.results(retry_failed=wish.retry_failed)
    tasks = earlier.replay.tasks.values()
    settled = all(task.task_id in known or task.status == "blocked" for task in tasks)
    return settled and earlier.index["interrupted"] is None  # else the merge was


def resumption(operator: Operator, earlier: Earlier, wish: Wish) -> Resumption:
    """Checks everything; nothing has been written or started when it returns.

    Raises:
        RequestRejected: the request is wrong, was changed, or is needed again; or the settings differ.
    """
    operator = _as_before(operator, earlier)
    warnings = _other_settings(operator, earlier, wish)
    before = earlier.request
    prepared = prepare(operator, _request(earlier, wish))
    clean = Redactor(operator.environ).redact if earlier.redacted else _as_it_is
    document = prepared.document
    changed = not _is_the_same(earlier, document, clean(document))
    if changed and not wish.accept_changes:
        raise RequestRejected(_changes(earlier, Redactor(operator.environ).redact(document)))
    stays = _what_stays(earlier, wish, clean(document) if changed else None)
    config = _config(operator, prepared, earlier, before, wish.flags)
    request = dataclasses.replace(prepared.request, correlation_id=earlier.correlation_id)
    prepared = prepared._replace(request=request, config=config)
    warnings += stays.warnings
    warnings += _needing_secrets(prepared, stays, earlier.redacted_outputs())
    warnings += _unknown_consumption(prepared, stays.attempts)

    def reopen(redactor: Redactor, in_force: JsonObject) -> Recorder:
        way = Reopening(
            document, stays.mapping, stays.attempts, stays.known, stays.spent,
            operator.as_json(), operator.settings.durability,
        )  # fmt: skip
        return earlier.reopen(way, redactor, in_force)

    past = Past(
        reopen, stays.known, stays.attempts, stays.spent, earlier.replay.elapsed(),
        earlier.replay.peak, [*earlier.warnings, *warnings],
    )  # fmt: skip
    return Resumption(prepared, past)


class _Stays(NamedTuple):
    """What of the earlier processes goes on counting."""

    known: dict[str, TaskResult]
    attempts: Mapping[str, Sequence[Attempt]]
    mapping: dict[str, str] | None
    """As in `Reopening`."""
    spent: Usage | None
    warnings: list[str]


def _what_stays(earlier: Earlier, wish: Wish, changed: JsonObject | None) -> _Stays:
    """`changed` is the request that takes the place of the earlier one, if there is one."""
    known = earlier.results(retry_failed=wish.retry_failed)
    if changed is None:
        again = earlier.replay.tasks.keys() - known.keys()
        attempts = {name: made for name in again if (made := earlier.attempts(name))}
        return _Stays(known, attempts, None, earlier.spent, [])
    before = earlier.request
    same = {} if before is None else mapping(before["tasks"], changed["tasks"], known)
    kept = {new: dataclasses.replace(known[old], task_id=new) for new, old in same.items()}
    dropped = earlier.replay.tasks.keys() - set(same.values())
    spent = total_usage([earlier.spent, *earlier.consumed(dropped)])
    told = f"the request was changed: {len(kept)} results are kept"
    return _Stays(kept, {}, same, spent, [told])


def end_survivors(earlier: Earlier) -> None:
    """Ends the programs of the process that had the dispatch, if it was killed. Told by its marks: a process
    with its number may be another one."""
    holder = earlier.holder()
    if holder is None or (holder.started is not None and started_at(holder.pid) == holder.started):
        return
    if os.environ.get(MARKER, "").startswith(holder.marker):
        return  # we are one of them
    from dispatch_runner.process.leftovers import end_leftovers

    end_leftovers(holder.marker, holder.token)


def _request(earlier: Earlier, wish: Wish) -> bytes | JsonObject:
    if wish.request is not None:
        return wish.request
    again = f"give it again: dispatch-runner resume {earlier.place.name} FILE"
    if earlier.request is None:
        raise RequestRejected([Problem("request_needed", "", str(earlier.damage), again)])
    if earlier.redacted:
        message = "the request held secrets, which are not kept"
        raise RequestRejected([Problem("request_needed", "", message, again)])
    return earlier.request


def _as_it_is(document: JsonObject) -> JsonObject:
    return document


def _is_the_same(earlier: Earlier, document: JsonObject, clean: JsonObject) -> bool:
    if earlier.is_digest_of(document):
        return True
    # where the digest is lost or is not of all tasks, what is on disk has to do
    lost = not earlier.replay.header or bool(earlier.replay.added)
    return clean == earlier.request and (lost or not earlier.redacted)


def _changes(earlier: Earlier, document: JsonObject) -> list[Problem]:
    if earlier.request is None:
        message = f"it is not the request that was run, and that one is lost: {earlier.damage}"
        return [Problem("request_changed", "", message, HINT)]
    return differences(earlier.request, document)


def _as_before(operator: Operator, earlier: Earlier) -> Operator:
    """With the workspaces of before, unless a flag or the environment names others now.

    What starts programs or sends data away (backend, settings file) has to be named again.
    """
    adopted: dict[str, Any] = {
        key: value
        for key, values in _ADOPTED.items()
        if key not in operator.settings.overriding
        and (value := earlier.operator.get(key)) in values
    }
    return operator._replace(settings=dataclasses.replace(operator.settings, **adopted))


_ADOPTED = {"workspace": get_args(Workspace), "merge": get_args(Merging)}


def _other_settings(operator: Operator, earlier: Earlier, wish: Wish) -> list[str]:
    """Warnings about settings that are not those of before. Raises `RequestRejected` unless accepted."""
    now, before = operator.as_json(), earlier.operator
    found = [
        (f"{_WORDS[name]} was {_shown(before[name])}, now it is {_shown(now[name])}", _HINTS[name])
        for name in now
        if name in before and before[name] != now[name]
    ]
    if found and not wish.accept_changes:
        problems = [Problem("settings_changed", "", message, hint) for message, hint in found]
        raise RequestRejected(problems)
    return [message for message, _ in found]


_WORDS = {
    "folder": "the working directory",
    "settings_file": "the settings file",
    "backend": "the backend",
    "workspace": "the workspace of tasks",
    "merge": "the way to merge",
}
_HINTS = {
    "folder": "resume it there, or accept it with --accept-changes",
    "settings_file": "name it with --config, or accept the other with --accept-changes",
    "backend": "name it with --backend, or accept the other with --accept-changes",
    "workspace": "name it with --workspace, or accept the other with --accept-changes",
    "merge": "name it with --merge, or accept the other with --accept-changes",
}


def _shown(value: object) -> str:
    return "none" if value is None else f"'{value}'"


def _config(
    operator: Operator,
    prepared: Prepared,
    earlier: Earlier,
    request: JsonObject | None,
    flags: Flags,
) -> EffectiveConfig:
    """The limits of before, but for those that a flag, or a changed request, changes now."""
    asked, now, before = prepared.request.config, prepared.config.as_json(), earlier.index["config"]
    asked_before = (request or {}).get("config", {})
    wishes: JsonObject = {}
    for key in LIMITS:
        if getattr(flags, key) is not None:
            wishes[key] = None
        elif (
            key not in operator.settings.overriding
            and before.get(key) != now[key]
            and asked_before.get(key) == getattr(asked, key)
        ):
            wishes[key] = before.get(key)
    config: Config = dataclasses.replace(asked, **wishes)
    in_force = effective(operator.settings, config)
    return dataclasses.replace(in_force, trace_dir=earlier.place.trace_dir)


def _needing_secrets(prepared: Prepared, stays: _Stays, lost: set[str]) -> list[str]:
    """Warnings about tasks that get an output without its secrets."""
    names = stays.mapping or {name: name for name in stays.known}
    redacted = {new for new, old in names.items() if old in lost}
    warnings = []
    for task in prepared.request.tasks if redacted else ():
        if task.task_id in stays.known:
            continue
        used = redacted.intersection(task.dependencies)
        if has_references(task.input_data):
            text = str(task.input_data)
            used |= {name for name in redacted if name in text}
        if used:
            shown = ", ".join(f"'{name}'" for name in sorted(used))
            warnings.append(f"task '{task.task_id}' gets the output of {shown} without its secrets")
    return warnings


def _unknown_consumption(
    prepared: Prepared, attempts: Mapping[str, Sequence[Attempt]]
) -> list[str]:
    registry = prepared.operator.registry
    if not any(prepared.config.budget):
        return []
    agents = {task.task_id: registry.get(task.agent) for task in prepared.request.tasks}
    paid = [
        name
        for name, made in attempts.items()
        if (agent := agents[name]) is not None
        and agent.backend.provider is not None
        and any(attempt.usage is None for attempt in made)
    ]
    return [f"what task '{name}' consumed before is not known and does not count" for name in paid]
