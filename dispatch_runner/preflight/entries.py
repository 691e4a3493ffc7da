"""One task while it is checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatch_runner.models import JsonObject, Task
from dispatch_runner.preflight.problems import quote
from dispatch_runner.references import Reference


@dataclass(slots=True)
class Entry:
    """A task of the request, right or wrong."""

    index: int
    task_id: object
    """As written; a string when it is valid."""
    fields: JsonObject
    """Its fields that have the right type."""
    task: Task | None
    """Null when its shape is wrong."""
    dependencies: Sequence[int] = ()
    """The tasks that it waits for, of those that exist; each once, never itself."""
    references: Sequence[Reference] = ()
    """In its `input_data`."""

    @property
    def dependencies_field(self) -> str:
        """As the request spells it."""
        return "depends_on" if "depends_on" in self.fields else "dependencies"


def in_tasks(entries: Sequence[Entry]) -> str:
    """The end of a warning about these tasks: how many, and the first."""
    first = quote(str(entries[0].task_id))
    return f"in task {first}" if len(entries) == 1 else f"in {len(entries)} tasks, first in {first}"
