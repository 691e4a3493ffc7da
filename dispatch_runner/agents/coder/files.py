"""Reading context files and putting the generated file in place, inside the allowed folders only."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from dispatch_runner.agents.reading import as_agent_errors, check_roots, read_bounded, read_texts
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots, identity

MAX_SOURCE = 4 << 20


def read_context(paths: Sequence[str], roots: AllowedRoots) -> dict[str, str]:
    """The text of each context file. Raises `AgentError`: see `read_texts`."""
    return read_texts(paths, roots, field="context_files", what="context file")


def check_free(path: str, *, overwrite: bool) -> None:
    """Raises `AgentError` when a file is there and may not be replaced."""
    if overwrite and Path(path).is_dir():
        raise AgentError(
            ErrorType.INVALID_INPUT, f"output path {path!r} is a folder", hint="name a .py file"
        )
    if not overwrite and os.path.lexists(path):
        raise _exists(path)


def _exists(path: str) -> AgentError:
    return AgentError(
        ErrorType.INVALID_INPUT,
        f"output file {path!r} exists",
        hint='set "overwrite": true to replace it, or choose another output_path',
        details={"code": "output_exists", "path": path},
    )


def put_in_place(path: str, data: bytes, roots: AllowedRoots, *, overwrite: bool) -> str:
    """Writes a file whole or not at all, and gives its resolved path.

    Folders that are missing are made. Each folder on the way is opened without following a link,
    so that one that turns into a link meanwhile is refused, not followed. Raises `AgentError`.
    """
    check_roots(path, roots)
    resolved = identity(path)
    with as_agent_errors("write", path):
        folder, name = os.path.split(resolved)
        descriptor = _open_folder(folder)
        try:
            _write_into(descriptor, name, data, overwrite=overwrite)
        except FileExistsError:
            raise _exists(path) from None
        finally:
            os.close(descriptor)
    return resolved


def _write_into(folder: int, name: str, data: bytes, *, overwrite: bool) -> None:
    temporary = f".{name[:100]}.{os.getpid()}-{os.urandom(6).hex()}.tmp"
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


def _open_folder(folder: str) -> int:
    """A descriptor of a folder given by its resolved path; makes what is missing."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    descriptor = os.open("/", flags)
    for part in folder.split("/"):
        if not part:
            continue
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=descriptor) if not _is_there(part, descriptor) else None
            below = os.open(part, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _is_there(part: str, descriptor: int) -> bool:
    try:
        os.stat(part, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def keep_rejected(prefix: Path | None, data: bytes) -> str | None:
    """Keeps a refused file beside the trace, readable by its owner only; gives its path, if kept."""
    if prefix is None:
        return None
    path = prefix.with_name(f"{prefix.name}.rejected.py")
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return str(path)
    return None


def remove(path: str, roots: AllowedRoots) -> None:
    """Takes away a file that failed its gates."""
    check_roots(path, roots)
    with contextlib.suppress(FileNotFoundError), as_agent_errors("remove", path):
        Path(identity(path)).unlink()


def content(path: str, roots: AllowedRoots) -> bytes | None:
    """What is in a file; null when there is none that can be read."""
    with contextlib.suppress(AgentError):
        return read_bounded(path, roots, MAX_SOURCE)
    return None


def take_back(path: str, data: bytes, before: bytes | None, roots: AllowedRoots) -> bool:
    """Puts back what was there before, or takes the file away. False: it holds something else now."""
    with contextlib.suppress(AgentError):
        if read_bounded(path, roots, MAX_SOURCE) == data:
            if before is None:
                remove(path, roots)
            else:
                put_in_place(path, before, roots, overwrite=True)
            return True
    return False
