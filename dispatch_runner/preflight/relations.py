"""Checks between tasks: dependencies, cycles, references."""

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence

from dispatch_runner import references
from dispatch_runner.preflight import graph
from dispatch_runner.preflight.entries import Entry, in_tasks
from dispatch_runner.preflight.problems import Problems, quote
from dispatch_runner.references import Reference

_CYCLE_SHOWN = 10


class Relations:
    """The tasks of a request and those of the same dispatch that came earlier, `known`."""

    def __init__(
        self, entries: Sequence[Entry], known: Mapping[str, Sequence[str]], problems: Problems
    ) -> None:
        self._entries = entries
        self._known = known
        self._problems = problems
        self._by_id: dict[str, Entry] = {}
        """Of several tasks with one id the first."""
        self._names: ChainMap[str, object] = ChainMap(self._by_id, known)  # type: ignore[arg-type]

    def check(self) -> None:
        """Fills in each entry's `dependencies` and `references`, and adds what is wrong with them."""
        self._name()
        self._link()
        dependencies = [entry.dependencies for entry in self._entries]
        order = graph.topological_order(dependencies)
        if len(order) < len(self._entries):
            for cycle in graph.cycles(dependencies):
                self._report_cycle([self._entries[number] for number in cycle])
        self._check_references(dependencies, order)

    def _name(self) -> None:
        for entry in self._entries:
            if not isinstance(entry.task_id, str):
                continue
            first = self._by_id.setdefault(entry.task_id, entry)
            if first is entry and entry.task_id not in self._known:
                continue
            owner = "an earlier task" if first is entry else f"/tasks/{first.index}"
            message = f"task id {quote(entry.task_id)} is used more than once"
            hint = f"{owner} has it already; each task needs its own"
            place = ("tasks", entry.index, "task_id")
            self._problems.add("duplicate_task_id", place, message, hint, entry.task_id)

    def _link(self) -> None:
        repeated = []
        for entry in self._entries:
            names = entry.fields.get("dependencies")
            if not names:
                continue
            linked: dict[int, None] = {}
            for at, name in enumerate(names):
                other = self._by_id.get(name)
                if other is not None and name != entry.task_id:
                    linked[other.index] = None
                elif other is not None or name not in self._known:
                    self._report_dependency(entry, at, name)
            entry.dependencies = list(linked)
            if len(set(names)) < len(names):
                repeated.append(entry)
        if repeated:
            text = f"a dependency is named more than once {in_tasks(repeated)}"
            self._problems.warnings.append(text)

    def _report_dependency(self, entry: Entry, at: int, name: str) -> None:
        place = ("tasks", entry.index, entry.dependencies_field, at)
        if name == entry.task_id:
            message = f"task {quote(name)} depends on itself"
            self._problems.add("self_dependency", place, message, "remove it", entry.task_id)
            return
        hint = self._suggest(name) or "add the task, or remove the dependency"
        message = f"dependency {quote(name)} does not exist"
        self._problems.add("unknown_dependency", place, message, hint, entry.task_id)

    def _report_cycle(self, cycle: Sequence[Entry]) -> None:
        last, first = cycle[-1], cycle[0]
        at = last.fields["dependencies"].index(first.task_id)
        names = [quote(str(entry.task_id))[1:-1] for entry in (*cycle, first)]
        if len(names) > 2 * _CYCLE_SHOWN:
            between = f"... {len(names) - 2 * _CYCLE_SHOWN} more ..."
            names = [*names[:_CYCLE_SHOWN], between, *names[-_CYCLE_SHOWN:]]
        self._problems.add(
            "cycle",
            ("tasks", last.index, last.dependencies_field, at),
            f"tasks wait for each other: {' -> '.join(names)}",
            "remove one of these dependencies",
            last.task_id,
        )

    def _check_references(self, dependencies: graph.Dependencies, order: Sequence[int]) -> None:
        asked: dict[tuple[int, int], Reference] = {}
        for entry in self._entries:
            value = entry.fields.get("input_data")
            if not value or not references.has_references(value):
                continue
            entry.references = references.find(value)
            for reference in entry.references:
                name = self._target(entry, reference)
                if name in self._by_id:
                    asked.setdefault((entry.index, self._by_id[name].index), reference)
                elif name is not None and not self._is_above(name, entry):
                    self._report_unrelated(entry, reference, name)
        for number, target in graph.not_above(asked, dependencies, order):
            name = str(self._entries[target].task_id)
            self._report_unrelated(self._entries[number], asked[number, target], name)

    def _target(self, entry: Entry, reference: Reference) -> str | None:
        """The task that a reference names, or null after adding the problem."""
        try:
            target = reference.target(self._names)
        except ValueError as error:
            self._report_reference(
                "invalid_reference", entry, reference, str(error), references.FORM
            )
            return None
        if target is not None and target[0] != entry.task_id:
            return target[0]
        if target is not None:
            message = f"{_shown(reference)}: a task has no output before it ends"
            hint = "refer to another task"
            self._report_reference("self_reference", entry, reference, message, hint)
        else:
            name = reference.readings[-1][0]
            hint = self._suggest(name) or "name a task of this request"
            message = f"{_shown(reference)}: task {quote(name)} does not exist"
            self._report_reference("unknown_reference", entry, reference, message, hint)
        return None

    def _is_above(self, target: str, entry: Entry) -> bool:
        """Whether a known task is a direct or indirect dependency."""
        todo: list[str] = list(entry.fields.get("dependencies") or ())
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            if name == target:
                return True
            if name not in seen:
                seen.add(name)
                todo.extend(self._dependencies_of(name))
        return False

    def _dependencies_of(self, name: str) -> Iterable[str]:
        entry = self._by_id.get(name)
        if entry is None:
            return self._known.get(name, ())
        return entry.fields.get("dependencies") or ()

    def _report_unrelated(self, entry: Entry, reference: Reference, name: str) -> None:
        message = f"{_shown(reference)}: {quote(name)} is not a dependency of this task"
        hint = f"add {quote(name)} to 'dependencies'"
        self._report_reference("reference_not_a_dependency", entry, reference, message, hint)

    def _report_reference(
        self, code: str, entry: Entry, reference: Reference, message: str, hint: str
    ) -> None:
        place = ("tasks", entry.index, "input_data", *reference.location)
        self._problems.add(code, place, message, hint, entry.task_id)

    def _suggest(self, name: str) -> str | None:
        return self._problems.suggest(name, self._names)


def _shown(reference: Reference) -> str:
    return f"reference {quote(reference.text)}"
