"""Which dispatches can be resumed."""

from pathlib import Path

from dispatch_runner.errors import RecordError
from dispatch_runner.records import store


def newest_unfinished(trace_dir: Path) -> str | None:
    """The newest dispatch whose process died, or of which tasks were cancelled; null: there is none.

    Raises:
        RecordError: the folder cannot be read.
    """
    for entry in store.list_dispatches(trace_dir):
        if entry.resumable or (
            entry.status in {"partial", "failure"} and _cancelled(trace_dir, entry)
        ):
            return entry.name
    return None


def _cancelled(trace_dir: Path, entry: store.Entry) -> bool:
    try:
        summary = store.show(trace_dir, entry.name).get("summary")
    except RecordError:
        return False
    return bool(summary and summary.get("cancelled"))
