"""One picture of a running dispatch, in lines that fit a terminal. Imports rich: import it late.

Whatever comes from a request goes through `wording` and into `Text`, never into markup.
"""

from itertools import islice
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from dispatch_runner.models import TaskResult, TaskStatus
from dispatch_runner.report.tally import Running, Tally
from dispatch_runner.report.wording import clock_time, duration, label, one_line, reason

MOST_FAILURES = 6
MOST_OTHERS = 6
NARROW = 60
"""Columns below which agents and descriptions are left out."""
ETA_AFTER_TASKS = 5
ETA_AFTER_SECONDS = 5.0
AGENT_WIDTH = 10

STYLE = {
    TaskStatus.SUCCESS: "green",
    TaskStatus.ERROR: "red",
    TaskStatus.TIMEOUT: "red",
    TaskStatus.BLOCKED: "yellow",
    TaskStatus.CANCELLED: "yellow",
}
_GLYPH = {
    TaskStatus.SUCCESS: "✓",
    TaskStatus.ERROR: "✗",
    TaskStatus.TIMEOUT: "✗",
    TaskStatus.BLOCKED: "–",
    TaskStatus.CANCELLED: "–",
}
_NOUN = {
    TaskStatus.ERROR: "failed",
    TaskStatus.TIMEOUT: "timed out",
    TaskStatus.BLOCKED: "blocked",
    TaskStatus.CANCELLED: "cancelled",
}


class Shown(NamedTuple):
    """What there is room for."""

    running: list[Running]
    hidden: int
    failures: list[TaskResult]
    others: list[TaskResult]


def frame(tally: Tally, now: float, columns: int, rows: int) -> list[Text]:
    """At most `rows` lines, each narrower than `columns`, whatever the number of tasks."""
    width = max(columns - 1, 1)  # some terminals wrap already when the last column is written
    shown = _choose(tally, max(rows - 2, 0))
    lines = [_header(tally, now, width), _bar(tally, width), *_body(shown, now, width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[: max(rows, 1)]


def _choose(tally: Tally, room: int) -> Shown:
    """Failures and the latest outcomes get a quarter each, what runs the rest; nobody's is wasted."""
    failures = min(len(tally.failures), MOST_FAILURES, room // 4)
    others = min(len(tally.others), MOST_OTHERS, room // 4)
    rows = min(len(tally.running), room - failures - others)
    failures = min(len(tally.failures), MOST_FAILURES, room - rows - others)
    others = min(len(tally.others), MOST_OTHERS, room - rows - failures)
    more = len(tally.running) > rows  # takes a row itself
    running = list(islice(tally.running.values(), max(rows - more, 0)))
    return Shown(
        running,
        len(tally.running) - len(running),
        [tally.failures[-n] for n in range(failures, 0, -1)],
        [tally.others[-n] for n in range(others, 0, -1)],
    )


def _header(tally: Tally, now: float, width: int) -> Text:
    """The parts that fit: the least important are left out first."""
    parts = [part for part in _header_parts(tally, now) if part.text]
    while len(parts) > 1 and sum(cell_len(part.text) + 2 for part in parts) - 2 > width:
        parts.remove(max(parts, key=lambda part: part.rank))
    return Text("  ").join(Text(part.text, part.style) for part in parts)


class Part(NamedTuple):
    """A piece of the header; a higher rank is left out earlier."""

    rank: int
    text: str
    style: str = ""


def _header_parts(tally: Tally, now: float) -> list[Part]:
    waiting = tally.total - tally.settled - len(tally.running)
    elapsed = now - tally.started_at
    return [
        Part(0, f"{tally.settled}/{tally.total}", "bold"),
        *(Part(2, _count(tally.counts[status], noun), STYLE[status]) for status, noun in _NOUN.items()),
        Part(3, _count(len(tally.running), "running"), "cyan"),
        Part(5, _count(waiting, "waiting"), "bright_black"),
        Part(1, f"stopping: {tally.stopping}" if tally.stopping else "", "bold yellow"),
        Part(1, clock_time(elapsed)),
        Part(4, _left(tally, elapsed), "bright_black"),
        Part(6, tally.correlation_id[:8], "bright_black"),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number > 0 else ""


def _left(tally: Tally, elapsed: float) -> str:
    """A guess that supposes the rest to take as long as what has been; not before there is some."""
    rest = tally.total - tally.settled
    if tally.settled < ETA_AFTER_TASKS or elapsed < ETA_AFTER_SECONDS or not rest or tally.stopping:
        return ""
    return f"~{clock_time(elapsed * rest / tally.settled)} left"


def _bar(tally: Tally, width: int) -> Text:
    """A piece for each kind of outcome, to scale; what is open is thin."""
    counts = tally.counts
    pieces = (
        (counts[TaskStatus.SUCCESS], "━", "green"),
        (counts[TaskStatus.ERROR] + counts[TaskStatus.TIMEOUT], "━", "red"),
        (counts[TaskStatus.BLOCKED] + counts[TaskStatus.CANCELLED], "━", "yellow"),
        (tally.total - tally.settled, "─", "bright_black"),
    )
    bar, done = Text(), 0
    for count, glyph, style in pieces:
        done += count
        bar.append(glyph * (width * done // max(tally.total, 1) - len(bar)), style)
    return bar


def _body(shown: Shown, now: float, width: int) -> list[Text]:
    ids = [each.task_id for each in (*shown.running, *shown.failures, *shown.others)]
    column = min(max((cell_len(label(each)) for each in ids), default=0), width * 2 // 5)
    return [
        *(_running(each, now, column, width) for each in shown.running),
        *([Text(f"  and {shown.hidden} more running", "cyan")] if shown.hidden else []),
        *(_settled(each, column, width) for each in (*shown.failures, *shown.others)),
    ]


def _running(task: Running, now: float, column: int, width: int) -> Text:
    waits = task.retry_at > now
    mark = Text("↻", "yellow") if waits else Text("•", "cyan")
    row = _row(mark, task.task_id, column, now - task.since, task.agent, width)
    if task.error is None:
        return row.append(one_line(task.description) if width >= NARROW else "", "bright_black")
    state = f"attempt {task.attempt}"
    state += f" in {duration(task.retry_at - now)}" if waits else ""
    return row.append(f"{state}: {task.error.type} ", "yellow").append(one_line(task.error.message))


def _settled(result: TaskResult, column: int, width: int) -> Text:
    style = STYLE[result.status]
    seconds = result.execution_time_ms / 1000 if result.attempts else None
    mark = Text(_GLYPH[result.status], style)
    row = _row(mark, result.task_id, column, seconds, result.agent, width)
    if result.status is TaskStatus.BLOCKED:
        return row.append("blocked ", style).append(reason(result))
    if result.error is None:
        return row
    return row.append(f"{result.error.type} ", style).append(one_line(result.error.message))


def _row(
    mark: Text, task_id: str, column: int, seconds: float | None, agent: str, width: int
) -> Text:
    row = mark.append(" ").append_text(_cell(task_id, column))
    row.append(f" {'' if seconds is None else duration(seconds):>6}  ", "bright_black")
    if width >= NARROW:
        row.append_text(_cell(agent, AGENT_WIDTH)).append("  ")
    return row


def _cell(text: str, width: int) -> Text:
    cell = Text(label(text))
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell
