"""The files that a task produced: found after it ran, and put back when its result is used again."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from dispatch_runner.cache.digests import MISSING, Uncacheable, digest_at, expanded
from dispatch_runner.paths import AllowedRoots, identity

MOST_FILES = 1_000
MOST_BYTES = 64 << 20
"""Of all files of one task."""

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Produced(NamedTuple):
    """A file that a task may have written: as it found it, and as it left it."""

    path: str
    """Resolved."""
    before: str
    """Digest of what was there when the task started, or `missing`."""
    after: str
    """The same when it had ended; the SHA-256 of its content where that is another."""
    mode: int
    """Its permissions."""

    @property
    def changed(self) -> bool:
        """Whether the task made it, or wrote to it."""
        return self.after != self.before


class Stale(Exception):
    """The files are not as they have to be. The message says why."""


def snapshot(declared: Iterable[str]) -> dict[str, str]:
    """Digest by resolved path of every file that is declared: paths and globs. Raises `Uncacheable`."""
    paths = expanded(declared)
    if len(paths) > MOST_FILES:
        raise Uncacheable(f"it declares more than {MOST_FILES} files")
    return {path: digest_at(path) for path in paths}


def collect(
    declared: Sequence[str], claimed: Iterable[str], before: Mapping[str, str], roots: AllowedRoots
) -> tuple[list[Produced], dict[str, bytes]]:
    """All files that are declared, and those that a task says it wrote; and the contents of those that
    it changed, by digest. Raises `Uncacheable`.

    Of a file that is claimed and not declared nobody looked at what was there before: it counts as
    new.
    """
    files: list[Produced] = []
    contents: dict[str, bytes] = {}
    size = 0
    for path in sorted({*map(identity, claimed), *expanded(declared), *before}):
        then, now, mode = before.get(path, MISSING), digest_at(path), 0
        if now != then:
            content, mode = _content(path, roots)
            size += len(content)
            if size > MOST_BYTES:
                raise Uncacheable(f"it produced more than {MOST_BYTES} bytes")
            now = hashlib.sha256(content).hexdigest()
            contents[now] = content
        files.append(Produced(path, then, now, mode))
    return files, contents


def put_back(
    files: Sequence[Produced],
    contents: Mapping[str, bytes],
    found: Mapping[str, str],
    roots: AllowedRoots,
) -> list[str]:
    """Makes every file as the task left it, and gives the paths that were written.

    A file that is already so is left alone. All are written beside their places before the first is
    put in its own.

    Args:
        files: all that the task may have written.
        contents: of those that it changed.
        found: what is declared now, as from `snapshot`.
        roots: where files may be.

    Raises:
        Stale: a file is neither so nor as the task found it, was not there at all, or cannot be
            written.
    """
    for path in found.keys() - {file.path for file in files}:
        if found[path] != MISSING:
            raise Stale(f"{path!r} was not there in that run")
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


def _content(path: str, roots: AllowedRoots) -> tuple[bytes, int]:
    """Of a file that a task changed, with its permissions. Raises `Uncacheable`."""
    if roots.problem(path) is not None:
        raise Uncacheable(f"it wrote {path!r}, which is outside the allowed folders")
    if not os.path.isfile(path):
        raise Uncacheable(f"it changed {path!r}, and that is no file")
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
