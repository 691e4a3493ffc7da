"""Keeps results and files by their digests, up to a size; what was used least lately goes first.

    entries/KEY     a result: see `entries`
    files/SHA256    a file that a task produced
    tasks/DIGEST    what the last results of a task depended on, to explain a miss
    size            bytes of all of these, kept up by whoever holds `lock`

A file's time is when it was last used. Nothing is waited for but `lock`, and that not for long; a
reader needs none, since whatever it finds is judged by its digest.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dispatch_runner.cache.entries import (
    Entry,
    Known,
    read_entry,
    read_known,
    write_entry,
    write_known,
)
from dispatch_runner.cache.folder import TEMPORARY, CacheUnusableError, Kept, PrivateFolder

KNOWN_PER_TASK = 5
AFTER_PRUNING = 0.9
"""Of the size that is allowed: so that not every further result prunes again."""
_HALF_WRITTEN_SECONDS = 3_600.0
_LOCK_PAUSE = 0.01
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Removed(NamedTuple):
    """What pruning took away."""

    files: int
    bytes: int


class CacheInfo(NamedTuple):
    """What there is."""

    entries: int
    """Results."""
    files: int
    """Files that tasks produced."""
    bytes: int
    used_first: float | None
    """When that was last used which goes first: seconds since 1970; null when there is nothing."""


class Store:
    """The cache in one folder. For any number of threads and processes."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        now: Callable[[], float] = time.time,
        patience: float = 1.0,
    ) -> None:
        """Raises `CacheUnusableError`.

        Args:
            folder: made if need be, for this user alone.
            max_bytes: more than that is pruned when something is added.
            now: seconds since 1970.
            patience: most seconds to wait for another process.
        """
        self.folder = folder
        self._max_bytes = max_bytes
        self._now = now
        self._patience = patience
        self._root = PrivateFolder.open(folder)
        with contextlib.ExitStack() as opened:
            opened.callback(self._root.close)
            self._entries = self._below("entries", opened)
            self._files = self._below("files", opened)
            self._tasks = self._below("tasks", opened)
            self._opened = opened.pop_all()

    def entry(self, key: str) -> Entry | None:
        """The result of that key, which now counts as used; null: none, or a damaged one."""
        content = self._entries.read(key)
        return None if content is None else read_entry(content, key)

    def content(self, sha256: str) -> bytes | None:
        """A file's content by its digest; null: none, or a damaged one, which is removed."""
        content = self._files.read(sha256)
        if content is not None and hashlib.sha256(content).hexdigest() != sha256:
            self._files.remove(sha256)
            return None
        return content

    def known(self, task: str) -> list[Known]:
        """What the last results of a task depended on, the latest first."""
        content = self._tasks.read(_task_name(task))
        return [] if content is None else read_known(content)

    def keep(self, task: str, entry: Entry, contents: Mapping[str, bytes]) -> None:
        """Keeps a result with its files, in place of an earlier one of the same key.

        Raises `OSError`; and `ValueError` or `TypeError` for what is no JSON.
        """
        text = write_entry(entry)
        grown = 0
        for sha256, content in contents.items():
            if self.content(sha256) is None:
                grown += self._files.write(sha256, content)
        grown += self._entries.write(entry.key, text)  # after its files: never without them
        others = [known for known in self.known(task) if known.key != entry.key]
        known = write_known([entry.known(), *others][:KNOWN_PER_TASK])
        grown += self._tasks.write(_task_name(task), known)
        with self._exclusive() as held:
            if not held:
                self._root.remove("size")  # whoever comes next counts anew
            elif (size := self._counted(grown)) > self._max_bytes:
                self._prune(int(self._max_bytes * AFTER_PRUNING), None)
            else:
                self._set_size(size)

    def prune(self, max_bytes: int | None = None, older_than: float | None = None) -> Removed:
        """Removes what was not used for `older_than` seconds, then what was used least lately, until
        `max_bytes` are kept. Raises `OSError`."""
        with self._exclusive() as held:
            if not held:
                raise OSError(errno.EAGAIN, "another process is pruning it")
            return self._prune(max_bytes, older_than)

    def info(self) -> CacheInfo:
        """What there is now."""
        entries, files = list(self._entries.files()), list(self._files.files())
        found = [*entries, *files, *self._tasks.files()]
        return CacheInfo(
            len(entries),
            len(files),
            sum(file.size for file in found),
            min((file.used_at for file in found), default=None),
        )

    def close(self) -> None:
        """Lets go of the folder."""
        self._opened.close()

    def _below(self, name: str, opened: contextlib.ExitStack) -> PrivateFolder:
        try:
            below = self._root.below(name)
        except OSError as error:
            raise CacheUnusableError(
                f"cannot use the cache in '{self.folder}': '{name}': {error.strerror}"
            ) from error
        opened.callback(below.close)
        return below

    def _prune(self, max_bytes: int | None, older_than: float | None) -> Removed:
        found = sorted(self._all(), key=lambda pair: pair[1].used_at)
        size, now, count = sum(file.size for _, file in found), self._now(), 0
        before = size
        for folder, file in found:
            age = now - file.used_at
            if file.name.startswith(TEMPORARY):
                unwanted = age > _HALF_WRITTEN_SECONDS  # else another process is writing it
            else:
                unwanted = (older_than is not None and age > older_than) or (
                    max_bytes is not None and size > max_bytes
                )
            if unwanted:
                folder.remove(file.name)
                size -= file.size
                count += 1
        self._set_size(size)
        return Removed(count, before - size)

    def _all(self) -> Iterator[tuple[PrivateFolder, Kept]]:
        for folder in (self._entries, self._files, self._tasks):
            for file in folder.files():
                yield folder, file

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[bool]:
        """While no other process counts or prunes; false when one does so for too long: it may be
        suspended."""
        descriptor = os.open("lock", _LOCK, 0o600, dir_fd=self._root.descriptor)
        try:
            deadline = time.monotonic() + self._patience
            while not (held := _try_lock(descriptor)) and time.monotonic() < deadline:
                time.sleep(_LOCK_PAUSE)
            yield held
        finally:
            os.close(descriptor)

    def _counted(self, grown: int) -> int:
        """The size that was kept up and what has come since; all counted anew when there is none."""
        try:
            return int(self._root.read("size") or b"") + grown
        except ValueError:
            return sum(file.size for _, file in self._all())

    def _set_size(self, size: int) -> None:
        self._root.write("size", b"%d" % size)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _task_name(task: str) -> str:
    return hashlib.sha256(task.encode("utf-8", "surrogatepass")).hexdigest()
