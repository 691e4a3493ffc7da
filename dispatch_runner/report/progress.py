"""Which report a caller gets."""

from collections.abc import Mapping
from typing import Literal, TextIO

from dispatch_runner.clock import Clock
from dispatch_runner.report.guarded import Report
from dispatch_runner.report.output import Output

ProgressMode = Literal["auto", "board", "lines", "json", "none"]


def progress(
    mode: ProgressMode,
    stream: TextIO | None,
    *,
    is_terminal: bool,
    environ: Mapping[str, str],
    clock: Clock | None = None,
) -> Report | None:
    """The report on a stream, or null when there shall be none or nowhere to write it.

    `auto` is the board on a terminal and lines elsewhere. The board needs a terminal that can move its
    cursor: on any other stream, and where `TERM` is `dumb` or not set, it becomes lines. Nothing is
    written and no thread is started before the first event. Wrap it in `Guarded`.
    """
    if mode == "none" or stream is None:
        return None
    if mode == "json":
        from dispatch_runner.report.ndjson import NdjsonEvents

        return NdjsonEvents(Output(stream, "utf-8"), clock)
    output = Output(stream)
    if (
        mode != "lines"
        and is_terminal
        and (environ.get("TERM") or "dumb") not in {"dumb", "unknown"}
    ):
        from dispatch_runner.report.board import Board

        return Board(output, environ, clock)
    from dispatch_runner.report.lines import Lines

    return Lines(output, clock)
