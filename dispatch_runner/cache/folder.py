"""The cache's folder: private, flat, each file whole or not there, never through a symbolic link."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
TEMPORARY = ".new-"


class CacheUnusableError(Exception):
    """The folder cannot be used as a cache. The message says why."""


class Kept(NamedTuple):
    """A file of the cache."""

    name: str
    size: int
    used_at: float
    """Seconds since 1970."""


class PrivateFolder:
    """An open folder, for its user alone. Safe with many processes at once."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> "PrivateFolder":
        """The folder at a path, made with its parents if need be.

        Raises `CacheUnusableError`: it is a link or no folder, belongs to someone else, or cannot be
        made.
        """
        try:
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=0o700, parents=True)
            return cls(_private(os.open(path, _FOLDER)))
        except OSError as error:
            wrong = error.errno in {errno.ENOTDIR, errno.ELOOP}
            kind = "it is a link or no folder" if wrong else error.strerror
            raise CacheUnusableError(f"cannot use the cache in '{path}': {kind}") from error

    def below(self, name: str) -> "PrivateFolder":
        """A folder in it, made if need be. Raises `OSError`."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.descriptor)
        return PrivateFolder(_private(os.open(name, _FOLDER, dir_fd=self.descriptor)))

    def read(self, name: str) -> bytes | None:
        """Content of a regular file, which from now on counts as used; null: there is none."""
        try:
            descriptor = os.open(name, _READ, dir_fd=self.descriptor)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            with contextlib.suppress(OSError):
                os.utime(descriptor)
            return file.read()

    def write(self, name: str, content: bytes) -> int:
        """Puts a file in place, or replaces it. How many bytes there are more. Raises `OSError`."""
        temporary = TEMPORARY + os.urandom(8).hex()
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=self.descriptor)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            before = self.size(name)
            os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            self.remove(temporary)
            raise
        return len(content) - before

    def size(self, name: str) -> int:
        """Bytes of a file; 0 when it is not there."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_size
        except OSError:
            return 0

    def remove(self, name: str) -> None:
        """Removes a file if it is there; a link is removed, not followed."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.descriptor)

    def files(self) -> Iterator[Kept]:
        """All files in it, also those that are not whole yet."""
        with os.scandir(self.descriptor) as found:
            for item in found:
                with contextlib.suppress(OSError):  # another process removed it just now
                    told = item.stat(follow_symlinks=False)
                    if not stat.S_ISDIR(told.st_mode):
                        yield Kept(item.name, told.st_size, told.st_mtime)

    def close(self) -> None:
        os.close(self.descriptor)


def _private(descriptor: int) -> int:
    """The descriptor of a folder that is now for this user alone. Raises `OSError`."""
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(0, f"it belongs to user {found.st_uid}")
    if found.st_mode & 0o077:
        os.fchmod(descriptor, 0o700)
    return descriptor
