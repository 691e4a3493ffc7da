"""What a journal tells of its tasks, record by record. Pure; nothing of it is checked against files."""

from dataclasses import dataclass, field

from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.records.journal import OPENED

KEPT = "kept"
"""A result that the next opening takes over, perhaps under another id; without one it means nothing."""

UNSETTLED = ("pending", "running", "lost")

_JUDGED_ANEW = {"running", "cancelled", "blocked"}
"""What an earlier process left: it is run again, or not, by the newer one."""


@dataclass(slots=True)
class Begun:
    """An attempt of which no trace tells yet."""

    attempt: int
    started_at: str
    mono: float
    ended_at: str | None = None
    seconds: float = 0.0
    cause: ErrorType | None = None
    """Why it failed; null: it did not end before its process."""
    message: str = ""


@dataclass(slots=True)
class RecordedTask:
    """A task as the records know it."""

    task_id: str
    agent: str
    status: str
    trace: str | None = None
    """Path or name of its trace."""
    started: float | None = None
    """When its last run began, by the monotonic clock."""
    finished: JsonObject | None = None
    """Its newest `finished` record, unless it was started again since."""
    earlier: JsonObject | None = None
    """Its newest `finished` record, in any case."""
    begun: list[Begun] = field(default_factory=list)
    """Attempts since that record."""


@dataclass(slots=True)
class Replay:
    """The state after the records that were applied, in their order."""

    tasks: dict[str, RecordedTask]
    header: JsonObject = field(default_factory=dict)
    """The newest `opened` record."""
    added: dict[str, JsonObject] = field(default_factory=dict)
    """The `added` records of tasks that are not in the request's file."""
    stopping: bool = False
    last: JsonObject | None = None
    """The newest record."""
    seconds: float = 0.0
    """How long the processes ran, all together."""
    peak: int = 0
    _began: float = 0.0
    _running: int = 0
    _kept: dict[str, JsonObject] = field(default_factory=dict)

    @property
    def pid(self) -> int | None:
        """Of the newest process."""
        return self.header.get("pid")

    def apply(self, record: JsonObject) -> None:
        name, event = record["task"], record["event"]
        if event == OPENED:
            self._open(record)
        elif event == "stopping":
            self.stopping = True
        elif event == "added":
            self.added[name] = record
            self.tasks.setdefault(name, RecordedTask(name, record["agent"], "pending"))
        elif event == KEPT:
            self._kept[name] = record
        elif name in self.tasks:
            self._of_a_task(self.tasks[name], event, record)
        self.last = record

    def elapsed(self) -> float:
        """Seconds that the processes ran, the newest one up to its last record."""
        return self.seconds + (self.last["mono"] - self._began if self.last else 0.0)

    def _open(self, record: JsonObject) -> None:
        if self.last is not None:
            self.seconds = self.elapsed()
        self._began, self._running, self.stopping, self.header = record["mono"], 0, False, record
        for task in self.tasks.values():
            if task.status in _JUDGED_ANEW:
                task.status = "pending"
            self._interrupt(task)
        if record.get("request_changed"):
            self.added.clear()
            for task in self.tasks.values():
                task.status, task.trace, task.finished, task.earlier = "pending", None, None, None
                task.begun.clear()
            for name, kept in self._kept.items():
                if name in self.tasks:
                    self._settle(self.tasks[name], kept)
        self._kept.clear()

    def _of_a_task(self, task: RecordedTask, event: str, record: JsonObject) -> None:
        match event:
            case "started":
                self._running += 1
                self.peak = max(self.peak, self._running)
                task.status, task.started, task.finished = "running", record["mono"], None
                task.begun.append(Begun(record["attempt"], record["time"], record["mono"]))
            case "attempt_failed" if task.begun:
                failed = task.begun[-1]
                failed.cause = ErrorType(record["type"])
                failed.message = record.get("message", "")
                self._end(failed, record)
                task.begun.append(Begun(record["attempt"] + 1, record["time"], record["mono"]))
            case "finished":
                self._running -= task.status == "running"
                self._settle(task, record)
            case _:
                pass  # of a newer version

    @staticmethod
    def _settle(task: RecordedTask, record: JsonObject) -> None:
        task.status, task.trace = record["status"], record["trace"]
        task.finished = task.earlier = record
        task.begun.clear()

    def _interrupt(self, task: RecordedTask) -> None:
        if task.begun and task.begun[-1].ended_at is None and self.last is not None:
            self._end(task.begun[-1], self.last)

    @staticmethod
    def _end(attempt: Begun, record: JsonObject) -> None:
        attempt.ended_at = record["time"]
        attempt.seconds = max(record["mono"] - attempt.mono, 0.0)
