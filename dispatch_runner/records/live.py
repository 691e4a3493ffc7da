"""How a dispatch stands, read from its files by another process, at any moment of its life.

Nothing is written and nobody is disturbed. Until the end the journal is the truth; then the index.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from dispatch_runner.errors import RecordError
from dispatch_runner.models import Interruption, JsonObject, TaskResult, TaskStatus
from dispatch_runner.models.live import (
    DispatchState,
    PartialResult,
    RunningTask,
    ShortError,
    TaskCounts,
    UnsettledTask,
    UnsuccessfulTask,
)
from dispatch_runner.records import store
from dispatch_runner.records.folder import reason
from dispatch_runner.records.journal import JOURNAL_NAME, check_format, is_locked, load
from dispatch_runner.records.recorded import recorded_result, recorded_trace, tasks_of, trace_name
from dispatch_runner.records.register import Place, registered
from dispatch_runner.records.replay import UNSETTLED, RecordedTask, Replay
from dispatch_runner.records.run_folder import RESULT_NAME, STAMP_LENGTH

LISTED = 50
"""Running and unsuccessful tasks that a state lists at most."""

_CAUSES_FIRST = {status: rank for rank, status in enumerate(("error", "timeout", "cancelled"))}


def find(dispatch: str | None, trace_dir: Path, environ: Mapping[str, str]) -> Place:
    """The dispatch that is meant, in this trace folder or in any that this user's dispatches used.

    Args:
        dispatch: name of the run folder, how it begins, its last eight characters, how its
            correlation id begins, or the path of its index or run folder. Null: the newest of the
            trace folder, or if that has none, the newest that is known.
        trace_dir: where to look first.
        environ: says where the known ones are listed.

    Raises:
        RecordError: there is none, or several are meant.
    """
    if dispatch is not None and "/" in dispatch:
        path = Path(os.path.abspath(dispatch.removesuffix(".json")))
        return _existing(Place(path.parent, path.name))
    here = [Place(Path(os.path.abspath(trace_dir)), name) for name in store.names(trace_dir)]
    elsewhere = registered(environ)
    if dispatch is None:
        if not (here or elsewhere):
            raise RecordError("find a dispatch in", trace_dir, "there is none; see --trace-dir")
        return _newest(here or elsewhere)
    known = {place.name: place for place in (*elsewhere, *here)}
    found = store.matching(known, dispatch) or _of_correlation(known.values(), dispatch)
    if not found:
        hint = "no such dispatch here or among those of this user; see `traces list`, --trace-dir"
        raise RecordError("find", dispatch, hint)
    return known[store.the_only_one(found, dispatch)]


def runs(place: Place) -> bool:
    """Whether a living process holds the dispatch."""
    try:
        with place.opened() as run:
            return is_locked(run)
    except OSError:
        return False


def state_of(place: Place) -> DispatchState:
    """How the dispatch stands now. Lists at most 50 tasks of each kind.

    Raises:
        RecordError: its records cannot be read.
    """
    records = _Records.read(place)
    index, tasks = records.index, records.tasks
    now = sorted(
        (task for task in tasks.values() if task.status == "running"),
        key=lambda task: task.started or 0.0,
    )
    failed = sorted(
        (t for t in tasks.values() if t.status not in {*UNSETTLED, "success"}),
        key=lambda task: _CAUSES_FIRST.get(task.status, len(_CAUSES_FIRST)),
    )
    running = records.status == "running"
    ended = (
        not running and records.status != "crashed"
    )  # else there may be that of an earlier process
    return DispatchState(
        dispatch=place.name,
        status=records.status,
        interrupted=records.interrupted,
        correlation_id=index.get("correlation_id"),
        elapsed_seconds=round(records.elapsed_seconds(), 3),
        stopping=running and records.replay.stopping,
        tasks=_counts(tasks),
        running=[_running(task) for task in now[:LISTED]],
        running_omitted=max(len(now) - LISTED, 0),
        unsuccessful=[_unsuccessful(place, task) for task in failed[:LISTED]],
        unsuccessful_omitted=max(len(failed) - LISTED, 0),
        result_file=str(place.run_folder / RESULT_NAME) if ended and _has_result(place) else None,
        trace_index=f"{place.run_folder}.json",
        run_folder=str(place.run_folder),
        pid=records.replay.pid if running else None,
    )


def result_bytes(place: Place) -> bytes:
    """The result file of a dispatch that has ended, as it is. Raises `RecordError`."""
    try:
        with place.opened() as run:
            return run.read(RESULT_NAME)
    except OSError as error:
        raise RecordError("read", place.run_folder / RESULT_NAME, reason(error)) from error


def partial_result(place: Place) -> PartialResult | None:
    """What is known of a dispatch that has not ended: the whole result of every task that has.

    Null when the dispatch has ended, perhaps just now.

    Raises:
        RecordError: its records cannot be read.
    """
    records = _Records.read(place)
    if records.status not in {"running", "crashed"}:
        return None
    results: list[TaskResult | UnsettledTask] = []
    warnings = [records.warning] if records.warning else []
    for task in records.tasks.values():
        result = None if task.status in UNSETTLED else _result(place, task)
        if result is None and task.status not in UNSETTLED:
            warnings.append(f"the trace of task '{task.task_id}' is damaged: it counts as lost")
            task.status = "lost"
        results.append(result or UnsettledTask(task.task_id, task.agent, task.status))  # type: ignore[arg-type]
    return PartialResult(
        status=records.status,
        correlation_id=records.index.get("correlation_id"),
        results=results,
        tasks=_counts(records.tasks),
        trace_index=f"{place.run_folder}.json",
        warnings=warnings,
    )


@dataclass(slots=True)
class _Records:
    """The files of one dispatch, read once."""

    index: JsonObject
    status: Any
    interrupted: Interruption | None
    replay: Replay
    warning: str | None = None

    @property
    def tasks(self) -> dict[str, RecordedTask]:
        return self.replay.tasks

    @classmethod
    def read(cls, place: Place) -> "_Records":
        index = store.show(place.trace_dir, place.name)
        try:
            replay = Replay(tasks_of(index))
            found = cls(index, index["status"], index["interrupted"], replay)
            if found.status in {"running", "crashed"}:
                found._follow(place)
        except (KeyError, TypeError, ValueError) as error:
            file = f"{place.run_folder}.json"
            raise RecordError("read", file, f"it is not as we write it: {error!r}") from error
        return found

    def _follow(self, place: Place) -> None:
        """Brings the state up to date by the journal."""
        path = place.run_folder / JOURNAL_NAME
        loaded = load(path)
        check_format(loaded, path)
        for record in loaded.records:
            self.replay.apply(record)
        if self.status == "running":
            return
        self.warning = loaded.warning
        last = self.replay.last
        if last is not None and last["event"] == "result_written":
            # it died between its result and its index: all was done
            result = orjson.loads(result_bytes(place))
            self.status, self.interrupted = result["status"], result["interrupted"]
        for task in self.tasks.values():
            task.status = "lost" if task.status == "running" else task.status

    def elapsed_seconds(self) -> float:
        total = self.index.get("total_time_ms")
        if total is not None:
            return float(total) / 1000
        died = self.replay.last if self.status != "running" else None
        end = _seconds(died["time"]) if died else time.time()
        return max(end - _seconds(self.index["dispatch_timestamp"]), 0.0)


def _newest(places: Sequence[Place]) -> Place:
    """Names tell the second; within one, the index tells more."""
    same_second = (p for p in places if p.name[:STAMP_LENGTH] == places[0].name[:STAMP_LENGTH])
    return max(same_second, key=lambda place: store.entry(*place).dispatch_timestamp or "")


def _existing(place: Place) -> Place:
    if place.name not in store.names(place.trace_dir):
        raise RecordError("find", place.run_folder, "no such dispatch; see `traces list`")
    return place


def _of_correlation(places: Iterable[Place], beginning: str) -> list[str]:
    entries = (store.entry(*place) for place in places)
    return [e.name for e in entries if beginning and (e.correlation_id or "").startswith(beginning)]


def _counts(tasks: Mapping[str, RecordedTask]) -> TaskCounts:
    return TaskCounts(len(tasks), **Counter(task.status for task in tasks.values()))


def _running(task: RecordedTask) -> RunningTask:
    began = task.started if task.started is not None else time.monotonic()
    return RunningTask(task.task_id, task.agent, round(max(time.monotonic() - began, 0.0), 3))


def _result(place: Place, task: RecordedTask) -> TaskResult | None:
    try:
        with place.opened() as run:
            return recorded_result(run, task)
    except OSError:
        return None


def _unsuccessful(place: Place, task: RecordedTask) -> UnsuccessfulTask:
    try:
        with place.opened() as run:
            trace = recorded_trace(run, task) or {}
    except OSError:
        trace = {}
    error = trace.get("error")
    return UnsuccessfulTask(
        task.task_id,
        TaskStatus(task.status),
        ShortError(error["type"], error["message"]) if error else None,
        list(trace.get("blocked_by", ())),
        str(place.run_folder / trace_name(task)),
    )


def _has_result(place: Place) -> bool:
    try:
        with place.opened() as run:
            return run.size(RESULT_NAME) > 0
    except OSError:
        return False


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
