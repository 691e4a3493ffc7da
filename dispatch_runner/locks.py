"""File locks that hold across the dispatches of one user on one machine.

A private folder holds one file per dispatch, locked by the kernel for as long as the dispatch lives,
with one line per entry: a status byte, then the entry. A death of any kind gives the locks back: the
kernel drops the lock, and the next dispatch removes the file. Entries are added only by the holder of
`mutex`, so whoever holds it never reads half a line; giving one back overwrites a single byte, needs
no mutex, and so never waits.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dispatch_runner.errors import InternalError, RecordError
from dispatch_runner.paths import is_glob, overlap, temporary_folder

BUSY = "another dispatch is taking file locks at this moment"
COMPACT_LINES = 1_000
"""A file with more lines, most of them given back, is written anew."""

_HELD, _GIVEN_BACK = b"+", b"-"
_MUTEX = "mutex"
_SUFFIX = ".held"


class MachineLocks:
    """The write locks of one dispatch against all others of the same user.

    Nothing is touched on disk before the first `try_acquire`. No call ever waits. For one thread.
    The locks bind dispatches, not other programs and not other users.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is made if need be, its parent is not; default: `default_folder()`."""
        self._folder = folder
        self._mutex: int | None = None
        self._file: int | None = None
        self._name = ""
        self._lines = 0
        self._end = 0
        self._offsets: dict[str, int] = {}
        """Where in the file each entry that is held has its status byte."""

    def try_acquire(self, entries: Sequence[str]) -> str | None:
        """Takes all entries and returns null, or takes none and returns who is in the way.

        Entries are identities of paths, or globs of such. Raises `RecordError` when the folder or a
        file in it cannot be used: another try would not help.
        """
        wanted = list(dict.fromkeys(entries))
        if taken := [entry for entry in wanted if entry in self._offsets]:
            raise InternalError(f"lock '{taken[0]}' is taken twice by one dispatch")
        try:
            with self._exclusive() as folder:
                if folder is None:
                    return BUSY
                holder = _foreign_holder(folder, self._name, wanted)
                if holder is None:
                    self._add(folder, wanted)
                return holder
        except OSError as error:
            where = self._folder or error.filename or temporary_folder()
            raise RecordError("take file locks in", where, error) from error

    def release(self, entries: Iterable[str]) -> None:
        """Gives entries back. What is not held is ignored."""
        if self._file is None:
            return
        # An entry whose byte cannot be written is given back when this dispatch ends.
        with suppress(OSError):
            for entry in entries:
                offset = self._offsets.pop(entry, None)
                if offset is not None:
                    os.pwrite(self._file, _GIVEN_BACK, offset)
            if not self._offsets:
                os.ftruncate(self._file, 0)
                self._end = self._lines = 0

    def close(self) -> None:
        """Gives everything back and removes this dispatch's file. May be called again."""
        if self._folder is not None and self._file is not None:
            with suppress(OSError):  # without its lock the file means nothing
                (self._folder / self._name).unlink(missing_ok=True)
        for descriptor in (self._file, self._mutex):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._mutex = None
        self._offsets.clear()

    @contextmanager
    def _exclusive(self) -> Iterator[Path | None]:
        """The folder, while no other dispatch takes locks in it; null when one does just now."""
        folder, mutex = self._opened()
        if not _try_lock(mutex):
            yield None
            return
        try:
            # Removed between opening and locking: it excludes nobody. The next try makes it anew.
            yield None if _removed(mutex) else folder
        finally:
            fcntl.flock(mutex, fcntl.LOCK_UN)

    def _opened(self) -> tuple[Path, int]:
        """Folder and mutex; made anew when someone has removed them, such as a cleaner of `/tmp`."""
        if self._folder is not None and self._mutex is not None:
            if not _removed(self._mutex):
                return self._folder, self._mutex
            os.close(self._mutex)
            self._mutex = None
        self._folder = private_folder(self._folder) if self._folder else default_folder()
        self._mutex = _open(self._folder / _MUTEX)
        return self._folder, self._mutex

    def _add(self, folder: Path, wanted: Sequence[str]) -> None:
        if self._file is None or _removed(self._file):
            self._create(folder)
        elif self._lines < max(COMPACT_LINES, 2 * len(self._offsets)):
            self._write(wanted, self._end)
            return
        self._lines = 0
        self._write([*self._offsets, *wanted], 0)

    def _create(self, folder: Path) -> None:
        """This dispatch's file, locked before another dispatch can see it without a lock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._name = f"{os.getpid()}-{os.urandom(8).hex()}{_SUFFIX}"
        self._file = _open(folder / self._name, os.O_EXCL)
        if not _try_lock(self._file):
            raise InternalError(f"lock file '{self._name}' is not ours")

    def _write(self, entries: Sequence[str], offset: int) -> None:
        """Writes entries as held from an offset on, and ends the file there."""
        assert self._file is not None
        lines, offsets = bytearray(), dict[str, int]()
        for entry in entries:
            offsets[entry] = offset + len(lines)
            lines += _HELD + _encode(entry) + b"\n"
        written = os.pwrite(self._file, lines, offset)
        if written < len(lines):
            os.ftruncate(self._file, offset)  # half an entry would be a lock that nobody gives back
            raise OSError("no space left for the list of locks")
        self._end = offset + written
        os.ftruncate(self._file, self._end)
        self._offsets |= offsets
        self._lines += len(entries)


def default_folder() -> Path:
    """The user's lock folder, made if need be: `/tmp/dispatch-runner-<uid>`.

    The same whatever the environment says, or a dispatch from cron would not see the locks of one
    from a terminal; and not in `XDG_RUNTIME_DIR`, which is emptied at logout although what runs in
    the background goes on. Where `/tmp` cannot be used: the temporary directory of the environment.
    """
    name = f"dispatch-runner-{os.geteuid()}"
    try:
        return private_folder(Path("/tmp") / name)  # noqa: S108 - checked, private, one for all
    except OSError:
        return private_folder(Path(temporary_folder()) / name)


def private_folder(folder: Path) -> Path:
    """The folder, made if need be, for this user alone.

    Raises `RecordError` when it is a symbolic link or belongs to someone else, and `OSError`.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise RecordError("take file locks in", folder, "it is not a folder; remove it")
    if found.st_uid != os.geteuid():
        raise RecordError(
            "take file locks in", folder, f"it belongs to user {found.st_uid}; have it removed"
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def _foreign_holder(folder: Path, own_name: str, wanted: Sequence[str]) -> str | None:
    """Who holds something that is in the way. Removes the files of dispatches that died."""
    with os.scandir(folder) as found:
        names = [item.name for item in found if item.name.endswith(_SUFFIX)]
    for name in names:
        if name == own_name:
            continue
        conflict = _conflict(wanted, _held_in(folder / name))
        if conflict is not None:
            mine, theirs = conflict
            shown = "" if mine == theirs else f", which holds '{theirs}'"
            return (
                f"'{mine}' is locked by another dispatch, process {name.partition('-')[0]}{shown}"
            )
    return None


def _held_in(path: Path) -> list[str]:
    """What a living dispatch holds. The file of a dead one is removed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []  # it ended just now
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        if _try_lock(descriptor):
            path.unlink(missing_ok=True)
            return []
        lines = file.read().split(b"\n")
    return [_decode(line[1:]) for line in lines if line.startswith(_HELD)]


def _conflict(wanted: Sequence[str], held: Sequence[str]) -> tuple[str, str] | None:
    """The first pair that may mean the same file."""
    paths, globs = set(held), [entry for entry in held if is_glob(entry)]
    for mine in wanted:
        if mine in paths:
            return mine, mine
        for theirs in held if is_glob(mine) else globs:
            if overlap(mine, theirs):
                return mine, theirs
    return None


def _open(path: Path, flags: int = 0) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _removed(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink == 0


def _encode(entry: str) -> bytes:
    """One line, whatever the path holds: also line ends, and bytes that are no text."""
    return entry.replace("%", "%25").replace("\n", "%0A").encode("utf-8", "surrogatepass")


def _decode(line: bytes) -> str:
    return line.decode("utf-8", "surrogatepass").replace("%0A", "\n").replace("%25", "%")
