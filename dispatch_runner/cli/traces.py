"""`traces`: list, show and prune the records of earlier dispatches."""

from dataclasses import asdict
from pathlib import Path

from dispatch_runner.cli import amounts
from dispatch_runner.cli.answers import answer_usage, print_document
from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.table import table
from dispatch_runner.errors import RecordError
from dispatch_runner.records import store


def list_dispatches(trace_dir: Path, limit: int, as_json: bool, channel: Channel) -> int:
    """Prints dispatches, the newest first."""
    try:
        total = len(store.names(trace_dir))
        shown = store.list_dispatches(trace_dir, limit or None)
    except RecordError as error:
        return answer_usage(channel, str(error), None)
    if as_json:
        print_document(channel, {"dispatches": [asdict(entry) for entry in shown], "total": total})
        return 0
    if not total:
        say(f"no dispatches in {trace_dir}")
        return 0
    rows = [("DISPATCH", "STATUS", "TASKS", "TIME", "CORRELATION ID")]
    rows += [
        (
            e.name,
            e.interrupted or e.status,
            str(e.task_count),
            _time(e.total_time_ms),
            e.correlation_id or "",
        )
        for e in shown
    ]
    channel.write(table(rows).encode())
    if resumable := next((entry.name for entry in shown if entry.resumable), None):
        say(f"what crashed or was interrupted can go on: dispatch-runner resume {resumable}")
    if len(shown) < total:
        say(f"and {total - len(shown)} older ones; --limit 0 shows all")
    return 0


def show_dispatch(trace_dir: Path, dispatch: str | None, task: str | None, channel: Channel) -> int:
    """Prints the index of a dispatch, or the trace of one of its tasks."""
    try:
        if dispatch is None:
            found = store.list_dispatches(trace_dir, newest=1)
            if not found:
                return answer_usage(channel, f"no dispatches in '{trace_dir}'", "see --trace-dir")
            dispatch = found[0].name
        elif not dispatch.startswith("dispatch-"):
            dispatch = _named_by_correlation_id(trace_dir, dispatch) or dispatch
        print_document(channel, store.show(trace_dir, dispatch, task))
    except RecordError as error:
        return answer_usage(channel, str(error), None)
    return 0


def _named_by_correlation_id(trace_dir: Path, beginning: str) -> str | None:
    """The one dispatch whose correlation id begins so, if there is one."""
    ids = {entry.name: entry.correlation_id or "" for entry in store.list_dispatches(trace_dir)}
    found = [name for name, known in ids.items() if known.startswith(beginning)]
    return found[0] if len(found) == 1 else None


def prune_dispatches(
    trace_dir: Path,
    keep: int | None,
    older_than: str | None,
    max_size: str | None,
    dry_run: bool,
    channel: Channel,
) -> int:
    """Removes what the flags say, and prints the names."""
    if keep is None and older_than is None and max_size is None:
        hint = "give --keep, --older-than or --max-size"
        return answer_usage(channel, "nothing says what to remove", hint)
    try:
        removed = store.prune(
            trace_dir,
            older_than=None if older_than is None else amounts.age(older_than),
            keep=keep,
            max_bytes=None if max_size is None else amounts.size(max_size),
            dry_run=dry_run,
        )
    except (RecordError, ValueError) as error:
        return answer_usage(channel, str(error), None)
    channel.write("".join(f"{name}\n" for name in removed).encode())
    say(f"{'would remove' if dry_run else 'removed'} {len(removed)}")
    return 0


def _time(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.2f} s"
