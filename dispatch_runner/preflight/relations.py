"""Checks between tasks: dependencies, cycles, references."""

from collections.abc import Mapping, Sequence

from dispatch_runner import references
from dispatch_runner.preflight import graph
from dispatch_runner.preflight.entries import Entry, in_tasks
from dispatch_runner.preflight.problems import Problems, quote
from dispatch_runner.references import Reference

_CYCLE_SHOWN = 10


def check_relations(
    entries: Sequence[Entry], by_id: Mapping[str, Entry], problems: Problems
) -> None:
    """Fills in each entry's `dependencies` and `references`, and adds what is wrong with them."""
    _link(entries, by_id, problems)
    dependencies = [entry.dependencies for entry in entries]
    order = graph.topological_order(dependencies)
    if len(order) < len(entries):
        for cycle in graph.cycles(dependencies):
            _report_cycle([entries[number] for number in cycle], problems)
    _check_references(entries, by_id, order, problems)


def _link(entries: Sequence[Entry], by_id: Mapping[str, Entry], problems: Problems) -> None:
    repeated = []
    for entry in entries:
        names = entry.fields.get("dependencies")
        if not names:
            continue
        linked: dict[int, None] = {}
        for at, name in enumerate(names):
            other = by_id.get(name)
            if other is None or name == entry.task_id:
                _report_dependency(entry, at, name, by_id, problems)
            else:
                linked[other.index] = None
        entry.dependencies = list(linked)
        if len(set(names)) < len(names):
            repeated.append(entry)
    if repeated:
        problems.warnings.append(f"a dependency is named more than once {in_tasks(repeated)}")


def _report_dependency(
    entry: Entry, at: int, name: str, by_id: Mapping[str, Entry], problems: Problems
) -> None:
    place = ("tasks", entry.index, entry.dependencies_field, at)
    if name == entry.task_id:
        message = f"task {quote(name)} depends on itself"
        problems.add("self_dependency", place, message, "remove it", entry.task_id)
        return
    hint = problems.suggest(name, by_id) or "add the task, or remove the dependency"
    message = f"dependency {quote(name)} does not exist"
    problems.add("unknown_dependency", place, message, hint, entry.task_id)


def _report_cycle(cycle: Sequence[Entry], problems: Problems) -> None:
    last, first = cycle[-1], cycle[0]
    at = last.fields["dependencies"].index(first.task_id)
    names = [quote(str(entry.task_id))[1:-1] for entry in (*cycle, first)]
    if len(names) > 2 * _CYCLE_SHOWN:
        between = f"... {len(names) - 2 * _CYCLE_SHOWN} more ..."
        names = [*names[:_CYCLE_SHOWN], between, *names[-_CYCLE_SHOWN:]]
    problems.add(
        "cycle",
        ("tasks", last.index, last.dependencies_field, at),
        f"tasks wait for each other: {' -> '.join(names)}",
        "remove one of these dependencies",
        last.task_id,
    )


def _check_references(
    entries: Sequence[Entry],
    by_id: Mapping[str, Entry],
    order: Sequence[int],
    problems: Problems,
) -> None:
    asked: dict[tuple[int, int], Reference] = {}
    for entry in entries:
        value = entry.fields.get("input_data")
        if not value or not references.has_references(value):
            continue
        entry.references = references.find(value)
        for reference in entry.references:
            target = _target(entry, reference, by_id, problems)
            if target is not None:
                asked.setdefault((entry.index, target), reference)
    for number, target in graph.not_above(asked, [it.dependencies for it in entries], order):
        entry, other = entries[number], entries[target]
        reference = asked[number, target]
        message = (
            f"{_shown(reference)}: {quote(str(other.task_id))} is not a dependency of this task"
        )
        hint = f"add {quote(str(other.task_id))} to 'dependencies'"
        problems.add(
            "reference_not_a_dependency", _place(entry, reference), message, hint, entry.task_id
        )


def _target(
    entry: Entry, reference: Reference, by_id: Mapping[str, Entry], problems: Problems
) -> int | None:
    """The task that a reference names, or null after adding the problem."""
    place = _place(entry, reference)
    try:
        target = reference.target(by_id)
    except ValueError as error:
        problems.add("invalid_reference", place, str(error), references.FORM, entry.task_id)
        return None
    if target is None:
        name = reference.readings[-1][0]
        hint = problems.suggest(name, by_id) or "name a task of this request"
        message = f"{_shown(reference)}: task {quote(name)} does not exist"
        problems.add("unknown_reference", place, message, hint, entry.task_id)
        return None
    if target[0] == entry.task_id:
        message = f"{_shown(reference)}: a task has no output before it ends"
        problems.add("self_reference", place, message, "refer to another task", entry.task_id)
        return None
    return by_id[target[0]].index


def _place(entry: Entry, reference: Reference) -> tuple[str | int, ...]:
    return ("tasks", entry.index, "input_data", *reference.location)


def _shown(reference: Reference) -> str:
    return f"reference {quote(reference.text)}"
