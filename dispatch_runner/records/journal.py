"""The journal: one event a line, appended, checksummed, with one writer for life.

A line is a JSON object whose last member is `crc`: the CRC-32 (zlib, eight hexadecimal digits) of
every byte of the line before `,"crc":`. Whatever kills the process loses nothing that `append`
took; at most the last line is torn, and `load` leaves it out.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from dispatch_runner.clock import Clock
from dispatch_runner.errors import RecordError
from dispatch_runner.marks import TOKEN, marker_prefix, started_at
from dispatch_runner.models import JsonObject
from dispatch_runner.records.folder import (
    FULL,
    Folder,
    Reserve,
    reason,
    sync_descriptor,
    write_all,
)

FORMAT_VERSION = 1
JOURNAL_NAME = "events.ndjson"
OPENED = "opened"

TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
TAIL_BYTES = 18
LONGEST_LINE = 64 * 1024
"""Large data is never in a journal: a longer line is not ours."""

PATIENCE_SECONDS = 0.2
"""How long a lock is waited for: those who only look hold it for microseconds."""

CRASH_VARIABLE = "DISPATCH_RUNNER_CRASH_AT"


class JournalBusy(RecordError):
    """Another process writes this journal."""

    def __init__(self, path: str, pid: int | None) -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__("open journal", path, f"{holder} is writing it")


@dataclass(slots=True)
class Loaded:
    """What a journal holds up to its last good line."""

    records: list[JsonObject]
    good_bytes: int
    """Where the good lines end."""
    torn_bytes: int
    """What follows them: a line that was being written when the process ended, or damage."""
    warning: str | None

    @property
    def header(self) -> JsonObject | None:
        """The first record: format version, correlation id, digest of the request."""
        return self.records[0] if self.records else None


class Journal:
    """An open journal, locked exclusively as long as it is open."""

    def __init__(self, path: str, fd: int, size: int, seq: int, clock: Clock) -> None:
        self.path = path
        self.fd = fd
        self.reserve: Reserve | None = None
        self._size = size
        self._seq = seq
        self._clock = clock
        self._crashing: Callable[[bytes], None] | None = None
        if CRASH_VARIABLE in os.environ:
            from dispatch_runner.records.crash import crashing

            self._crashing = crashing(self._write, fd, os.environ[CRASH_VARIABLE])

    @classmethod
    def create(cls, folder: Folder, header: JsonObject, clock: Clock) -> "Journal":
        """A new journal whose first record is the header.

        Raises:
            RecordError: it could not be made.
        """
        path = folder.path_of(JOURNAL_NAME)
        try:
            fd = folder.create(JOURNAL_NAME, os.O_APPEND)
        except OSError as error:
            raise RecordError("create journal", path, reason(error)) from error
        journal = cls(path, fd, 0, 0, clock)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # only a listing could hold it, for an instant
            journal.append_header(header)
        except OSError as error:
            journal.close()
            raise RecordError("lock journal", path, reason(error)) from error
        except RecordError:
            journal.close()
            raise
        return journal

    @classmethod
    def take_over(cls, path: Path, clock: Clock) -> tuple["Journal", Loaded]:
        """The journal of a process that ended, locked, and what it holds. Nothing is written yet:
        `cut_torn_tail` comes before the first record.

        Raises:
            JournalBusy: that process still lives.
            RecordError: it is not there, not a journal of this version, or cannot be written.
        """
        fd = _open_existing(path, os.O_RDWR | os.O_APPEND)
        try:
            _lock(fd, path)
            loaded = _parse(_read_all(fd))
            check_format(loaded, path)
        except OSError as error:
            os.close(fd)
            raise RecordError("open journal", path, reason(error)) from error
        except RecordError:
            os.close(fd)
            raise
        return cls(str(path), fd, loaded.good_bytes, len(loaded.records), clock), loaded

    def cut_torn_tail(self) -> None:
        """Removes what follows the last good line. Raises `RecordError`."""
        try:
            os.ftruncate(self.fd, self._size)
        except OSError as error:
            raise RecordError("mend journal", self.path, reason(error)) from error

    def append_header(self, header: JsonObject) -> None:
        """The record with which each process begins; see `append`."""
        fields = {
            "format": FORMAT_VERSION,
            **header,
            "pid": os.getpid(),
            "pid_started": started_at(),
            "marker": marker_prefix(),
            "token": TOKEN,
        }
        self.append(OPENED, data=orjson.dumps(fields))

    def append(
        self, event: str, task: bytes = b"null", attempt: int = 0, data: bytes = b"{}"
    ) -> None:
        """One record. When this returns, no death of the process can lose it.

        Args:
            event: a name of ours; it is not escaped.
            task: the task's id as JSON text, or `null`.
            attempt: 1 for the first; 0 when the event is not about one.
            data: further members, as a JSON object.

        Raises:
            RecordError: it was not written; nothing of it stays behind.
        """
        body = b'{"seq":%d,"time":"%s","mono":%.6f,"task":%s,"attempt":%d,"event":"%s"' % (
            self._seq,
            self._clock.utc().encode(),
            self._clock.monotonic(),
            task,
            attempt,
            event.encode(),
        )
        if len(data) > 2:
            body = b"%s,%s" % (body, data[1:-1])
        line = b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body))
        if len(line) > LONGEST_LINE:
            raise RecordError("append to", self.path, f"a record of {len(line)} bytes is too long")
        try:
            (self._crashing or self._write)(line)
        except OSError as error:
            raise RecordError("append to", self.path, reason(error)) from error
        self._size += len(line)
        self._seq += 1

    def _write(self, line: bytes) -> None:
        try:
            self._write_or_restore(line)
        except OSError as error:
            if error.errno not in FULL or self.reserve is None or not self.reserve.release():
                raise
            self._write_or_restore(line)

    def _write_or_restore(self, line: bytes) -> None:
        try:
            write_all(self.fd, line)
        except OSError:
            with contextlib.suppress(OSError):  # `load` copes with a torn line
                os.ftruncate(self.fd, self._size)
            raise

    def sync(self) -> None:
        """Make every record so far outlive a power failure.

        Raises:
            RecordError: the disk refused; what it holds is not known, so nothing may be assumed.
        """
        try:
            sync_descriptor(self.fd)
        except OSError as error:
            raise RecordError("sync", self.path, reason(error)) from error

    def close(self) -> None:
        """Give the lock up."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def load(path: Path, *, repair: bool = False) -> Loaded:
    """Every record up to the last good line. Never raises for what the file holds.

    Args:
        path: the journal.
        repair: cut what follows the last good line.

    Raises:
        RecordError: it cannot be read, or another process writes what should be repaired.
    """
    fd = _open_existing(path, os.O_RDWR if repair else os.O_RDONLY)
    try:
        if repair:
            _lock(fd, path)
        loaded = _parse(_read_all(fd))
        if repair and loaded.torn_bytes:
            os.ftruncate(fd, loaded.good_bytes)
    except OSError as error:
        raise RecordError("read journal", path, reason(error)) from error
    finally:
        os.close(fd)
    return loaded


def is_locked(folder: Folder) -> bool:
    """Whether a living process writes the journal of this run folder."""
    try:
        fd = os.open(
            JOURNAL_NAME,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            dir_fd=folder.fd,
        )
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in {errno.EWOULDBLOCK, errno.EAGAIN}
    finally:
        os.close(fd)
    return False


def _open_existing(path: Path, mode: int) -> int:
    try:
        fd = os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RecordError("open journal", path, reason(error)) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RecordError("open journal", path, "not a regular file")
    return fd


def _lock(fd: int, path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        else:
            if os.fstat(fd).st_nlink == 0:
                raise RecordError("open journal", path, "it was removed just now")
            return
    openings = [r for r in _parse(_read_all(fd)).records if r["event"] == OPENED]
    raise JournalBusy(str(path), openings[-1].get("pid") if openings else None)


def check_format(loaded: Loaded, path: Path) -> None:
    """Raises `RecordError` for a format that we do not know. An empty journal has none."""
    formats = [record.get("format") for record in loaded.records if record["event"] == OPENED]
    newer = [found for found in formats if found != FORMAT_VERSION]
    if newer:
        raise RecordError(
            "continue journal", path,
            f"its format is {newer[-1]!r}, this program writes {FORMAT_VERSION}: use the newer program",
        )  # fmt: skip


def _read_all(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def _parse(data: bytes) -> Loaded:
    records: list[JsonObject] = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        record = _record(data[start:end])
        if record is None or record.get("seq") != len(records):
            break
        records.append(record)
        start = end + 1
    torn = len(data) - start
    warning = None
    if torn:
        warning = f"journal ends with {torn} bytes that are not a whole record; they are left out"
    return Loaded(records, start, torn, warning)


def _record(line: bytes) -> JsonObject | None:
    """The record of a line without its newline, or null when the line is damaged."""
    tail = TAIL.fullmatch(line, max(len(line) - TAIL_BYTES, 0))
    if tail is None or zlib.crc32(line[:-TAIL_BYTES]) != int(tail[1], 16):
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
