"""Digests of values and of what lies in the file system."""

import glob
import hashlib
import json
import os
import stat
from collections.abc import Container, Iterable, Iterator
from typing import Any

from dispatch_runner.paths import identity, is_glob

LARGE_BYTES = 64 << 20
"""A larger file is told by its size and its time, not by its content."""
MOST_FILES, MOST_BYTES = 10_000, 256 << 20
"""In a folder, or found by a glob."""
MISSING = "missing"
PASSED_OVER = frozenset({".git", "__pycache__"})
"""Folders that hold nothing that is read as a source."""

_CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Uncacheable(Exception):
    """What a result depends on cannot be told, or the result cannot be kept. The message says why."""


def canonical(value: Any) -> bytes:
    """JSON in one spelling: the same bytes for the same value, and for no other.

    Raises `Uncacheable` for what is no JSON.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise Uncacheable(f"a value cannot be written as JSON: {error}") from error
    return text.encode()


def digest(value: Any) -> str:
    """SHA-256 of a JSON value. Raises `Uncacheable`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_at(path: str) -> str:
    """What lies at a resolved path: of a file its content, of a folder all that is below it.

    `missing` when there is nothing. Raises `Uncacheable`: it cannot be read, or there is too much.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode):
            return _of_folder(path)
        return file_digest(path) if stat.S_ISREG(found.st_mode) else f"kind {found.st_mode:o}"
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        raise Uncacheable(f"{path!r} cannot be read: {error.strerror}") from error


def file_digest(path: str) -> str:
    """SHA-256 of a regular file's content; of a large one's size and time. Raises `OSError`."""
    with open(os.open(path, _OPEN), "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if found.st_size > LARGE_BYTES:
            return f"{found.st_size} bytes of {found.st_mtime_ns}"
        seen = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
    return seen.hexdigest()


def expanded(paths: Iterable[str]) -> list[str]:
    """Absolute paths, resolved, and in the place of globs the files that they find; sorted."""
    found: set[str] = set()
    for each in paths:
        if not is_glob(each):
            found.add(identity(each))
            continue
        names = glob.iglob(each, recursive=True, include_hidden=True)
        for path in map(identity, filter(os.path.isfile, names)):
            found.add(path)
            if len(found) > MOST_FILES:
                raise Uncacheable(f"{each!r} finds more than {MOST_FILES} files")
    return sorted(found)


def files_of(pattern: str, besides: Container[str]) -> dict[str, str]:
    """Digests of what lies at a path, or of the files that a glob finds. Raises `Uncacheable`."""
    return {path: digest_at(path) for path in expanded([pattern]) if path not in besides}


def _of_folder(folder: str) -> str:
    seen, size = hashlib.sha256(), 0
    for count, item in enumerate(_below(folder)):
        size += item.stat(follow_symlinks=False).st_size
        if count == MOST_FILES or size > MOST_BYTES:
            raise Uncacheable(f"folder {folder!r} holds more than can be compared each time")
        seen.update(canonical([item.path.removeprefix(folder), _told(item)]))
    return f"folder {seen.hexdigest()}"


def _below(folder: str) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder, in one order; no link is followed."""
    with os.scandir(folder) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        if item.name in PASSED_OVER:
            continue
        yield item
        if item.is_dir(follow_symlinks=False):
            yield from _below(item.path)


def _told(item: os.DirEntry[str]) -> str:
    if item.is_symlink():
        return "link to " + os.readlink(item.path)
    if item.is_dir():
        return "folder"
    return file_digest(item.path) if item.is_file() else "special"
