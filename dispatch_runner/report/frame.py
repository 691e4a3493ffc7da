"""One picture of a running dispatch, in lines that fit a terminal. Imports rich: import it late.

Whatever comes from a request goes through `wording` and into `Text`, never into markup.
"""

from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from dispatch_runner.models import TaskResult, TaskStatus
from dispatch_runner.report.tally import Running, View
from dispatch_runner.report.wording import (
    cause,
    clock_time,
    duration,
    label,
    one_line,
    reason,
    spent_by,
)

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
    TaskStatus.BLOCKED: "-",
    TaskStatus.CANCELLED: "-",
}
_NOUN = {
    TaskStatus.ERROR: "failed",
    TaskStatus.TIMEOUT: "timed out",
    TaskStatus.BLOCKED: "blocked",
    TaskStatus.CANCELLED: "cancelled",
}


class Part(NamedTuple):
    """A piece of the header; a higher rank is left out earlier."""

    rank: int
    text: str
    style: str = ""


def frame(view: View, now: float, columns: int) -> list[Text]:
    """The header, a bar, and a line for each task in view; each narrower than `columns`."""
    width = max(columns - 1, 1)  # some terminals wrap already when the last column is written
    lines = [_header(view, now, width), _bar(view, width), *_body(view, now, width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _header(view: View, now: float, width: int) -> Text:
    """The parts that fit: the least important are left out first."""
    parts = [part for part in _header_parts(view, now) if part.text]
    while len(parts) > 1 and sum(cell_len(part.text) + 2 for part in parts) - 2 > width:
        parts.remove(max(parts, key=lambda part: part.rank))
    return Text("  ").join(Text(part.text, part.style) for part in parts)


def _header_parts(view: View, now: float) -> list[Part]:
    waiting = view.total - view.settled - view.running
    elapsed = now - view.started_at
    return [
        Part(0, f"{view.settled}/{view.total}", "bold"),
        *(
            Part(2, _count(view.counts[status], noun), STYLE[status])
            for status, noun in _NOUN.items()
        ),
        Part(3, _count(view.running, "running"), "cyan"),
        Part(5, _count(waiting, "waiting"), "dim"),
        Part(1, f"stopping: {view.stopping}" if view.stopping else "", "bold yellow"),
        Part(2, _held(view, now), "yellow"),
        Part(1, clock_time(elapsed)),
        Part(4, _left(view, elapsed), "dim"),
        Part(6, label(view.correlation_id[:8]), "dim"),
    ]


def _held(view: View, now: float) -> str:
    """Providers that hold calls back now, and for how long."""
    parts = [
        f"{label(provider)} held" + ("" if until is None else f" {duration(until - now)}")
        for provider, until in view.held.items()
        if until is None or until > now
    ]
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number > 0 else ""


def _left(view: View, elapsed: float) -> str:
    """A guess that supposes the rest to take as long as what has been; not before there is some."""
    rest = view.total - view.settled
    if view.settled < ETA_AFTER_TASKS or elapsed < ETA_AFTER_SECONDS or not rest or view.stopping:
        return ""
    return f"~{clock_time(elapsed * rest / view.settled)} left"


def _bar(view: View, width: int) -> Text:
    """A piece for each kind of outcome, to scale; what is open is thin."""
    counts = view.counts
    pieces = (
        (counts[TaskStatus.SUCCESS], "━", "green"),
        (counts[TaskStatus.ERROR] + counts[TaskStatus.TIMEOUT], "━", "red"),
        (counts[TaskStatus.BLOCKED] + counts[TaskStatus.CANCELLED], "━", "yellow"),
        (view.total - view.settled, "─", "dim"),
    )
    bar, done = Text(), 0
    for count, glyph, style in pieces:
        done += count
        bar.append(glyph * (width * done // max(view.total, 1) - len(bar)), style)
    return bar


def _body(view: View, now: float, width: int) -> list[Text]:
    ids = [each.task_id for each in view.longest]
    ids += [each.task_id for each in (*view.failures, *view.others)]
    column = min(max((cell_len(label(each)) for each in ids), default=0), width // 3)
    return [
        *(_running(each, now, column, width) for each in view.longest),
        *([Text(f"  and {view.hidden} more running", "cyan")] if view.hidden else []),
        *(_settled(each, column, width) for each in (*view.failures, *view.others)),
    ]


def _running(task: Running, now: float, column: int, width: int) -> Text:
    waits = task.retry_at > now
    mark = ("↻", "yellow") if waits else ("•", "cyan")
    row = _row(mark, task.task_id, column, now - task.since)
    if task.error is not None:
        when = f" in {duration(task.retry_at - now)}" if waits else ""
        return row.append(f"attempt {task.attempt}{when} ", "yellow").append(cause(task.error))
    if width < NARROW:
        return row
    row.append_text(_cell(task.agent, AGENT_WIDTH)).append("  ")
    return row.append(one_line(task.description), "dim")


def _settled(result: TaskResult, column: int, width: int) -> Text:
    style = STYLE[result.status]
    seconds = result.execution_time_ms / 1000 if result.attempts else None
    row = _row((_GLYPH[result.status], style), result.task_id, column, seconds)
    if result.status is TaskStatus.BLOCKED:
        return row.append("blocked ", style).append(reason(result))
    if result.status is TaskStatus.SUCCESS:
        if width < NARROW:
            return row
        return row.append_text(_cell(result.agent, AGENT_WIDTH)).append(
            f"  {spent_by(result)}", "dim"
        )
    return row.append(reason(result))


def _row(mark: tuple[str, str], task_id: str, column: int, seconds: float | None) -> Text:
    row = Text().append(*mark).append(" ").append_text(_cell(task_id, column))
    return row.append(f" {'' if seconds is None else duration(seconds):>6}  ", "dim")


def _cell(text: str, width: int) -> Text:
    cell = Text(label(text))
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell
