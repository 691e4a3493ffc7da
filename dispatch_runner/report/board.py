"""Progress as a live board on a terminal: what runs, what failed, what settled last.

Events only keep the tally; a thread draws, at most ten times a second, and once a second for the
clock. The terminal is never put into another mode and the cursor stays visible, so nothing needs
mending when this process is killed.
"""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dispatch_runner.clock import Clock
from dispatch_runner.events import Event
from dispatch_runner.report.output import Output, Pump
from dispatch_runner.report.summary import summary_lines
from dispatch_runner.report.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

REFRESH_SECONDS = 0.1
TICK_SECONDS = 1.0
SUMMARY_STYLE = {"success": "bold green", "partial": "bold yellow", "failure": "bold red"}
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"


class Board:
    """Draws over its own last picture; leaves the summary behind."""

    def __init__(
        self, output: Output, environ: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        self._output = output
        self._colours = not environ.get("NO_COLOR")
        self._clock = clock or Clock()
        self._tally = Tally()
        self._lock = threading.Lock()
        self._painter: Painter | None = None
        self._pump = Pump(output, self._draw, pause=REFRESH_SECONDS, idle=TICK_SECONDS)

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event, self._clock.monotonic())
        self._pump.notify()

    def close(self) -> None:
        """Replaces the board by the summary, if there is a result. Bounded in time."""
        self._pump.close()

    def _draw(self, closing: bool) -> str:
        """In the thread. rich is imported here, beside the work, not before it."""
        from dispatch_runner.report.frame import frame

        if self._painter is None:
            self._painter = Painter(colours=self._colours)
        columns, rows = self._output.size()
        with self._lock:
            result = self._tally.result
            lines = [] if closing and result else frame(
                self._tally, self._clock.monotonic(), columns, rows - 1
            )
        if closing and result:
            style = SUMMARY_STYLE[result.status]
            return self._painter.replace(summary_lines(result), style, columns)
        return self._painter.paint(lines, columns) + ("\r\n" if closing else "")


class Painter:
    """Turns lines into what must be written to draw over the lines before."""

    def __init__(self, *, colours: bool) -> None:
        self._console = _console(colours=colours)
        self._widths: list[int] = []
        """Of the lines on the screen, in cells; the cursor is at the end of the last one."""
        self._before = ""

    def paint(self, lines: Sequence[Text], columns: int) -> str:
        """Empty when nothing changed."""
        text = (_ERASE_LINE + "\r\n").join(map(self._coded, lines)) + _ERASE_LINE + _ERASE_BELOW
        if text == self._before:
            return ""
        home = self._home(columns)
        self._widths = [line.cell_len for line in lines]
        self._before = text
        return home + text
