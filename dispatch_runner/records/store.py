"""The records of earlier dispatches: list, show, prune. Reads as little as it can."""

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from dispatch_runner.errors import RecordError
from dispatch_runner.models import JsonObject
from dispatch_runner.records.folder import OPEN_FOLDER, READ, Folder, reason
from dispatch_runner.records.journal import JOURNAL_NAME, is_locked
from dispatch_runner.records.run_folder import INDEX_NAME, RUN_NAME, STAMP_LENGTH

HEAD = re.compile(
    rb'\{"correlation_id":(?P<correlation_id>"(?:[^"\\]|\\.)*")'
    rb',"dispatch_timestamp":(?P<dispatch_timestamp>"[^"]*")'
    rb',"status":(?P<status>"[a-z]+"),"interrupted":(?P<interrupted>null|"[A-Za-z_]+")'
    rb',"total_time_ms":(?P<total_time_ms>null|[0-9.e+-]+),"task_count":(?P<task_count>\d+),'
)
"""How every index begins. What a listing shows stands there, so that the rest is not read."""

HEAD_BYTES = 1_024

STARTING_SECONDS = 3_600
"""A run folder without an index may belong to a dispatch that is just starting, until it is this old."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One dispatch in a trace folder."""

    name: str
    """Of its run folder."""
    status: str
    """`running`, `crashed` (it did not end, and its process did), `success`, `partial`, `failure`;
    `unreadable` when its index is damaged."""
    correlation_id: str | None
    dispatch_timestamp: str | None
    interrupted: str | None
    total_time_ms: float | None
    task_count: int | None
    index_file: str
    resumable: bool
    """Whether its process died, or it was interrupted: `resume` runs what is left."""


def list_dispatches(trace_dir: Path, newest: int | None = None) -> list[Entry]:
    """Dispatches that have an index, newest first: all, or so many of the newest, and then no more
    is read than tells which these are. A folder that does not exist has none.

    Raises:
        RecordError: the folder cannot be read.
    """
    with _open(trace_dir) as folder:
        found = [_entry(folder, name) for name in _newest(_names(folder), newest)]
    found.sort(key=lambda e: (e.name[:STAMP_LENGTH], e.dispatch_timestamp or ""), reverse=True)
    return found[:newest]


def _newest(names: list[str], wanted: int | None) -> list[str]:
    """Of names, newest first: so many, and all of the same second as the last of these, since a name
    tells the second only."""
    if wanted is None or wanted >= len(names):
        return names
    stamp = names[wanted - 1][:STAMP_LENGTH] if wanted else ""
    return names[:wanted] + [n for n in names[wanted:] if n.startswith(stamp) and stamp]


def names(trace_dir: Path) -> list[str]:
    """Of every dispatch that has an index, newest first. Raises `RecordError`."""
    with _open(trace_dir) as folder:
        return _names(folder)


def entry(trace_dir: Path, name: str) -> Entry:
    """One dispatch, by its whole name. Raises `RecordError`."""
    with _open(trace_dir) as folder:
        return _entry(folder, name)


def show(trace_dir: Path, dispatch: str, task_id: str | None = None) -> JsonObject:
    """The index of a dispatch, with the status that is true now; or the trace of one of its tasks.

    Args:
        trace_dir: the folder of the records.
        dispatch: name of the dispatch, how it begins, or its last eight characters.
        task_id: the task whose trace is wanted.

    Raises:
        RecordError: there is no such dispatch or task, or several begin like that.
    """
    with _open(trace_dir) as folder:
        name = _resolve(folder, dispatch)
        status = _entry(folder, name).status
        index = _load(folder, f"{name}.json")
        if task_id is None:
            ended = index.get("status") != "running"  # perhaps since we looked
            return index if ended else {**index, "status": status}
        try:
            with folder.open_folder(name) as run:
                return _load(run, _trace_name(folder, name, index, task_id))
        except OSError as error:
            raise RecordError("open", folder.path_of(name), reason(error)) from error


def prune(
    trace_dir: Path,
    *,
    older_than: float | None = None,
    keep: int | None = None,
    max_bytes: int | None = None,
    dry_run: bool = False,
    now: float | None = None,
) -> list[str]:
    """Remove old dispatches, oldest first; never one that runs, never through a link.

    What a dispatch left that died before it had an index goes, too, when it is more than an hour old.

    Args:
        trace_dir: the folder of the records.
        older_than: remove what started more than so many seconds ago.
        keep: remove what is not among the newest so many.
        max_bytes: remove the oldest until the rest is no larger.
        dry_run: remove nothing, only say what would be removed.
        now: seconds since 1970; default: the present.

    Returns:
        Names of the dispatches that were removed.

    Raises:
        RecordError: something could not be read or removed.
    """
    now = time.time() if now is None else now
    with _open(trace_dir) as folder:
        found = _names(folder)
        doomed = set(found[keep:] if keep is not None else ())
        if older_than is not None:
            limit = _stamp(now - older_than)
            doomed.update(name for name in found if name[:STAMP_LENGTH] < limit)
        if max_bytes is not None:
            doomed.update(_over(folder, [n for n in found if n not in doomed], max_bytes))
        doomed.update(
            _without_index(folder, found, _stamp(now - max(older_than or 0, STARTING_SECONDS)))
        )
        return [name for name in sorted(doomed) if _remove(folder, name, dry_run=dry_run)]


def _open(trace_dir: Path) -> Folder:
    path = os.path.abspath(trace_dir)
    try:
        return Folder(path, os.open(path, OPEN_FOLDER))
    except FileNotFoundError:
        return Folder(path, -1)
    except OSError as error:
        raise RecordError("read trace folder", path, reason(error)) from error


def _names(folder: Folder) -> list[str]:
    """Dispatches that have an index, newest first."""
    found = (INDEX_NAME.fullmatch(name) for name in _listed(folder))
    return sorted((match[1] for match in found if match), reverse=True)


def _without_index(folder: Folder, indexed: Collection[str], before: str) -> list[str]:
    """Run folders whose dispatch never got an index, of a stamp before that one."""
    known = set(indexed)
    return [
        name
        for name in _listed(folder)
        if RUN_NAME.fullmatch(name) and name not in known and name[:STAMP_LENGTH] < before
    ]


def _listed(folder: Folder) -> list[str]:
    if folder.fd < 0:
        return []
    try:
        return os.listdir(folder.fd)
    except OSError as error:
        raise RecordError("read trace folder", folder.path, reason(error)) from error


def _entry(folder: Folder, name: str) -> Entry:
    head = _head(folder, f"{name}.json")
    if head.get("status") == "running" and not _runs(folder, name):
        # the final index is in place before the lock is given up: only now it tells the end
        head = _head(folder, f"{name}.json")
        if head.get("status") == "running":
            head["status"] = "crashed"
    status = str(head.get("status", "unreadable"))
    interrupted = head.get("interrupted")
    return Entry(
        name=name,
        status=status,
        correlation_id=head.get("correlation_id"),
        dispatch_timestamp=head.get("dispatch_timestamp"),
        interrupted=interrupted,
        total_time_ms=head.get("total_time_ms"),
        task_count=head.get("task_count"),
        index_file=folder.path_of(f"{name}.json"),
        resumable=status == "crashed" or (interrupted is not None and status != "running"),
    )


def _head(folder: Folder, name: str) -> JsonObject:
    try:
        fd = os.open(name, READ, dir_fd=folder.fd)
        try:
            start = os.read(fd, HEAD_BYTES)
        finally:
            os.close(fd)
        match = HEAD.match(start)
        if match:
            return {key: orjson.loads(text) for key, text in match.groupdict().items()}
        return _load(folder, name)
    except (OSError, RecordError):
        return {}


def _runs(folder: Folder, name: str) -> bool:
    try:
        with folder.open_folder(name) as run:
            return is_locked(run)
    except OSError:
        return False


def _load(folder: Folder, name: str) -> JsonObject:
    try:
        document = orjson.loads(folder.read(name))
    except OSError as error:
        raise RecordError("read", folder.path_of(name), reason(error)) from error
    except orjson.JSONDecodeError as error:
        raise RecordError("read", folder.path_of(name), f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RecordError("read", folder.path_of(name), "not a JSON object")
    return document


def _resolve(folder: Folder, dispatch: str) -> str:
    found = matching(_names(folder), dispatch)
    if not found:
        raise RecordError("find", folder.path_of(dispatch), "no such dispatch; see `traces list`")
    return the_only_one(found, folder.path_of(dispatch))


def matching(names: Collection[str], dispatch: str) -> list[str]:
    """The names that are meant: the very name, how it begins, or its last eight characters."""
    if dispatch in names:
        return [dispatch]
    starts = (dispatch, f"dispatch-{dispatch}")
    return [n for n in names if dispatch and (n.startswith(starts) or n.endswith(f"-{dispatch}"))]


def the_only_one(found: Sequence[str], wanted: str) -> str:
    """Raises `RecordError` when several are meant."""
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise RecordError("choose", wanted, f"several begin like that: {shown}")
    return found[0]


def _trace_name(folder: Folder, name: str, index: JsonObject, task_id: str) -> str:
    """File name of a task's trace. The index of a dispatch that did not end does not have it yet."""
    tasks: list[dict[str, Any]] = index.get("tasks", [])
    files = {task.get("task_id"): task.get("trace_file") for task in tasks}
    if files.get(task_id):
        return os.path.basename(str(files[task_id]))
    for record in _journal_records(folder, name):
        if record["event"] == "finished" and record["task"] == task_id:
            return os.path.basename(str(record["trace"]))
    cause = "it has not finished" if task_id in files else "no such task in this dispatch"
    raise RecordError("show task", task_id, cause)


def _journal_records(folder: Folder, name: str) -> list[JsonObject]:
    from dispatch_runner.records.journal import load

    return load(Path(folder.path, name, JOURNAL_NAME)).records


def _stamp(seconds: float) -> str:
    return time.strftime("dispatch-%Y%m%d_%H%M%S", time.gmtime(seconds))


def _over(folder: Folder, newest_first: list[str], limit: int) -> Iterator[str]:
    total = 0
    for name in newest_first:
        total += _size(folder, name)
        if total > limit:
            yield name


def _size(folder: Folder, name: str) -> int:
    """Bytes of a dispatch: its index and its run folder."""
    total = 0
    with suppress(OSError):
        total += os.stat(f"{name}.json", dir_fd=folder.fd, follow_symlinks=False).st_size
        for *_, files, fd in os.fwalk(name, dir_fd=folder.fd):
            sizes = (os.stat(file, dir_fd=fd, follow_symlinks=False).st_size for file in files)
            total += sum(sizes)
    return total


def _remove(folder: Folder, name: str, *, dry_run: bool) -> bool:
    """Remove a dispatch unless it runs. The index goes last: what is left can be pruned again."""
    try:
        if _is_link(folder, name):
            return False
        with suppress(FileNotFoundError), folder.open_folder(name) as run:
            lock = _lock_against_resume(run)
            if lock is None:
                return False
            try:
                if not dry_run:
                    shutil.rmtree(name, dir_fd=folder.fd)
            finally:
                os.close(lock)
    except OSError as error:
        raise RecordError("remove", folder.path_of(name), reason(error)) from error
    if not dry_run:
        folder.remove(f"{name}.json")
        folder.remove(f".{name}.new")
    return True


def _is_link(folder: Folder, name: str) -> bool:
    with suppress(FileNotFoundError):
        return not stat.S_ISDIR(os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_mode)
    return False


def _lock_against_resume(run: Folder) -> int | None:
    """Descriptor that holds the journal's lock, or of the folder without a journal; null: it runs."""
    try:
        fd = os.open(JOURNAL_NAME, READ, dir_fd=run.fd)
    except OSError:
        return os.dup(run.fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
