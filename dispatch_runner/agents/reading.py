"""Reading the files that an input names, inside the allowed folders only."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots, identity

MOST_BYTES = 262_144
"""Of one file that is read as text."""
DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP})


def read_texts(
    paths: Sequence[str], roots: AllowedRoots, *, field: str, what: str = "file"
) -> dict[str, str]:
    """The text of each file, at most 256 KiB of each; what is not UTF-8 is replaced.

    Raises `AgentError`: a file is missing, unreadable, or no longer inside the allowed folders.

    Args:
        paths: absolute.
        roots: where they may be.
        field: of the input, that names them.
        what: they are called in messages.
    """
    missing = [path for path in paths if not os.path.lexists(identity(path))]
    if missing:
        raise AgentError(
            ErrorType.MISSING_FILE,
            f"{what} {missing[0]!r} does not exist"
            + (f" (and {len(missing) - 1} more)" if missing[1:] else ""),
            hint=f"correct '{field}', or make the task that writes it a dependency",
            details={"missing": missing[:50]},
        )
    return {
        path: read_bounded(path, roots, MOST_BYTES).decode("utf-8", "replace") for path in paths
    }


def read_bounded(path: str, roots: AllowedRoots, limit: int) -> bytes:
    """The start of a regular file. Raises `AgentError`."""
    check_roots(path, roots)
    with as_agent_errors("read", path):
        descriptor = os.open(identity(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AgentError(ErrorType.INVALID_INPUT, f"{path!r} is not a regular file")
            return file.read(limit)


def check_roots(path: str, roots: AllowedRoots) -> None:
    """Raises `AgentError` (`permission_denied`) for a path that is not inside the allowed folders."""
    problem = roots.problem(path)
    if problem is not None:
        code, message, hint = problem
        raise AgentError(ErrorType.PERMISSION_DENIED, message, hint=hint, details={"code": code})


@contextmanager
def as_agent_errors(action: str, path: str) -> Iterator[None]:
    """Failures of the system as `AgentError`s."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and action == "read":
            raise AgentError(ErrorType.MISSING_FILE, f"file {path!r} does not exist") from error
        kind = ErrorType.PERMISSION_DENIED if error.errno in DENIED else ErrorType.UNAVAILABLE
        if error.errno in {errno.ENOTDIR, errno.EISDIR}:
            kind = ErrorType.INVALID_INPUT
        raise AgentError(kind, f"cannot {action} {path!r}: {error.strerror}") from error
