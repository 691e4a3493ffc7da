"""Words for people: one line, bounded, with nothing in it that a terminal obeys."""

from dispatch_runner.clock import utc_text
from dispatch_runner.events import ProviderHeld
from dispatch_runner.models import TaskError, TaskResult, TaskStatus

LABEL_LENGTH = 80
MESSAGE_LENGTH = 300
NAMED_ROOTS = 3

WORD = {
    TaskStatus.SUCCESS: "ok",
    TaskStatus.ERROR: "FAILED",
    TaskStatus.TIMEOUT: "TIMEOUT",
    TaskStatus.BLOCKED: "blocked",
    TaskStatus.CANCELLED: "cancelled",
}
"""How a line says what became of a task: capitals where somebody should look."""


def printable(text: str) -> str:
    """The text with everything that is not printable spelled out, such as `\\x1b` or `\\u202e`.

    Escape sequences, line ends, bidirectional overrides and lone surrogates come out as plain ASCII.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _spelled(each) for each in text)


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, marked when cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def label(text: str, limit: int = LABEL_LENGTH) -> str:
    """A task id, agent or path: spelled out, bounded; different white space stays different."""
    return shortened(printable(text[: limit + 1]), limit)


def one_line(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """A message: white space collapsed to single spaces, spelled out, bounded.

    Costs the same for a message of a megabyte.
    """
    collapsed = " ".join(text[: 4 * limit].split())
    return shortened(printable(collapsed) + ("…" if len(text) > 4 * limit else ""), limit)


def duration(seconds: float) -> str:
    """`7ms`, `0.4s`, `12.3s`, `1m 05s`, `2h 03m`."""
    if seconds < 0.0995:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02}s"
    return f"{minutes // 60}h {minutes % 60:02}m"


def clock_time(seconds: float) -> str:
    """`0:07`, `12:30`, `2:03:00`."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02}"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def reason(result: TaskResult) -> str:
    """Why a task did not succeed: `missing_file: ...` or `by gen-model and 2 more`; else empty."""
    if result.status is TaskStatus.BLOCKED and result.blocked_by:
        return f"by {roots(result.blocked_by)}"
    if result.error is None:
        return ""
    if result.error.type == result.status.value:  # `timeout` and `cancelled` need saying only once
        return one_line(result.error.message)
    return cause(result.error)


def spent_by(result: TaskResult) -> str:
    """Who answered and what it cost: `claude-code $0.0016`; empty where nothing was consumed."""
    if result.usage is None or result.backend is None:
        return ""
    cost = result.usage.cost_usd
    return result.backend if cost is None else f"{result.backend} {dollars(cost)}"


def dollars(amount: float) -> str:
    """`$0.0016`, `$12.5000`; what is less than that can show is not shown as nothing."""
    return "<$0.0001" if 0 < amount < 0.00005 else f"${amount:.4f}"


def cause(error: TaskError) -> str:
    """Type and message: `missing_file: ...`."""
    return f"{error.type}: {one_line(error.message)}"


def held(event: ProviderHeld) -> str:
    """`for 4.0s: 429 slow down`, or that it takes no more calls."""
    long = "no more calls" if event.seconds is None else f"for {duration(event.seconds)}"
    reset = event.resets_at
    when = "" if reset is None else f", resets at {utc_text(reset)}"
    return f"{long}{when}: {one_line(event.cause)}"


def roots(task_ids: tuple[str, ...]) -> str:
    """The first few ids, and how many more there are."""
    named = ", ".join(label(each) for each in task_ids[:NAMED_ROOTS])
    more = len(task_ids) - NAMED_ROOTS
    return f"{named} and {more} more" if more > 0 else named


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
