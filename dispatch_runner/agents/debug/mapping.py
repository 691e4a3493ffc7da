"""Which affected file a printed path means, and which line of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.stacktraces import RawFrame

SCHEME = re.compile(
    r"^(?:webpack(?:-internal)?|file|https?|ng|package|app|rollup|vite)://?/?", re.IGNORECASE
)
LINE_MARKERS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of an affected file that a frame means."""

    source: Source
    line: int
    doubt: str = ""
    """Why the frame and the file may not be of one version; empty when they agree."""


def components(path: str) -> tuple[str, ...]:
    """The parts of a path as any tool prints it: URLs, Windows paths, bundler prefixes."""
    path = path.replace("\\", "/")
    if "://" in path:
        try:
            path = unquote(urlsplit(path).path) or path
        except ValueError:
            path = SCHEME.sub("", path)
    elif path.startswith(("package:", "file:")):
        path = path.partition(":")[2]
    path = path.partition("?")[0]
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """How many parts two paths share, counted from their ends."""
    count = 0
    for left, right in zip(reversed(first), reversed(second), strict=False):
        if left != right:
            break
        count += 1
    return count


class Mapper:
    """Maps frames onto affected files; remembers the parts of their paths and what was asked."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._by_name: dict[str, list[tuple[tuple[str, ...], Source]]] = {}
        for source in sources:
            parts = components(source.path)
            if parts:
                self._by_name.setdefault(parts[-1], []).append((parts, source))
        self._known: dict[tuple[str, str], Source | None] = {}

    def source(self, path: str, code: str = "") -> Source | None:
        """The affected file with the longest common end.

        Of several with the same end it is the only one that holds the printed code line; null when
        that does not decide either.
        """
        key = (path, code)
        if key not in self._known:
            self._known[key] = self._find(path, code)
        return self._known[key]

    def _find(self, path: str, code: str) -> Source | None:
        parts = components(path)
        scored = [
            (common_end(parts, known), source)
            for known, source in self._by_name.get(parts[-1] if parts else "", ())
        ]
        best = max((score for score, _ in scored), default=0)
        nearest = [source for score, source in scored if score == best and best]
        if len(nearest) > 1 and code:
            nearest = [source for source in nearest if _lines_with(source, code)]
        return nearest[0] if len(nearest) == 1 else None

    def place(self, frame: RawFrame) -> Place | None:
        """The line that the frame means, moved when the file changed and the code is found again."""
        if frame.line is None or frame.line < 1:
            return None
        source = self.source(frame.file, frame.code)
        if source is None:
            return None
        return _located(source, frame.line, frame.code)


def _located(source: Source, line: int, code: str) -> Place:
    if source.status != "analysed":
        return Place(source, line)
    found = source.line(line)
    if line <= len(source.lines) and _squeezed(code) in _squeezed(found):
        return Place(source, line)
    elsewhere = _lines_with(source, code) if code else []
    if len(elsewhere) == 1:
        moved = f"the trace prints this code at line {line}; it is at line {elsewhere[0]} now"
        return Place(source, elsewhere[0], moved)
    if line > len(source.lines):
        last = max(len(source.lines), 1)
        return Place(source, last, f"the trace names line {line}, the file has {len(source.lines)}")
    return Place(
        source,
        line,
        f"the trace prints {code[:120]!r} at line {line}, the file has {found.strip()[:120]!r}",
    )


def _lines_with(source: Source, code: str) -> list[int]:
    wanted = _squeezed(code)
    return [number for number, line in enumerate(source.lines, 1) if _squeezed(line) == wanted]


def _squeezed(code: str) -> str:
    return LINE_MARKERS.sub("", code)
