"""Files without a name for programs to write to, used again as long as they stay empty.

Most programs print nothing on stderr, and many nothing at all. A file made and removed for each of
them costs little by itself, but on ext4 every inode that was just freed makes the next file slower.
So a file has no name until something is in it; one that stayed empty serves the next program, once
the kernel has confirmed that nobody else has it open.
"""

import errno
import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

MOST = 64
"""Spare files that are kept at once."""

_spares: list[tuple[str, int]] = []
"""Folder and descriptor."""


def take(folder: Path) -> int | None:
    """An empty file without a name in the folder, to read and append to; null where there is no such
    thing. Raises `OSError` when the machine is short of descriptors or space."""
    wanted = str(folder)
    for place in range(len(_spares) - 1, -1, -1):
        if _spares[place][0] == wanted:
            return _spares.pop(place)[1]
    if sys.platform != "linux":
        return None
    try:
        return os.open(wanted, os.O_TMPFILE | os.O_RDWR | os.O_APPEND, 0o600)
    except (IsADirectoryError, NotImplementedError):
        return None
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EINVAL}:  # this file system has none
            return None
        raise


def give_back(folder: Path, descriptor: int) -> None:
    """Keeps an empty file for the next program, unless somebody may still write to it."""
    if _is_ours_alone(descriptor):
        _spares.append((str(folder), descriptor))
        if len(_spares) > MOST:
            descriptor = _spares.pop(0)[1]
        else:
            return
    os.close(descriptor)


def for_the_program(descriptor: int) -> int:
    """The same file opened once more: so that `give_back` can tell whether the program, or what it left
    behind, still has it. Raises `OSError`."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_APPEND)


def name(descriptor: int, path: Path) -> None:
    """Gives the file its name; replaces what has it. Raises `OSError`."""
    source = f"/proc/self/fd/{descriptor}"
    try:
        # with a folder's descriptor given, Python calls linkat, which follows the link
        os.link(source, path, src_dir_fd=descriptor, follow_symlinks=True)
    except FileExistsError:
        os.unlink(path)
        os.link(source, path, src_dir_fd=descriptor, follow_symlinks=True)


def _is_ours_alone(descriptor: int) -> bool:
    """Whether no other open file description of it exists: only then a write lease is granted."""
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return True
    return False
