"""Progress for programs: every event as one line of JSON."""

from pathlib import Path

from dispatch_runner.clock import Clock
from dispatch_runner.events import Event
from dispatch_runner.models import JsonObject
from dispatch_runner.report.event_lines import in_lines, to_json
from dispatch_runner.report.json_text import json_line
from dispatch_runner.report.output import LineWriter, Output, open_private


class NdjsonEvents:
    """Writes each event, in order and without a gap, within an instant of its happening."""

    def __init__(self, output: Output, clock: Clock | None = None) -> None:
        self._writer = LineWriter(output)
        self._clock = clock or Clock()
        self._started_at: float | None = None
        self._seq = 0

    def __call__(self, event: Event) -> None:
        for part in in_lines(event):
            self._writer.put(json_line({**self._stamp(), **to_json(part)}))

    def close(self) -> None:
        """Waits for the lines to be written."""
        self._writer.close()

    def _stamp(self) -> JsonObject:
        now = self._clock.monotonic()
        if self._started_at is None:
            self._started_at = now
        self._seq += 1
        elapsed = round((now - self._started_at) * 1000, 3)
        return {"event": "", "seq": self._seq, "time": self._clock.utc(), "elapsed_ms": elapsed}


def events_file(path: Path, clock: Clock | None = None) -> NdjsonEvents:
    """The events in a file of their own, see `open_private`. Raises `OSError`."""
    return NdjsonEvents(open_private(path), clock)
