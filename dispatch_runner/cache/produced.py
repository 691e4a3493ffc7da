"""The files that a task produced: found after it ran, and put back when its result is used again."""

import contextlib
import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dispatch_runner.cache.digests import MISSING, Uncacheable, digest_at
from dispatch_runner.paths import AllowedRoots, identity, is_glob

MOST_FILES = 1_000
MOST_BYTES = 64 << 20
"""Of all files of one task."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Produced(NamedTuple):
    """One file as a task left it."""

    path: str
    """Resolved."""
    before: str
    """Digest of what was there when the task started, or `missing`."""
    after: str
    """SHA-256 of its content."""
    mode: int
    """Its permissions."""


class Stale(Exception):
    """A file may not be put back. The message says why."""


def snapshot(declared: Iterable[str]) -> dict[str, str]:
    """Digest by resolved path of every file that is declared: paths and globs. Raises `Uncacheable`."""
    return {path: digest_at(path) for path in _expanded(declared)}


def collect(
    declared: Sequence[str], claimed: Iterable[str], before: Mapping[str, str], roots: AllowedRoots
) -> tuple[list[Produced], dict[str, bytes]]:
    """What a task left: the declared files that it changed, and those that it says it wrote; and
    their contents by digest. Raises `Uncacheable`."""
    wanted = {identity(path) for path in claimed}
    files: list[Produced] = []
    contents: dict[str, bytes] = {}
    size = 0
    for path in sorted({*wanted, *_expanded(declared), *before}):
        then = before.get(path, MISSING)
        if roots.problem(path) is not None:
            raise Uncacheable(f"it wrote {path!r}, which is outside the allowed folders")
        if digest_at(path) == then and path not in wanted:
            continue
        if not os.path.isfile(path):
            raise Uncacheable(f"it took {path!r} away, or made no file of it")
        content, mode = _read(path)
        size += len(content)
        if size > MOST_BYTES:
            raise Uncacheable(f"it produced more than {MOST_BYTES} bytes")
        after = hashlib.sha256(content).hexdigest()
        files.append(Produced(path, then, after, mode))
        contents[after] = content
    return files, contents


def put_back(
    files: Sequence[Produced], contents: Mapping[str, bytes], roots: AllowedRoots
) -> list[str]:
    """Makes every file as the task left it, all or none, and gives the paths that were written.

    A file that is already so is left alone. Raises `Stale` when one is neither so nor as the task
    found it, or cannot be written; nothing was changed then.
    """
    missing = [file for file in files if _must_be_written(file, roots)]
    staged: list[tuple[int, str, str]] = []
    try:
        staged.extend(_stage(file, contents[file.after]) for file in missing)
        for folder, temporary, name in staged:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise Stale(
            f"{error.filename or 'a file'!r} cannot be written: {error.strerror}"
        ) from error
    finally:
        for folder, temporary, _ in staged:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            os.close(folder)
    for file in missing:
        if digest_at(file.path) != file.after:
            raise Stale(f"{file.path!r} changed while it was put back")
    return [file.path for file in missing]


def _expanded(declared: Iterable[str]) -> list[str]:
    """Resolved paths: those declared, and the files that the globs among them find."""
    paths: set[str] = set()
    for each in declared:
        if is_glob(each):
            found = glob.glob(each, recursive=True, include_hidden=True)
            paths |= {identity(path) for path in found if os.path.isfile(path)}
        else:
            paths.add(identity(each))
        if len(paths) > MOST_FILES:
            raise Uncacheable(f"it declares more than {MOST_FILES} files")
    return sorted(paths)


def _read(path: str) -> tuple[bytes, int]:
    try:
        with open(os.open(path, _OPEN_FILE), "rb") as file:
            return file.read(MOST_BYTES + 1), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise Uncacheable(f"{path!r} cannot be read: {error.strerror}") from error


def _must_be_written(file: Produced, roots: AllowedRoots) -> bool:
    if roots.problem(file.path) is not None or identity(file.path) != file.path:
        raise Stale(f"{file.path!r} is not inside the allowed folders any more")
    try:
        now = digest_at(file.path)
    except Uncacheable as error:
        raise Stale(str(error)) from error
    if now not in {file.before, file.after}:
        raise Stale(f"{file.path!r} is neither as that run found it nor as it left it")
    return now != file.after


def _stage(file: Produced, content: bytes) -> tuple[int, str, str]:
    """The whole file beside its place: its open folder, the name that it has, and the one it gets."""
    above, name = os.path.split(file.path)
    folder = _open_folder(above)
    temporary = f".{name[:100]}.{os.urandom(6).hex()}.tmp"
    try:
        made = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder
        )
        with open(made, "wb") as opened:
            opened.write(content)
            os.fchmod(made, file.mode & 0o777)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)
        raise
    return folder, temporary, name


def _open_folder(folder: str) -> int:
    """A descriptor of a folder given by its resolved path; makes what is missing. No link that turns
    up meanwhile is followed."""
    descriptor = os.open("/", _OPEN_FOLDER)
    for part in filter(None, folder.split("/")):
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=descriptor)
            below = os.open(part, _OPEN_FOLDER, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor
