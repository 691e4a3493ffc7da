"""Private files in one folder, each whole or not at all, never through a symbolic link.

Everything is done relative to the folder's own descriptor, so that nobody can swap the folder for
a link between two steps. Folders are 0700 and files 0600, whatever the umask says.
"""

import contextlib
import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from types import TracebackType

from dispatch_runner.errors import RecordError

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without blocking: somebody may have put a FIFO in the file's place."""

TEMPORARY = ".new"
"""Name of a file that is not whole yet. One per folder is enough: a folder has one writer."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
RESERVE_NAME = ".reserve"
RESERVE_BYTES = 64 * 1024


class Folder:
    """An open folder. Not for use by several threads, except `sync_file` and `sync`."""

    def __init__(self, path: str, fd: int, *, exact_modes: bool = False) -> None:
        self.path = path
        self.fd = fd
        self.reserve: Reserve | None = None
        self._exact_modes = exact_modes
        """Whether the umask leaves our modes as they are, so that files need no `fchmod`."""

    @classmethod
    def open_or_create(cls, path: Path) -> "Folder":
        """The operator's folder, made with its parents if need be. It may itself be a link.

        Raises:
            RecordError: it cannot be made, opened or written to.
        """
        text = os.path.abspath(path)
        try:
            os.makedirs(text, mode=0o700, exist_ok=True)
            fd = os.open(text, OPEN_FOLDER)
        except OSError as error:
            raise RecordError("open trace folder", text, reason(error)) from error
        return cls(text, fd)

    def create_folder(self, name: str) -> "Folder":
        """A new private folder inside this one. Raises `FileExistsError` or another `OSError`."""
        os.mkdir(name, 0o700, dir_fd=self.fd)
        fd = os.open(name, OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=self.fd)
        exact = stat.S_IMODE(os.fstat(fd).st_mode) & 0o777 == 0o700
        if not exact:
            os.fchmod(fd, 0o700)
        return Folder(os.path.join(self.path, name), fd, exact_modes=exact)

    def open_folder(self, name: str) -> "Folder":
        """A folder inside this one, never through a link. Raises `OSError`."""
        fd = os.open(name, OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=self.fd)
        return Folder(os.path.join(self.path, name), fd)

    def has_moved(self) -> bool:
        """Whether it is not at its path any more: it was renamed, or something else is there."""
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(self.fd))
        except OSError:
            return True

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}"

    def create(self, name: str, flags: int = 0) -> int:
        """Descriptor of a new file that nobody had put there before. Raises `OSError`."""
        fd = os.open(name, CREATE | flags, 0o600, dir_fd=self.fd)
        if not self._exact_modes:
            os.fchmod(fd, 0o600)
        return fd

    def write(self, name: str, data: bytes, *, sync: bool = False, via: str = TEMPORARY) -> None:
        """Put a file in place, or replace it: afterwards it is whole, or as it was before.

        With `sync` it also outlives a power failure. When the disk is full, the reserve is given
        up once and the file is written all the same.

        Raises:
            RecordError: it could not be written.
        """
        try:
            try:
                self._write(name, data, sync, via)
            except OSError as error:
                if not self._may_retry(error, via):
                    raise
                self._write(name, data, sync, via)
        except OSError as error:
            raise RecordError("write", self.path_of(name), reason(error)) from error

    def _write(self, name: str, data: bytes, sync: bool, via: str) -> None:
        fd = self.create(via)
        try:
            try:
                write_all(fd, data)
                if sync:
                    sync_descriptor(fd)
            finally:
                os.close(fd)
            os.rename(via, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            self.remove(via)
            raise
        if sync:
            os.fsync(self.fd)

    def _may_retry(self, error: OSError, via: str) -> bool:
        if error.errno == errno.EEXIST:  # left by a writer that was killed, or planted
            self.remove(via)
            return True
        return error.errno in FULL and self.reserve is not None and self.reserve.release()

    def remove(self, name: str) -> None:
        """Unlink a file if it is there; a link is removed, not followed."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self.fd)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder if it is there."""
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=self.fd)

    def read(self, name: str, limit: int = -1) -> bytes:
        """Content of a regular file, at most `limit` bytes. Raises `OSError`."""
        fd = os.open(name, READ, dir_fd=self.fd)
        with open(fd, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            return file.read(limit) or b""

    def size(self, name: str) -> int:
        """Bytes in a file; 0 when it is not there."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_size
        except OSError:
            return 0

    def sync_file(self, name: str) -> None:
        """Make the content of a file outlive a power failure. Raises `OSError`."""
        fd = os.open(name, READ, dir_fd=self.fd)
        try:
            sync_descriptor(fd)
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Make the folder's names outlive a power failure. Raises `OSError`."""
        os.fsync(self.fd)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> "Folder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Reserve:
    """Space set aside in a run folder, so that the last records fit when the disk is full."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.held = False
        self.spent = False
        """Whether it was given up because the disk was full."""
        fd = folder.create(RESERVE_NAME)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            else:
                write_all(fd, bytes(RESERVE_BYTES))
            self.held = True
        finally:
            os.close(fd)

    def release(self) -> bool:
        """Give the space up to the write that failed. False when it was given up before."""
        if not self.held:
            return False
        self.drop()
        self.spent = True
        return True

    def drop(self) -> None:
        """Remove the reserve: it is no longer needed."""
        if self.held:
            self._folder.remove(RESERVE_NAME)
            self.held = False


def write_all(fd: int, data: bytes) -> None:
    """Write everything. A full disk shows as a short write first; the rest then raises `OSError`."""
    done = os.write(fd, data)
    while done < len(data):
        done += os.write(fd, data[done:])


def sync_descriptor(fd: int) -> None:
    """Have the disk itself confirm a file's content. Raises `OSError`."""
    if sys.platform == "darwin":  # there `fsync` stops at the drive's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def reason(error: OSError) -> str:
    """The system's words for what went wrong, without the path, which the caller names."""
    return (error.strerror or str(error)).lower()
