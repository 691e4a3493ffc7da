"""Which lines of the files under suspicion a test runs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

Trace = Callable[[FrameType, str, Any], Any]


class Lines:
    """Collects executed lines; only code of the given files is traced line by line."""

    def __init__(self, files: Iterable[str]) -> None:
        self._seen: dict[str, set[int]] = {path: set() for path in files}
        self._early: dict[str, set[int]] = {path: set() for path in files}
        self._tracers: dict[str, Trace | None] = {}

    def start(self) -> None:
        """Forgets what was seen and begins to trace, in this thread and in new ones."""
        for found in (*self._seen.values(), *self._early.values()):
            found.clear()
        threading.settrace(self._trace)
        sys.settrace(self._trace)

    def stop(self) -> None:
        """Ends tracing; what was seen is kept."""
        sys.settrace(None)
        threading.settrace(None)

    def mark(self) -> None:
        """From now on, `late` counts anew."""
        for path, found in self._seen.items():
            self._early[path] |= found
            found.clear()

    def seen(self) -> dict[str, list[int]]:
        """All lines, by file."""
        return {
            path: sorted(found | self._early[path])
            for path, found in self._seen.items()
            if found or self._early[path]
        }

    def late(self) -> dict[str, list[int]]:
        """The lines since the last mark, by file."""
        return {path: sorted(found) for path, found in self._seen.items() if found}

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Trace | None:
        name = frame.f_code.co_filename
        try:
            return self._tracers[name]
        except KeyError:
            return self._learn(name)

    def _learn(self, name: str) -> Trace | None:
        lines = self._seen.get(os.path.realpath(name))
        self._tracers[name] = _tracer(lines) if lines is not None else None
        return self._tracers[name]


def _tracer(lines: set[int]) -> Trace:
    add = lines.add

    def trace(frame: FrameType, event: str, argument: Any) -> Trace:
        if event == "line":
            add(frame.f_lineno)
        return trace

    return trace
