"""Progress as a live board on a terminal: what runs, what failed, what settled last.

Events only keep the tally; a thread draws, at most ten times a second, and once a second for the
clock. The terminal is never put into another mode and the cursor stays visible, so nothing needs
mending when this process is killed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING

from dispatch_runner.clock import Clock
from dispatch_runner.events import Event
from dispatch_runner.report.output import Output, Pump
from dispatch_runner.report.summary import summary_lines
from dispatch_runner.report.tally import Tally, View

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

REFRESH_SECONDS = 0.1
TICK_SECONDS = 1.0
_BOLD = {"success": "\x1b[1;32m", "partial": "\x1b[1;33m", "failure": "\x1b[1;31m"}
_RESET = "\x1b[0m"
_ERASE_LINE, _ERASE_BELOW = "\x1b[K", "\x1b[J"


class Board:
    """Draws over its own last picture; leaves the summary behind."""

    def __init__(
        self, output: Output, environ: Mapping[str, str], clock: Clock | None = None
    ) -> None:
        self._output = output
        self._clock = clock or Clock()
        self._tally = Tally()
        self._lock = threading.Lock()
        self._painter = Painter(colours=not environ.get("NO_COLOR"))
        self._pump = Pump(output, self._draw, pause=REFRESH_SECONDS, idle=TICK_SECONDS)

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._tally.add(event, self._clock.monotonic())
        self._pump.notify()

    def close(self) -> None:
        """Replaces the board by the summary, if there is a result. Bounded in time."""
        self._pump.close()

    def _draw(self, closing: bool) -> str:
        columns, rows = self._output.size()
        with self._lock:
            view = self._tally.view(rows - 1)
            result = self._tally.result
        if closing and result:
            return self._painter.replace(summary_lines(result), _BOLD[result.status], columns)
        picture = self._painter.paint(self._picture(view, columns, rows), columns)
        return picture + ("\r\n" if closing else "")

    def _picture(self, view: View, columns: int, rows: int) -> list[Text]:
        from dispatch_runner.report.frame import frame  # rich: in this thread, and not before 0.1 s

        return frame(view, self._clock.monotonic(), columns)[: max(rows - 1, 1)]


class Painter:
    """Turns lines into what must be written to draw over the lines before."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._console: Console | None = None
        self._widths: list[int] = []
        """Of the lines on the screen, in cells; the cursor is at the end of the last one."""
        self._before = ""

    def paint(self, lines: Sequence[Text], columns: int) -> str:
        """The lines in the place of the ones before; empty when nothing has changed."""
        text = (_ERASE_LINE + "\r\n").join(map(self._coded, lines)) + _ERASE_LINE + _ERASE_BELOW
        if text == self._before:
            return ""
        home = self._home(columns)
        self._widths = [line.cell_len for line in lines]
        self._before = text
        return home + text

    def replace(self, lines: Sequence[str], style: str, columns: int) -> str:
        """The text in the place of the lines before, the first line in a style.

        Whole, so that paths can be copied: the terminal wraps it. Needs no rich, which a dispatch that
        was over before the first picture has therefore not paid for.
        """
        first = f"{style}{lines[0]}{_RESET}" if self._colours else lines[0]
        text = "".join(f"{line}\r\n" for line in (first, *lines[1:]))
        return f"{self._home(columns)}{_ERASE_BELOW}{text}"

    def _coded(self, line: Text) -> str:
        console = self._console = self._console or _console(colours=self._colours)
        with console.capture() as capture:
            console.print(line, end="", soft_wrap=True)
        return capture.get()

    def _home(self, columns: int) -> str:
        """To the start of the lines before, which wrapped if the terminal has become narrower."""
        rows = sum(max(-(-width // columns), 1) for width in self._widths)
        return f"\r\x1b[{rows - 1}A" if rows > 1 else "\r"


def _console(*, colours: bool) -> Console:
    from rich.console import Console

    return Console(
        file=StringIO(), force_terminal=True, color_system="standard", no_color=not colours
    )
