"""All checks of a request before anything starts: every problem at once, or a request that can run."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import NamedTuple

from dispatch_runner.models import Config, JsonObject, Request
from dispatch_runner.paths import AllowedRoots, identity
from dispatch_runner.preflight import shape
from dispatch_runner.preflight.entries import Entry, in_tasks
from dispatch_runner.preflight.problems import Problems, collector_paused, describe, quote
from dispatch_runner.preflight.relations import Relations
from dispatch_runner.preflight.surroundings import (
    check_agents,
    check_checks,
    check_costs,
    check_files,
    check_limits,
)
from dispatch_runner.protocols import Agents

REQUEST_FIELDS = frozenset({*(field.name for field in fields(Request)), "$schema"})

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, and those that make text run backwards on a screen."""


class Checked(NamedTuple):
    """A request that can run."""

    request: Request
    warnings: list[str]


def check(
    document: object,
    *,
    agents: Agents,
    roots: AllowedRoots,
    limits: Mapping[str, int | None],
    problems: Problems | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
    checks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    cost_limited: bool = False,
    unknown_cost_is_free: bool = False,
) -> Checked:
    """The request in a document, or every problem of it.

    Args:
        document: JSON as `document.parse` returns it: text without lone surrogates, finite numbers.
            It becomes part of the request without being copied.
        agents: what the names in the request stand for; asked once for each name.
        roots: where tasks may read and write.
        limits: capacity of each resource that the operator defined; null: only a rate.
        problems: what was found wrong before; the answer includes it.
        known: tasks of the same dispatch that came earlier, with their dependencies; the new ones
            may depend on them and refer to them.
        checks: the command of each acceptance check that the operator defined.
        cost_limited: whether the operator set a budget in USD.
        unknown_cost_is_free: whether agents may run under one whose cost will not be known.

    Raises:
        RequestRejected: with at most 1,000 problems, and how many more there are as a warning.
    """
    problems = Problems() if problems is None else problems
    with collector_paused():
        if not isinstance(document, dict):
            message = f"the request must be an object, not {describe(document)}"
            problems.add("not_an_object", (), message, 'write {"tasks": [...]}')
            document = {}
        else:
            _check_top(document, problems)
        config = _read_config(document, roots, problems)
        entries = _read_tasks(document, problems)
        Relations(entries, known or {}, problems).check()
        check_agents(entries, agents, roots, problems)
        check_limits(entries, limits, problems)
        check_checks(entries, checks, agents, problems)
        if not unknown_cost_is_free:
            limited = cost_limited or config.max_cost_usd is not None
            check_costs(entries, agents, limited, problems)
        check_files(entries, roots, problems)
        problems.raise_if_any()
        request = Request(
            tasks=[entry.task for entry in entries if entry.task],
            config=config,
            correlation_id=document.get("correlation_id"),
            metadata=document.get("metadata", {}),
        )
    return Checked(request, problems.warnings)


def _check_top(document: JsonObject, problems: Problems) -> None:
    unknown = document.keys() - REQUEST_FIELDS
    shape.report_unknown(unknown, (), REQUEST_FIELDS, problems, None)
    for name, kind, wanted in (("$schema", str, "a string"), ("metadata", dict, "an object")):
        if name in document and not isinstance(document[name], kind):
            message = f"'{name}' must be {wanted}, not {describe(document[name])}"
            problems.add("invalid_type", (name,), message)
    correlation_id = document.get("correlation_id")
    if correlation_id is None:
        return
    if not isinstance(correlation_id, str):
        message = f"'correlation_id' must be a string, not {describe(correlation_id)}"
        problems.add("invalid_type", ("correlation_id",), message)
    elif not _UUID.fullmatch(correlation_id):
        message = f"'correlation_id' must be a UUID, not {quote(correlation_id)}"
        hint = "such as 1f0c9a52-7c1e-4b7e-9d0a-3f5b8e2c6a41; or leave it out"
        problems.add("invalid_value", ("correlation_id",), message, hint)


def _read_config(document: JsonObject, roots: AllowedRoots, problems: Problems) -> Config:
    if "config" not in document:
        return Config()
    config = shape.read_config(document["config"], problems)
    wanted = isinstance(document["config"], dict) and document["config"].get("trace_dir")
    if isinstance(wanted, str) and wanted:
        _check_trace_dir(wanted, roots, problems)
    return config or Config()


def _check_trace_dir(wanted: str, roots: AllowedRoots, problems: Problems) -> None:
    if "\0" not in wanted:
        # Resolved before it is judged: wildcards in it are ordinary characters.
        wanted = identity(os.path.join(roots.roots[0], wanted))  # noqa: PTH118 - text in, text out
    found = roots.problem(wanted)
    if found is not None:
        code, message, hint = found
        problems.add(code, ("config", "trace_dir"), message, hint)


def _read_tasks(document: JsonObject, problems: Problems) -> list[Entry]:
    tasks = document.get("tasks")
    if isinstance(tasks, list) and tasks:
        entries = []
        for index, item in enumerate(tasks):
            if problems.full:
                problems.warnings.append(f"{len(tasks) - index} tasks were not looked at")
                problems.raise_if_any()
            entries.append(_read_task(index, item, problems))
        aliased = [entry for entry in entries if "depends_on" in entry.fields]
        if aliased:
            text = "'depends_on' is read as 'dependencies'"
            problems.warnings.append(f"{text} {in_tasks(aliased)}")
        return entries
    hint: str | None = 'write {"tasks": [{"task_id": ..., "agent": ..., "input_data": {...}}]}'
    if "tasks" not in document:
        problems.add("missing_field", (), "field 'tasks' is missing", hint)
    elif tasks == []:
        problems.add("out_of_range", ("tasks",), "'tasks' is empty", "give at least one task")
    else:
        message = f"'tasks' must be a list, not {describe(tasks)}"
        problems.add("invalid_type", ("tasks",), message, hint)
    return []


def _read_task(index: int, item: object, problems: Problems) -> Entry:
    task, fields = shape.read_task(item, ("tasks", index), problems)
    task_id = fields.get("task_id")
    if isinstance(task_id, str) and (not task_id.isprintable() or task_id.isspace()):
        _check_printable(task_id, index, problems)
    return Entry(index, task_id, fields, task)


def _check_printable(task_id: str, index: int, problems: Problems) -> None:
    bad = _UNPRINTABLE.search(task_id)
    if bad is None and not task_id.isspace():
        return
    what = f"the control character U+{ord(bad[0]):04X}" if bad else "only white space"
    message = f"task id {quote(task_id)} holds {what}"
    place = ("tasks", index, "task_id")
    problems.add("unprintable_id", place, message, "use printable text", task_id)
