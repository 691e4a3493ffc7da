"""A dispatch that an earlier process left: held by this one, read whole, and opened again.

From `hold` on nobody else runs, resumes or prunes it. Nothing is written before `reopen`.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import orjson

from dispatch_runner import __version__
from dispatch_runner.clock import Clock
from dispatch_runner.errors import RecordError
from dispatch_runner.models import ErrorType, JsonObject, TaskError, TaskResult, Usage
from dispatch_runner.models.trace import Attempt, Index, IndexEntry
from dispatch_runner.records import store
from dispatch_runner.records.added import added_tasks
from dispatch_runner.records.background import Background
from dispatch_runner.records.folder import RESERVE_NAME, TEMPORARY, Folder, reason
from dispatch_runner.records.journal import JOURNAL_NAME, OPENED, Journal
from dispatch_runner.records.kept import Kept, keep_under
from dispatch_runner.records.names import TaskNames
from dispatch_runner.records.recorded import recorded_attempts, recorded_result, recorded_trace
from dispatch_runner.records.recorder import (
    Durability,
    Recorder,
    digest,
    header_of,
    reserve_in,
    write_index,
)
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.register import Place
from dispatch_runner.records.replay import KEPT, Begun, RecordedTask, Replay
from dispatch_runner.records.run_folder import REQUEST_NAME

MARKED = re.compile(r"(?:.*/)?(\d+)-([0-9a-f]{12})-")
"""Less would be a marker of others, too."""

FINISHED = frozenset({"success", "error", "timeout"})
"""Statuses of tasks that ran to an end of their own."""


class Holder(NamedTuple):
    """The process that had the dispatch last."""

    pid: int
    started: int | None
    """In clock ticks since boot."""
    marker: str
    """What the markers of its programs begin with."""
    token: str


class Reopening(NamedTuple):
    """With what a dispatch goes on."""

    request: JsonObject
    """The request in force, with its secrets."""
    mapping: Mapping[str, str] | None
    """For a request that was changed: which earlier task's result each kept task has, by id."""
    attempts: Mapping[str, Sequence[Attempt]]
    """Earlier attempts of the tasks that are run again."""
    kept: Mapping[str, TaskResult]
    spent: Usage | None
    """Consumed by tasks of requests before this one, whose results are not kept."""
    operator: JsonObject
    durability: Durability


class Earlier:
    """What the records of a dispatch hold."""

    def __init__(self, place: Place, parent: Folder, run: Folder, clock: Clock) -> None:
        self.place = place
        self.warnings: list[str] = []
        self._parent = parent
        self._run = run
        self._clock = clock
        self._results: dict[bool, dict[str, TaskResult]] = {}
        self._journal, self._loaded = Journal.take_over(Path(run.path_of(JOURNAL_NAME)), clock)
        try:
            self.index = store.show(place.trace_dir, place.name)
            self._read()
        except (KeyError, TypeError, ValueError) as error:
            self._journal.close()
            path = run.path_of(JOURNAL_NAME)
            raise RecordError("read", path, f"it is not as we write it: {error!r}") from error
        except RecordError:
            self._journal.close()
            raise

    @classmethod
    def hold(cls, place: Place, clock: Clock | None = None) -> "Earlier":
        """Takes the dispatch over.

        Raises:
            JournalBusy: another process has it.
            RecordError: its records cannot be read, or are those of a newer version.
        """
        parent = Folder.open_or_create(place.trace_dir)
        try:
            run = parent.open_folder(place.name)
        except OSError as error:
            parent.close()
            raise RecordError("open", place.run_folder, reason(error)) from error
        try:
            return cls(place, parent, run, clock or Clock())
        except RecordError:
            run.close()
            parent.close()
            raise

    def release(self) -> None:
        """Gives it up as it was."""
        self._journal.close()
        self._run.close()
        self._parent.close()

    @property
    def correlation_id(self) -> str:
        return str(self.index["correlation_id"])

    @property
    def redacted(self) -> bool:
        """Whether the request on disk lacks secrets."""
        known = self.replay.header.get("request_redacted")
        if known is None:
            known = b"[redacted:" in orjson.dumps(self.request)
        return bool(known)

    @property
    def operator(self) -> JsonObject:
        """By which settings it ran; empty when that is not known."""
        found: JsonObject = self.replay.header.get("operator") or {}
        return found

    @property
    def spent(self) -> Usage | None:
        """As in `Reopening`, so far."""
        known = self.replay.header.get("spent")
        return None if known is None else Usage(**known)

    def consumed(self, names: Collection[str]) -> list[Usage | None]:
        """What those tasks have consumed, as far as it is recorded."""
        return [attempt.usage for name in names for attempt in self.attempts(name)]

    def holder(self) -> Holder | None:
        """Null when it wrote its result: then it left nothing."""
        last, header = self.replay.last, self.replay.header
        if last is None or last["event"] == "result_written":
            return None
        marker, token = header.get("marker"), header.get("token")
        found = MARKED.fullmatch(str(marker))
        if found is None or found[2] != token or found[1] != str(header["pid"]):
            return None
        return Holder(header["pid"], header["pid_started"], str(marker), str(token))

    def is_digest_of(self, request: JsonObject) -> bool:
        """Whether that is the very request, with its secrets, to which no tasks were added."""
        return not self.replay.added and self.replay.header.get("request_sha256") == digest(request)

    def results(self, *, retry_failed: bool) -> dict[str, TaskResult]:
        """The results that stay, by id. What is damaged is told in `warnings`, and is run again.

        A task that was blocked, or cancelled, has none: whether it can run is judged anew.
        """
        if retry_failed in self._results:
            return self._results[retry_failed]
        found = self._results[retry_failed] = {}
        for task in self.replay.tasks.values():
            if task.status not in FINISHED or (retry_failed and task.status != "success"):
                continue
            result = recorded_result(self._run, task)
            if result is None:
                self.warnings.append(
                    f"the trace of task '{task.task_id}' is damaged or missing: it is run again"
                )
            else:
                found[task.task_id] = result
        return found

    def redacted_outputs(self) -> set[str]:
        """Tasks whose output was recorded without its secrets."""
        tasks = self.replay.tasks.values()
        return {t.task_id for t in tasks if t.finished and t.finished.get("output_redacted")}

    def attempts(self, task_id: str) -> list[Attempt]:
        """Every attempt at a task that is known of, in order."""
        task = self.replay.tasks[task_id]
        trace = recorded_trace(self._run, task, task.earlier) if task.earlier else None
        earlier = recorded_attempts(trace) if trace else []
        return [*earlier, *(self._attempt(task_id, each) for each in task.begun)]

    def reopen(self, way: Reopening, redactor: Redactor, config: JsonObject) -> Recorder:
        """Opens the records again; the index says `running`, the journal that we have it.

        Raises:
            RecordError: they cannot be written.
        """
        run, journal = self._run, self._journal
        for leftover in (RESERVE_NAME, TEMPORARY):
            run.remove(leftover)
        self._parent.remove(f".{self.place.name}.new")
        journal.cut_torn_tail()
        header = self._header(way)
        if way.mapping is not None:
            header |= self._change_request(way, way.mapping, redactor)
        journal.append_header(header)
        counts = {"kept": len(way.kept), "left": len(way.request["tasks"]) - len(way.kept)}
        journal.append("resumed", data=orjson.dumps(counts))
        journal.reserve = run.reserve = reserve_in(run)
        index = self._new_index(way, header["request_file"], redactor.redact(config))
        if way.mapping is not None:
            index.metadata = redactor.redact(way.request.get("metadata", {}))
        write_index(self._parent, run, index)
        background = Background(run, journal, redactor, durable=way.durability == "power")
        printed = self._printed_by_the_interrupted()
        if background.durable or printed:
            files = ((run, header["request_file"]), (self._parent, f"{self.place.name}.json"))
            background.request(*files, printed=printed)
        made = {name: len(each) for name, each in way.attempts.items()}
        return Recorder(
            self._parent, self.place.name, run, journal, index, background, redactor, self._clock,
            self._names, made,
        )  # fmt: skip

    # -- reading ------------------------------------------------------------------------------

    def _read(self) -> None:
        if self._loaded.warning is not None:
            self.warnings.append(f"{self._loaded.warning} (the process was killed, or lost power)")
        openings = [record for record in self._loaded.records if record["event"] == OPENED]
        self.request_file = str((openings or [{}])[-1].get("request_file", REQUEST_NAME))
        self.damage: str | None = None
        """Why the request on disk cannot be used."""
        self.request = self._read_request(openings)
        known = self.request or self.index
        tasks = {
            t["task_id"]: RecordedTask(t["task_id"], t["agent"], "pending") for t in known["tasks"]
        }
        self.replay = Replay(tasks)
        for record in self._loaded.records:
            self.replay.apply(record)
        if self.replay.added and self.request is not None:
            added = added_tasks(self._run, self.replay.added.values())
            self.request = {**self.request, "tasks": [*self.request["tasks"], *added]}
        self._interrupt_the_running()
        self._names = self._names_of_before()

    def _read_request(self, openings: Sequence[JsonObject]) -> JsonObject | None:
        path = self._run.path_of(self.request_file)
        try:
            value: object = orjson.loads(self._run.read(os.path.basename(self.request_file)))
        except (OSError, ValueError) as error:
            self.damage = f"'{path}' cannot be read: {error}"
            return None
        header = openings[-1] if openings else None
        whole = header is not None and not header["request_redacted"]
        if not isinstance(value, dict) or (whole and digest(value) != header["request_sha256"]):  # type: ignore[index]
            self.damage = f"'{path}' is not the request that was run"
            return None
        return value

    def _interrupt_the_running(self) -> None:
        """What the last process ran ended with it."""
        last = self.replay.last
        for task in self.replay.tasks.values():
            if task.status == "running":
                task.status = "pending"
            if last is not None and task.begun and task.begun[-1].ended_at is None:
                task.begun[-1].ended_at = last["time"]
                task.begun[-1].seconds = max(last["mono"] - task.begun[-1].mono, 0.0)

    def _attempt(self, task_id: str, begun: Begun) -> Attempt:
        if begun.cause is None:
            error = TaskError(
                ErrorType.CANCELLED, "interrupted: its dispatcher ended while it ran",
                retryable=True, details={"cause": "interrupted"},
            )  # fmt: skip
        else:
            message = begun.message or "its message was lost with the dispatcher"
            error = TaskError(begun.cause, message, retryable=True)
        files = self._printed_by(task_id, begun.attempt)
        stdout, stderr = (self._run.path_of(f) if self._run.size(f) else None for f in files)
        return Attempt(
            begun.attempt, begun.started_at, begun.ended_at or begun.started_at,
            round(begun.seconds * 1000, 3), error, stdout, stderr,
        )  # fmt: skip

    def _printed_by(self, task_id: str, attempt: int) -> tuple[str, str]:
        name = self._names.name(task_id)
        return f"{name}.{attempt}.stdout", f"{name}.{attempt}.stderr"

    def _printed_by_the_interrupted(self) -> list[str]:
        """Files that nobody has searched for secrets yet."""
        files = (
            file
            for task in self.replay.tasks.values()
            for begun in task.begun
            for file in self._printed_by(task.task_id, begun.attempt)
        )
        return [file for file in files if self._run.size(file)]

    def _names_of_before(self) -> TaskNames:
        """The file names of before, for as many tasks as had a trace."""
        names = TaskNames()
        for task in self.replay.tasks.values():
            if task.earlier is not None:
                name = os.path.basename(str(task.earlier["trace"])).removesuffix(".json")
                names.take(task.task_id, name)
        for task_id in self.replay.tasks:
            names.name(task_id)
        return names

    # -- writing ------------------------------------------------------------------------------

    def _header(self, way: Reopening) -> JsonObject:
        header = header_of(
            self.correlation_id, way.request, self.request_file, self.redacted, way.operator
        )
        if way.spent is not None:
            header["spent"] = asdict(way.spent)
        if self.replay.added:  # the file holds only those of the beginning, and has their digest
            header["request_sha256"] = self.replay.header["request_sha256"]
        return header | {"version": __version__}

    def _change_request(
        self, way: Reopening, mapping: Mapping[str, str], redactor: Redactor
    ) -> JsonObject:
        """Puts the new request on disk, and what is kept under its ids into the journal: it counts from
        the header on that follows, all at once."""
        generation = sum(r["event"] == OPENED for r in self._loaded.records) + 1
        file = f"request-{generation}.json"
        kept, text = redactor.redact_encoded(way.request)
        self._run.write(file, text)
        fresh = TaskNames()
        for task_id, old in mapping.items():
            task = self.replay.tasks[old]
            record = Kept.of(task)
            if old != task_id:
                name = f"{fresh.name(task_id)}~{generation}"
                record = keep_under(self._run, task, task_id, name)
                self._names.take(task_id, name)
                way.kept[task_id].trace_file = self._run.path_of(f"{name}.json")
            self._journal.append(
                KEPT, orjson.dumps(task_id), record.attempt, orjson.dumps(record.fields)
            )
        return {
            "request_file": file,
            "request_redacted": kept is not way.request,
            "request_changed": True,
        }

    def _new_index(self, way: Reopening, file: str, config: JsonObject) -> Index:
        before = self.index
        tasks = []
        for task in way.request["tasks"]:
            result = way.kept.get(task["task_id"])
            status = "pending" if result is None else str(result.status)
            trace = None if result is None else result.trace_file
            backend = None if result is None else result.backend
            tasks.append(IndexEntry(task["task_id"], task["agent"], status, trace, backend))
        return Index(
            correlation_id=self.correlation_id,
            dispatch_timestamp=before["dispatch_timestamp"],
            status="running",
            interrupted=None,
            total_time_ms=None,
            task_count=len(tasks),
            config=config,
            metadata=before["metadata"],
            summary=None,
            tasks=tasks,
            request_file=self._run.path_of(file),
            result_file=None,
            journal_file=self._journal.path,
            pid=os.getpid(),
            version=__version__,
        )
