"""The first observer of a dispatch: everything is on disk before anyone is told.

For a task, in this order: its whole output if the trace does not hold it, its trace, its `finished`
record. A task that has the record is never lost; one that has not is run again by a resume.
"""

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import orjson

from dispatch_runner import __version__
from dispatch_runner.clock import Clock
from dispatch_runner.errors import RecordError
from dispatch_runner.events import (
    AttemptFailed,
    CacheConsulted,
    DispatchFinished,
    DispatchStarted,
    DispatchStopping,
    Event,
    ProviderHeld,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import JsonObject, Result
from dispatch_runner.models.trace import Attempt, Index, IndexEntry
from dispatch_runner.records.added import ADDED_NAME, AddedTasks
from dispatch_runner.records.background import Background
from dispatch_runner.records.folder import Folder, Reserve, reason
from dispatch_runner.records.journal import JOURNAL_NAME, Journal
from dispatch_runner.records.names import OUTPUT_SUFFIX, TaskNames
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.run_folder import REQUEST_NAME, RESULT_NAME, create_run_folder
from dispatch_runner.records.text import encode
from dispatch_runner.records.trace_text import TraceMaker

Durability = Literal["process", "power"]

NOTHING: Mapping[str, int] = MappingProxyType({})

LONGEST_MESSAGE = 1_000
"""Characters of an error's message in the journal; the trace has the whole."""

INDEX_INTERVAL = 1.0
"""Seconds between two rewrites of the index while a session adds tasks."""


class Recorder:
    """Writes the records of one dispatch. Called in the event loop's thread only."""

    def __init__(
        self,
        parent: Folder,
        name: str,
        folder: Folder,
        journal: Journal,
        index: Index,
        background: Background,
        redactor: Redactor,
        clock: Clock,
        names: TaskNames | None = None,
        attempts: Mapping[str, int] = NOTHING,
    ) -> None:
        """
        Args:
            names: file names that are taken.
            attempts: how many attempts of a task an earlier process made, by id.
        """
        self.run_folder = Path(folder.path)
        self.index_file = Path(parent.path_of(f"{name}.json"))
        self.result_file = self.run_folder / RESULT_NAME
        self.journal_file = self.run_folder / JOURNAL_NAME
        self._parent = parent
        self._folder = folder
        self._journal = journal
        self._index = index
        self._index_written = clock.monotonic()
        self._background = background
        self._redactor = redactor
        self._clock = clock
        self._traces = TraceMaker(index.correlation_id, redactor)
        self._names = names or TaskNames()
        self._attempts = attempts
        self._added: AddedTasks | None = None
        self._entries = {entry.task_id: entry for entry in index.tasks}
        for entry in index.tasks:
            self._names.name(entry.task_id)
        self._told_full = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            DispatchStarted: self._dispatch_started,
            TasksAdded: self._tasks_added,
            TaskStarted: self._task_started,
            AttemptFailed: self._attempt_failed,
            ProviderHeld: self._provider_held,
            CacheConsulted: _pass_over,  # the task's trace has it
            TaskFinished: self._task_finished,
            DispatchStopping: self._dispatch_stopping,
            DispatchFinished: self._dispatch_finished,
        }

    @classmethod
    def open(
        cls,
        trace_dir: Path,
        *,
        correlation_id: str,
        request: JsonObject,
        config: JsonObject,
        metadata: JsonObject,
        durability: Durability,
        redactor: Redactor,
        clock: Clock | None = None,
        operator: JsonObject | None = None,
    ) -> "Recorder":
        """The recorder of a new dispatch; request, journal and index are on disk.

        `operator` says by which settings it runs, for whoever resumes it.

        Raises:
            RecordError: they cannot be written. Nothing of this dispatch stays behind.
        """
        clock = clock or Clock()
        parent = Folder.open_or_create(trace_dir)
        try:
            name, folder = create_run_folder(parent, clock.wall())
        except RecordError:
            parent.close()
            raise
        opened = _Opening(parent, name, folder, clock)
        try:
            return opened.recorder(
                cls, correlation_id, request, _redacted(redactor, config), redactor.redact(metadata),
                durability, redactor, operator or {},
            )  # fmt: skip
        except BaseException:
            opened.undo()
            raise

    def trace_file(self, task_id: str) -> Path:
        """Where the task's trace is or will be."""
        return self.run_folder / f"{self._names.name(task_id)}.json"

    def output_prefix(self, task_id: str) -> Path:
        """What a task's program prints goes to `<prefix>.<attempt>.stdout` and `.stderr`."""
        return self.run_folder / self._names.name(task_id)

    def keep(self, tasks: Sequence[JsonObject]) -> None:
        """Tasks that are about to be added to those of the request: so that they can be resumed.

        Raises:
            RecordError: they could not be written.
        """
        self._added = self._added or AddedTasks(self._folder, self._redactor)
        for task in tasks:
            self._added.append(task)

    def __call__(self, event: Event) -> None:
        """Record an event. When this returns, the process may die.

        Raises:
            RecordError: it could not be recorded, or an earlier record turned out not to be safe.
                Also when the disk is full and this event was written with the last of the space
                set aside: nothing more should be started.
        """
        if self._background.failure is not None:
            raise self._background.failure
        self._handlers[type(event)](event)
        reserve = self._journal.reserve
        if reserve is not None and reserve.spent and not self._told_full:
            self._told_full = True
            raise RecordError(
                "go on writing in", self.run_folder, os.strerror(errno.ENOSPC).lower()
            )

    async def flush(self) -> None:
        """Wait until all records so far would outlive a power failure, if that was asked for.

        Then what programs printed is without secrets, too.

        Raises:
            RecordError: something of this could not be done.
        """
        if not self._background.idle():
            from anyio import to_thread

            await to_thread.run_sync(self._background.wait)
        elif self._background.failure is not None:
            raise self._background.failure

    def finish(self, result: Result) -> bytes:
        """Write the result and the final index, and end the journal.

        Returns:
            The content of the result file: the document for stdout, with a newline at its end.

        Raises:
            RecordError: they could not be written.
        """
        self._complete(result)
        if self._folder.has_moved():
            result.warnings.append(_MOVED.format(self.run_folder))
        document = _document(result)
        durable = self._background.durable
        if self._journal.reserve is not None:
            self._journal.reserve.drop()
        self._folder.write(RESULT_NAME, document, sync=durable)
        self._journal.append("result_written", data=orjson.dumps({"status": result.status}))
        if durable:
            self._journal.sync()
        index = self._index
        index.status, index.interrupted = result.status, result.interrupted
        index.total_time_ms, index.summary = result.summary.total_time_ms, result.summary
        index.result_file = str(self.result_file)
        self._write_index(sync=durable)
        self.close()
        return document

    def close(self) -> None:
        """Let go of everything. Without `finish`, the dispatch counts as crashed."""
        self._background.close()
        if self._journal.reserve is not None and self._folder.fd >= 0:
            self._journal.reserve.drop()
        self._journal.close()
        self._folder.close()
        self._parent.close()

    def _dispatch_started(self, event: DispatchStarted) -> None:
        self._journal.append(
            "dispatch_started", data=orjson.dumps({"max_workers": event.max_workers})
        )

    def _tasks_added(self, event: TasksAdded) -> None:
        new = [task for task in event.tasks if task.task_id not in self._entries]
        for task in new:
            entry = IndexEntry(task.task_id, task.agent, "pending", None)
            self._entries[task.task_id] = entry
            self._index.tasks.append(entry)
            place = self._added.place(task.task_id) if self._added else {}
            fields = orjson.dumps({"agent": task.agent, **place})
            self._journal.append("added", encode(task.task_id), data=fields)
        if new and self._added and self._background.durable:
            self._background.request((self._folder, ADDED_NAME))
        if new and self._clock.monotonic() - self._index_written >= INDEX_INTERVAL:
            self._write_index()

    def _task_started(self, event: TaskStarted) -> None:
        attempt = self._attempts.get(event.task_id, 0) + 1
        self._journal.append("started", encode(event.task_id), attempt)

    def _attempt_failed(self, event: AttemptFailed) -> None:
        self._traces.redact_error(event.error)
        fields = {
            "type": event.error.type,
            "message": event.error.message[:LONGEST_MESSAGE],
            "retry_in": round(event.retry_in, 3),
        }
        self._journal.append("attempt_failed", encode(event.task_id), event.attempt, encode(fields))

    def _provider_held(self, event: ProviderHeld) -> None:
        fields = {
            "provider": event.provider,
            "seconds": event.seconds,
            "resets_at": event.resets_at,
        }
        self._journal.append("provider_held", data=orjson.dumps(fields))

    def _task_finished(self, event: TaskFinished) -> None:
        result = event.result
        task = encode(result.task_id)
        name = self._names.name(result.task_id)
        text = self._traces.make(event, task, self._clock.utc())
        trace_name = f"{name}.json"
        files = [trace_name]
        more = b',"output_redacted":true' if text.output_redacted else b""
        if text.whole_output is not None:
            files.append(f"{name}{OUTPUT_SUFFIX}.json")
            self._folder.write(files[-1], text.whole_output)
            more += b',"output_bytes":%d,"output_crc":"%08x"' % (
                len(text.whole_output),
                zlib.crc32(text.whole_output),
            )
        self._folder.write(trace_name, text.trace)
        result.trace_file = self._folder.path_of(trace_name)
        entry = self._entries.get(result.task_id)
        if entry is not None:
            entry.status, entry.trace_file = result.status, result.trace_file
            entry.backend = result.backend
        fields = b'{"status":"%s","trace":"%s","bytes":%d,"trace_crc":"%08x"%s}' % (
            result.status.encode(),
            trace_name.encode(),
            len(text.trace),
            zlib.crc32(text.trace),
            more,
        )
        self._journal.append("finished", task, result.attempts, fields)
        printed = self._printed_files(event.attempts)
        if self._background.durable or printed:
            self._background.request(*((self._folder, file) for file in files), printed=printed)

    def _printed_files(self, attempts: Sequence[Attempt]) -> list[str]:
        """Names of what the task's programs printed into the run folder, when it is anything."""
        start = f"{self._folder.path}/"
        paths = [p for a in attempts for p in (a.stdout_file, a.stderr_file) if p]
        names = [p.removeprefix(start) for p in paths if p.startswith(start)]
        return [name for name in names if self._folder.size(name)]

    def _dispatch_stopping(self, event: DispatchStopping) -> None:
        self._journal.append("stopping", data=orjson.dumps({"cause": event.cause}))

    def _dispatch_finished(self, event: DispatchFinished) -> None:
        self._complete(event.result)

    def _complete(self, result: Result) -> None:
        result.trace_index = str(self.index_file)
        result.result_file = str(self.result_file)
        result.warnings = self._redactor.redact(result.warnings)

    def _write_index(self, *, sync: bool = False) -> None:
        write_index(self._parent, self._folder, self._index, sync=sync)
        self._index_written = self._clock.monotonic()


_MOVED = "'{}' was moved while tasks ran: its files are not where this document says"


class _Opening:
    """The steps that open a recorder, and how to undo them."""

    def __init__(self, parent: Folder, name: str, folder: Folder, clock: Clock) -> None:
        self._parent = parent
        self._name = name
        self._folder = folder
        self._clock = clock
        self._journal: Journal | None = None

    def recorder(
        self,
        cls: type[Recorder],
        correlation_id: str,
        request: JsonObject,
        config: JsonObject,
        metadata: JsonObject,
        durability: Durability,
        redactor: Redactor,
        operator: JsonObject,
    ) -> Recorder:
        folder, clock = self._folder, self._clock
        kept, text = redactor.redact_encoded(request)
        folder.write(REQUEST_NAME, text)
        header = header_of(correlation_id, request, REQUEST_NAME, kept is not request, operator)
        self._journal = journal = Journal.create(folder, header, clock)
        journal.reserve = folder.reserve = reserve_in(folder)
        index = Index(
            correlation_id=correlation_id,
            dispatch_timestamp=clock.utc(),
            status="running",
            interrupted=None,
            total_time_ms=None,
            task_count=0,
            config=config,
            metadata=metadata,
            summary=None,
            tasks=[
                IndexEntry(t["task_id"], t["agent"], "pending", None)
                for t in request.get("tasks", ())
            ],
            request_file=folder.path_of(REQUEST_NAME),
            result_file=None,
            journal_file=journal.path,
            pid=os.getpid(),
            version=__version__,
        )
        write_index(self._parent, folder, index)
        background = Background(folder, journal, redactor, durable=durability == "power")
        if background.durable:
            background.request((folder, REQUEST_NAME), (self._parent, f"{self._name}.json"))
        return cls(self._parent, self._name, folder, journal, index, background, redactor, clock)

    def undo(self) -> None:
        if self._journal is not None:
            self._journal.close()
        for name in (REQUEST_NAME, JOURNAL_NAME, ".reserve"):
            self._folder.remove(name)
        self._folder.close()
        self._parent.remove(f"{self._name}.json")
        self._parent.remove_folder(self._name)
        self._parent.close()


def _redacted(redactor: Redactor, config: JsonObject) -> JsonObject:
    """The names are ours, and one of them, `max_tokens`, would look like that of a secret."""
    return {name: redactor.redact(value) for name, value in config.items()}


def digest(request: JsonObject) -> str:
    """SHA-256 of a request: of its compact JSON text with sorted keys."""
    try:
        text = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        text = encode(request)
    return hashlib.sha256(text).hexdigest()


def header_of(
    correlation_id: str, request: JsonObject, file: str, redacted: bool, operator: JsonObject
) -> JsonObject:
    """What the journal says of the request that is run, and by which settings."""
    return {
        "correlation_id": correlation_id,
        "request_sha256": digest(request),
        "request_redacted": redacted,
        "request_file": file,
        "operator": operator,
        "version": __version__,
    }


def reserve_in(folder: Folder) -> Reserve:
    """Space for the last records. Raises `RecordError`."""
    try:
        return Reserve(folder)
    except OSError as error:
        raise RecordError("set space aside in", folder.path, reason(error)) from error


def write_index(parent: Folder, folder: Folder, index: Index, *, sync: bool = False) -> None:
    """The temporary name is the dispatch's own: others write indexes into the same folder."""
    index.task_count = len(index.tasks)
    name = os.path.basename(folder.path)
    parent.write(f"{name}.json", encode(index), sync=sync, via=f".{name}.new")


def _document(result: Result) -> bytes:
    """The result as one line. What the fast encoder refuses is encoded task by task."""
    try:
        return orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return encode(result) + b"\n"


def _pass_over(event: Event) -> None:
    """Nothing is recorded of it."""
