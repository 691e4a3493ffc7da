"""Which lines of the files under suspicion a test runs."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

Trace = Callable[[FrameType, str, Any], Any]

EARLY, LATE = 1, 2


class Lines:
    """Collects executed lines; only code of the given files is traced line by line.

    They are kept in memory that copies of this process share, so that a copy's lines are known
    however it ended.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        """`sources`: the text of each file by its real path."""
        self._places: dict[str, tuple[int, int]] = {}
        size = 1
        for path, text in sources.items():
            length = text.count("\n") + 2
            self._places[path] = (size, length)
            size += length
        self._seen = mmap.mmap(-1, size)
        self._tracers: dict[str, Trace | None] = {}
        self._stage = EARLY

    def start(self) -> None:
        """Forgets what was seen and begins to trace, in this thread and in new ones."""
        self._seen[:] = bytes(len(self._seen))
        self._stage = EARLY
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def stop(self) -> None:
        """Ends tracing; what was seen is kept."""
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type, unused-ignore]

    def mark(self) -> None:
        """From now on, lines are late."""
        self._stage = LATE

    def seen(self) -> dict[str, list[int]]:
        """All lines, by file."""
        return self._with(lambda stage: stage >= EARLY)

    def late(self) -> dict[str, list[int]]:
        """The lines since the mark, by file."""
        return self._with(lambda stage: stage == LATE)

    def _with(self, wanted: Callable[[int], bool]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for path, (first, length) in self._places.items():
            stages = self._seen[first : first + length]
            if any(stages):
                found[path] = [line for line, stage in enumerate(stages) if wanted(stage)]
        return {path: lines for path, lines in found.items() if lines}

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Trace | None:
        name = frame.f_code.co_filename
        try:
            return self._tracers[name]
        except KeyError:
            return self._learn(name)

    def _learn(self, name: str) -> Trace | None:
        place = self._places.get(os.path.realpath(name))
        self._tracers[name] = self._tracer(*place) if place is not None else None
        return self._tracers[name]

    def _tracer(self, first: int, length: int) -> Trace:
        seen = self._seen

        def trace(frame: FrameType, event: str, argument: Any) -> Trace:
            if event == "line":
                line = frame.f_lineno
                if line < length:
                    seen[first + line] = self._stage
            return trace

        return trace
