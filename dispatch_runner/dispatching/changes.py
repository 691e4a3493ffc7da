"""A request that was given again and is another one: what is different, and which tasks are the same.

Two tasks are the same when their content is: agent, input as written, `run_when`, `checks`, `workspace`,
and the tasks that they depend on, by the same rule. Ids, descriptions, priorities and limits are not
content.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

import orjson

from dispatch_runner.models import JsonObject, Problem

CONTENT: Mapping[str, object] = {
    "agent": None, "input_data": None, "run_when": "all_success", "checks": [], "workspace": None,
}  # fmt: skip
"""Fields of a task that are its content, with what they mean when they are left out."""

MOST_PROBLEMS = 1_000
MOST_CHARACTERS = 60
"""How much of a value is shown."""
HINT = (
    "--accept-changes keeps the results of the tasks whose content is the same, and runs the rest"
)


def differences(before: JsonObject, after: JsonObject) -> list[Problem]:
    """What is different, task by task; never empty. At most 1,000."""
    found = list(islice(_differences(before, after), MOST_PROBLEMS))
    return found or [_problem("/tasks", "the order of the tasks was changed")]


def _differences(before: JsonObject, after: JsonObject) -> Iterator[Problem]:
    old = {task["task_id"]: task for task in before["tasks"]}
    new = {task["task_id"]: task for task in after["tasks"]}
    for name in sorted((before.keys() | after.keys()) - {"tasks"}):
        if before.get(name) != after.get(name):
            yield _problem(f"/{name}", f"'{name}' was changed")
    for task_id in old:
        if task_id not in new:
            yield _problem("/tasks", f"task '{task_id}' was removed", task_id)
    for place, (task_id, task) in enumerate(new.items()):
        pointer = f"/tasks/{place}"
        if task_id not in old:
            yield _problem(pointer, f"task '{task_id}' was added", task_id)
        elif changed := _changed_fields(old[task_id], task):
            names = ", ".join(changed)
            yield _problem(pointer, f"task '{task_id}' was changed: {names}", task_id)


def _changed_fields(old: JsonObject, new: JsonObject) -> list[str]:
    """The fields, of the input its members, with what they were and are."""
    names = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            keys = sorted(before.keys() | after.keys())
            parts = [(f"{name}.{key}", before.get(key), after.get(key)) for key in keys]
        else:
            parts = [(name, before, after)]
        names += [
            f"{part} ({_short(was)} -> {_short(now)})" for part, was, now in parts if was != now
        ]
    return names


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."


def _problem(pointer: str, message: str, task_id: str | None = None) -> Problem:
    return Problem("request_changed", pointer, message, HINT, task_id)


def mapping(
    before: Sequence[JsonObject], after: Sequence[JsonObject], finished: Collection[str]
) -> dict[str, str]:
    """Which finished task of before each task is, by id: one of the same content, each once.

    Among several of the same content the one with the same id is taken, then the first.
    """
    old, new = _contents(before), _contents(after)
    found = {name: name for name, key in new.items() if name in finished and old.get(name) == key}
    unused: dict[str, list[str]] = {}
    for name, key in reversed(old.items()):
        if name in finished and name not in found:
            unused.setdefault(key, []).append(name)
    for name, key in new.items():
        if name not in found and unused.get(key):
            found[name] = unused[key].pop()
    return found


def _contents(tasks: Sequence[JsonObject]) -> dict[str, str]:
    """Digest of each task's content, by id. There is no cycle."""
    from graphlib import TopologicalSorter

    by_id = {task["task_id"]: task for task in tasks}
    order = TopologicalSorter({name: _dependencies(task) for name, task in by_id.items()})
    found: dict[str, str] = {}
    for name in order.static_order():
        task = by_id[name]
        own = [task.get(field, default) for field, default in CONTENT.items()]
        parts = [own, [found[each] for each in _dependencies(task)]]
        text = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
        found[name] = hashlib.sha256(text).hexdigest()
    return {name: found[name] for name in by_id}


def _dependencies(task: JsonObject) -> list[str]:
    return list(task.get("dependencies") or task.get("depends_on") or ())
