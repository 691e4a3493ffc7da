"""Where a program's output goes: straight to a file, bounded, with head and tail kept."""

import errno
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from dispatch_runner.errors import RecordError

MARK_SIZE = 64
"""Bytes of the mark that stands in a file for what was left out."""

LOOK_SECONDS = 0.05
"""How often the sizes of the files are looked at while programs run."""

COPY_SIZE = 1 << 20
SMALLEST_LIMIT = 1024


def cut(text: str, limit: int) -> str:
    """The text, or its head and tail around a mark: never longer than `limit` characters.

    A limit that has no room for a mark gives the tail alone.
    """
    if len(text) <= limit:
        return text
    mark = f"\n[... {len(text) - limit} characters or more omitted ...]\n"
    room = limit - len(mark)
    if room <= 0:
        return text[len(text) - limit :]
    return text[: room - room // 2] + mark + text[len(text) - room // 2 :]


class Captured:
    """What a program wrote to one of its outputs."""

    __slots__ = ("_descriptor", "kept", "path", "size", "truncated")

    def __init__(
        self, path: Path | None, descriptor: int | None, *, size: int, kept: int, truncated: bool
    ) -> None:
        self.path = path
        """The file, or null for a temporary one, which goes when this object goes."""
        self.size = size
        """Bytes that the program wrote."""
        self.kept = kept
        """Bytes in the file, the mark included."""
        self.truncated = truncated
        """Whether the middle was left out, with a mark in its place."""
        self._descriptor = descriptor

    def bytes(self) -> bytes:
        """All that was kept, exactly as written."""
        return self._read(0, self.kept)

    def text(self, limit: int | None = None) -> str:
        """As UTF-8, with U+FFFD for what is not; at most `limit` characters, head and tail kept.

        Reads only as much of the file as the limit can need.
        """
        if limit is None or self.kept <= 8 * limit:
            whole = self.bytes().decode("utf-8", "replace")
            return whole if limit is None else cut(whole, limit)
        # 4 bytes a character: each part holds at least `limit` characters.
        parts = self._read(0, 4 * limit), self._read(self.kept - 4 * limit, 4 * limit)
        return cut("".join(part.decode("utf-8", "replace") for part in parts), limit)

    def close(self) -> None:
        """Lets a temporary file go; a named one stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()

    def _read(self, offset: int, count: int) -> bytes:
        if count == 0:
            return b""
        if self._descriptor is not None:
            return _read_at(self._descriptor, offset, count)
        assert self.path is not None, "a closed temporary output was read"
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return _read_at(descriptor, offset, count)
        finally:
            os.close(descriptor)


class OutputFile:
    """An open file that a program writes to directly.

    The file's use of the disk stays below one and a half limits plus what the program writes in
    `LOOK_SECONDS`: the middle is given back while the program runs, and head and tail stay exact.
    (A file system that cannot give back the middle of a file has its tail moved down instead, which
    may lose what is written in the few microseconds of a move.) When it is finished, it holds at
    most `limit` bytes.
    """

    def __init__(self, path: Path | None, limit: int) -> None:
        self.path = path
        self.limit = max(limit, SMALLEST_LIMIT)
        self.head = self.limit // 2
        self.tail = self.limit - self.head - MARK_SIZE
        self.descriptor = _create(path)
        self._dropped = 0
        self._lock = threading.Lock()

    def trim(self) -> None:
        """Gives back the disk space of the middle of a file that is too large."""
        with self._lock:
            if self.descriptor < 0:
                return
            status = os.fstat(self.descriptor)
            if status.st_blocks * 512 <= self.limit * 3 // 2:
                return
            try:
                _punch(self.descriptor, self.head, status.st_size - self.tail)
            except OSError:
                self._close_gap()

    def oversized(self) -> bool:
        """Whether `finish` has data to move, which takes milliseconds rather than microseconds."""
        return os.fstat(self.descriptor).st_size > self.limit

    def finish(self) -> Captured:
        """What was captured. The program has ended."""
        with self._lock:
            if self.oversized():
                self._close_gap()
            kept = os.fstat(self.descriptor).st_size
            size = kept + self._dropped - (MARK_SIZE if self._dropped else 0)
            descriptor, self.descriptor = self.descriptor, -1
        if self.path is not None:
            os.close(descriptor)
        return Captured(
            self.path,
            descriptor if self.path is None else None,
            size=size,
            kept=kept,
            truncated=self._dropped > 0,
        )

    def close(self) -> None:
        """Lets go of a file that is not finished; nothing otherwise."""
        with self._lock:
            descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _close_gap(self) -> None:
        """Moves the tail down behind head and mark, and cuts the file there."""
        source = target = self.head + MARK_SIZE
        size = moved = os.fstat(self.descriptor).st_size
        source = size - self.tail
        while chunk := os.pread(self.descriptor, min(COPY_SIZE, size - source), source):
            os.pwrite(self._writable(), chunk, target)
            source, target = source + len(chunk), target + len(chunk)
        self._dropped += moved - self.tail - self.head - (MARK_SIZE if self._dropped else 0)
        os.ftruncate(self.descriptor, target)
        mark = f"\n[... {self._dropped} bytes omitted ...]".encode().ljust(MARK_SIZE - 1) + b"\n"
        os.pwrite(self._writable(), mark, self.head)
