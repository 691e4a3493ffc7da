"""Where a program's output goes: straight to a file, bounded, with head and tail kept."""

import contextlib
import errno
import fcntl
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path

from dispatch_runner.process import spares

MARK_SIZE = 64
"""Bytes of the mark that stands in a file for what was left out."""

TEXT_MARK = "\n[... omitted ...]\n"

LOOK_SECONDS = 0.05
"""How often the sizes of the files are looked at while programs run."""

COPY_SIZE = 1 << 20
SMALLEST_LIMIT = 1024

CUT_WORD = re.compile(r"\A[^\s]{1,256}(?=\s)")
WORD_CUT_OFF = re.compile(r"(?<=\s)[^\s]{1,256}\Z")
"""What is left of a word at the end of a text that was cut there."""


def cut(text: str, limit: int) -> str:
    """The text, or its head and tail around a mark: never longer than `limit` characters.

    A limit that has no room for a mark gives the tail alone. No word of ordinary length is cut: half a
    token could not be known for a secret.
    """
    if len(text) <= limit:
        return text
    room = limit - len(TEXT_MARK)
    if room <= 0:
        return text[len(text) - limit :]
    head, tail = text[: room - room // 2], text[len(text) - room // 2 :]
    return WORD_CUT_OFF.sub("", head) + TEXT_MARK + CUT_WORD.sub("", tail, count=1)


class Captured:
    """What a program wrote to one of its outputs."""

    __slots__ = ("_descriptor", "kept", "path", "size", "truncated")

    def __init__(
        self, path: Path | None, descriptor: int, *, size: int, kept: int, truncated: bool
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

    def text(self, limit: int | None = None) -> str:
        """As UTF-8, with U+FFFD for what is not; at most `limit` characters, head and tail kept.

        Reads only as much of the file as the limit can need.
        """
        if limit is None or self.kept <= 8 * limit:
            whole = self.content().decode("utf-8", "replace")
            return whole if limit is None else cut(whole, limit)
        # 4 bytes a character: each part holds at least `limit` characters.
        parts = self._read(0, 4 * limit), self._read(self.kept - 4 * limit, 4 * limit)
        return cut("".join(part.decode("utf-8", "replace") for part in parts), limit)

    def content(self) -> bytes:
        """All that was kept, exactly as written."""
        return self._read(0, self.kept)

    def tail(self, limit: int) -> str:
        """The last `limit` characters at most, as UTF-8 with U+FFFD for what is not; see `cut`."""
        size = min(4 * limit, self.kept)
        text = self._read(self.kept - size, size).decode("utf-8", "replace")
        whole = size == self.kept and len(text) <= limit
        return text if whole else CUT_WORD.sub("", text[-limit:], count=1)

    def close(self) -> None:
        """Lets a temporary file go; a named one stays."""
        descriptor, self._descriptor = self._descriptor, -1
        _close(descriptor)

    def __del__(self) -> None:
        self.close()

    def _read(self, offset: int, count: int) -> bytes:
        if count == 0:
            return b""
        if self._descriptor >= 0:
            return _read_at(self._descriptor, offset, count)
        assert self.path is not None, "a closed temporary output was read"
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            return _read_at(descriptor, offset, count)
        finally:
            _close(descriptor)


class OutputFile:
    """A file that a program writes to directly.

    Its use of the disk stays below one and a half limits plus what the program writes in
    `LOOK_SECONDS`: the middle is given back while the program runs, and head and tail stay exact.
    (Where the file system cannot give back the middle of a file, the tail is moved down instead,
    which may lose what is written in the few microseconds at the end of a move.) A finished file
    holds at most `limit` bytes.
    """

    def __init__(self, path: Path | None, limit: int) -> None:
        self.path = path
        self.limit = max(limit, SMALLEST_LIMIT)
        self.head = self.limit // 2
        self.tail = self.limit - self.head - MARK_SIZE
        self.descriptor = -1
        """For the program. It appends, so that the file may be cut below it."""
        self._own = -1
        """For us; the same one where the file has its name from the start."""
        self._nameless = False
        self._dropped = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Makes the file, readable by its owner only. Raises `OSError`."""
        spare = None if self.path is None else spares.take(self.path.parent)
        if spare is None:
            self._own = self.descriptor = _create(self.path)
            return
        self._own, self._nameless = spare, True
        self.descriptor = spares.for_the_program(spare)

    def started(self) -> None:
        """The program has the file, or will never have it: it is its own to close."""
        if self.descriptor != self._own:
            _close(self.descriptor)
            self.descriptor = -1

    def write(self, content: bytes) -> None:
        """Appends what a program wrote elsewhere. Raises `OSError`."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._own, rest) :]

    def last(self, size: int) -> bytes:
        """The end of what was written so far. Raises `OSError`."""
        end = os.fstat(self._own).st_size
        return _read_at(self._own, max(0, end - size), size)

    def close(self) -> None:
        """Lets go of a file that is not finished. May be called at any time."""
        with self._lock:
            self.started()
            descriptor, self._own, self.descriptor = self._own, -1, -1
        _close(descriptor)

    def look(self) -> None:
        """What is due while the program runs: a name for a file with something in it, space given back
        from one that is too large. Raises `OSError`."""
        with self._lock:
            if self._own < 0:
                return
            status = os.fstat(self._own)
            self._name_if_used(status.st_size)
            self._trim(status)

    def _name_if_used(self, size: int) -> None:
        if self._nameless and size and self.path is not None:
            spares.name(self._own, self.path)
            self._nameless = False

    def _trim(self, status: os.stat_result) -> None:
        small = status.st_size <= self.limit  # whatever the size of the blocks
        if small or status.st_blocks * 512 <= self.limit * 3 // 2:
            return
        try:
            _punch_hole(self._own, self.head, status.st_size - self.tail)
        except OSError:
            self._move_tail_down()

    def oversized(self) -> bool:
        """Whether `finish` has data to move, which takes milliseconds rather than microseconds."""
        return os.fstat(self._own).st_size > self.limit

    def finish(self) -> Captured:
        """What was captured. The program has ended. Raises `OSError`."""
        with self._lock:
            kept = os.fstat(self._own).st_size
            self._name_if_used(kept)
            if kept > self.limit:
                kept = self._move_tail_down()
            descriptor = self._let_go()
        size = kept + self._dropped - (MARK_SIZE if self._dropped else 0)
        return Captured(self.path, descriptor, size=size, kept=kept, truncated=self._dropped > 0)

    def _let_go(self) -> int:
        """Ends our use of the file; gives the descriptor of a temporary one, else -1."""
        self.started()
        descriptor, self._own, self.descriptor = self._own, -1, -1
        if self.path is None:
            return descriptor
        if self._nameless:
            spares.give_back(self.path.parent, descriptor)
        else:
            _close(descriptor)
        return -1

    def _move_tail_down(self) -> int:
        """Moves the tail to behind head and mark and cuts the file there; gives the new size."""
        size = os.fstat(self._own).st_size
        source, target = size - self.tail, self.head + MARK_SIZE
        self._dropped += source - self.head - (MARK_SIZE if self._dropped else 0)
        end = size + 4 * COPY_SIZE  # a program that writes on is followed a little, not for ever
        # Opened anew, because Linux ignores the position when a descriptor appends.
        named = self.path if not self._nameless else None
        copy = os.open(named or f"/dev/fd/{self._own}", os.O_RDWR)
        try:
            while chunk := os.pread(copy, min(COPY_SIZE, end - source), source):
                os.pwrite(copy, chunk, target)
                source, target = source + len(chunk), target + len(chunk)
            os.ftruncate(copy, target)
            mark = f"\n[... {self._dropped} bytes omitted ...]".encode()
            os.pwrite(copy, mark.ljust(MARK_SIZE - 1) + b"\n", self.head)
        finally:
            _close(copy)
        return target


class Watcher:
    """Looks at the sizes of the files of all running programs, in one thread.

    A thread rather than a timer of the event loop: it costs a program that ends soon nothing, and it
    keeps its pace when the loop is busy.
    """

    def __init__(self) -> None:
        self._files: set[OutputFile] = set()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, file: OutputFile) -> None:
        """Watches a file from now on. Raises `OSError` when there is no thread to be had."""
        self._files.add(file)
        self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._watch, name="output-watcher", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, str(error)) from error
            self._thread = thread

    def remove(self, file: OutputFile) -> None:
        """Watches it no longer; nothing if it was not watched."""
        self._files.discard(file)
        if not self._files:
            self._wanted.clear()
            if self._files:  # added by another thread just now
                self._wanted.set()

    def _watch(self) -> None:
        while self._wanted.wait():
            time.sleep(LOOK_SECONDS)
            for file in list(self._files):
                with contextlib.suppress(OSError):  # reported when the file is finished
                    file.look()


watcher = Watcher()


def nameless_file(flags: int = 0) -> int:
    """A temporary file that goes when it is closed, to read and to write. Raises `OSError`."""
    folder = tempfile.gettempdir()
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | flags, 0o600)
    except (AttributeError, OSError):  # this system, or this file system, has no such files
        descriptor, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        return descriptor


def _create(path: Path | None) -> int:
    if path is None:
        return nameless_file(os.O_APPEND)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)


def _read_at(descriptor: int, offset: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := os.pread(descriptor, min(count, 1 << 30), offset)):
        parts.append(part)
        offset, count = offset + len(part), count - len(part)
    return b"".join(parts)


def _punch_hole(descriptor: int, start: int, end: int) -> None:
    """Frees the blocks from start to end; what follows keeps its place. Raises `OSError`."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    import ctypes

    keep_size, punch_hole = 0x01, 0x02
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if fallocate(descriptor, keep_size | punch_hole, start, end - start) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
