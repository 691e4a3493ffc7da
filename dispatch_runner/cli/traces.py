"""`traces`: list, show and prune the records of earlier dispatches."""

import re
from dataclasses import asdict
from pathlib import Path

from dispatch_runner.cli.answers import answer_usage, print_document
from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.table import table
from dispatch_runner.errors import RecordError
from dispatch_runner.records import store

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def list_dispatches(trace_dir: Path, limit: int, as_json: bool, channel: Channel) -> int:
    """Prints dispatches, the newest first."""
    try:
        found = store.list_dispatches(trace_dir)
    except RecordError as error:
        return answer_usage(channel, str(error), None)
    shown = found[:limit] if limit else found
    if as_json:
        print_document(
            channel, {"dispatches": [asdict(entry) for entry in shown], "total": len(found)}
        )
        return 0
    if not found:
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
    if len(shown) < len(found):
        say(f"and {len(found) - len(shown)} older ones; --limit 0 shows all")
    return 0


def show_dispatch(trace_dir: Path, dispatch: str | None, task: str | None, channel: Channel) -> int:
    """Prints the index of a dispatch, or the trace of one of its tasks."""
    try:
        if dispatch is None:
            found = store.list_dispatches(trace_dir)
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
            older_than=None
            if older_than is None
            else _number(older_than, _SECONDS, "30d, 12h, 45m"),
            keep=keep,
            max_bytes=None if max_size is None else int(_number(max_size, _BYTES, "500M, 2G")),
            dry_run=dry_run,
        )
    except (RecordError, ValueError) as error:
        return answer_usage(channel, str(error), None)
    channel.write("".join(f"{name}\n" for name in removed).encode())
    say(f"{'would remove' if dry_run else 'removed'} {len(removed)}")
    return 0


def _number(text: str, units: dict[str, int], examples: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]?)", text.strip())
    unit = match[2] if match else None
    if match is None or (unit not in units and match[2].upper() not in units):
        raise ValueError(f"'{text}' is not of the form {examples}")
    return float(match[1]) * units.get(match[2], units.get(match[2].upper(), 1))


def _time(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds / 1000:.2f} s"
