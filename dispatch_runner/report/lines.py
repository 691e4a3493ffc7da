"""Progress as plain lines: for logs, pipes and terminals that cannot do better."""

from dispatch_runner.clock import Clock
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
from dispatch_runner.models import TaskResult, TaskStatus
from dispatch_runner.report.output import LineWriter, Output
from dispatch_runner.report.summary import summary_lines
from dispatch_runner.report.tally import Tally
from dispatch_runner.report.wording import (
    WORD,
    cause,
    duration,
    held,
    label,
    one_line,
    reason,
    spent_by,
)

LINES_PER_SECOND = 10.0
BURST = 100
"""Good news is let through freely until there were so many lines, then at the rate above."""


class Lines:
    """One line for each start, success, failure and retry, then the summary.

    Failures, timeouts and retries are always shown. Starts, successes, blocked and cancelled tasks are
    thinned out when they come by the thousand; the counts in the next line, and a note at the end,
    say so.
    """

    def __init__(self, output: Output, clock: Clock | None = None) -> None:
        self._writer = LineWriter(output)
        self._clock = clock or Clock()
        self._tally = Tally()
        self._throttle = Throttle(LINES_PER_SECOND, BURST)
        self._left_out = 0

    def __call__(self, event: Event) -> None:
        now = self._clock.monotonic()
        self._tally.add(event, now)
        match event:
            case TaskStarted():
                if self._may_show(now):
                    self._put(now, "started", event.task_id, label(event.agent))
            case TaskFinished():
                self._finished(event.result, now)
            case AttemptFailed():
                self._put(now, "retry", event.task_id, _retry(event))
            case ProviderHeld():
                self._put(now, "held", event.provider, held(event))
            case CacheConsulted():
                self._put(now, event.answer, event.task_id, one_line(event.reason))
            case DispatchStarted():
                self._writer.put(
                    f"dispatch {label(event.correlation_id)}: up to {event.max_workers} tasks at once"
                )
            case TasksAdded():
                self._put(now, "added", _tasks(len(event.tasks)))
            case DispatchStopping():
                self._put(now, "stopping", event.cause or "cancelled")
            case DispatchFinished():
                self._summarise(event)

    def close(self) -> None:
        """Waits for the lines to be written."""
        self._writer.close()

    def _finished(self, result: TaskResult, now: float) -> None:
        failed = result.status is TaskStatus.ERROR or result.status is TaskStatus.TIMEOUT
        if failed or self._may_show(now):
            spent = duration(result.execution_time_ms / 1000) if result.attempts else ""
            notes = spent, spent_by(result), reason(result)
            self._put(now, WORD[result.status], result.task_id, *notes)

    def _may_show(self, now: float) -> bool:
        allowed = self._throttle.allows(now)
        self._left_out += not allowed
        return allowed

    def _put(self, now: float, word: str, subject: str, *notes: str) -> None:
        tally = self._tally
        width = len(str(tally.total))
        elapsed = duration(now - tally.started_at)
        head = f"[{tally.settled:{width}}/{tally.total}] {elapsed:>7} {word:<9} {label(subject)}"
        self._writer.put("  ".join((head, *filter(None, notes))))

    def _summarise(self, event: DispatchFinished) -> None:
        if self._left_out:
            self._writer.put(f"{self._left_out} more lines about tasks were not shown")
        for line in summary_lines(event.result):
            self._writer.put(line)


class Throttle:
    """Lets through `burst` at once, and `rate` a second after that."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._level = 0.0
        self._last = 0.0

    def allows(self, now: float) -> bool:
        self._level = max(0.0, self._level - (now - self._last) * self._rate)
        self._last = now
        if self._level + 1 > self._burst:
            return False
        self._level += 1
        return True


def _retry(event: AttemptFailed) -> str:
    return f"attempt {event.attempt} {cause(event.error)}; again in {duration(event.retry_in)}"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
