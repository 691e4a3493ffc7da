"""Where files may be: allowed roots, and the identity of a path."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GLOB_CHARACTERS = frozenset("*?[")


def identity(path: str) -> str:
    """One spelling for one file: absolute, `.`, `..` and symbolic links resolved.

    The file need not exist. Never remembered: a task may turn a folder into a link.
    """
    return os.path.realpath(path)


def is_glob(path: str) -> bool:
    """Whether the text has one of the wildcards `*`, `?` and `[`."""
    return not GLOB_CHARACTERS.isdisjoint(path)


def fixed_folder(pattern: str) -> str:
    """The part of a glob before its first wildcard component: `/a/b/*.py` gives `/a/b`."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if is_glob(part):
            break
        parts.append(part)
    return "/".join(parts) or "/"


@dataclass(frozen=True, slots=True)
class AllowedRoots:
    """The folders in which tasks may read and write: resolved, absolute."""

    roots: tuple[str, ...]

    @classmethod
    def of(cls, extra: Iterable[str | Path] = ()) -> "AllowedRoots":
        """The working directory, the system's temporary directory, and `extra`."""
        wanted = (Path.cwd(), Path(tempfile.gettempdir()), *map(Path, extra))
        return cls(tuple(dict.fromkeys(str(root.resolve()) for root in wanted)))

    def problem(self, path: str) -> tuple[str, str, str] | None:
        """Code, message and hint of what is wrong with a path or glob, or null.

        Codes: `path_not_text` (NUL or a lone surrogate), `path_not_absolute`, `path_too_long`,
        `path_outside_roots`. Whether the file exists is not judged here: a dependency may create it.
        """
        if "\0" in path:
            return "path_not_text", f"path {path!r} holds a NUL character", "remove it"
        try:
            raw = path.encode()
        except UnicodeEncodeError:
            return "path_not_text", "path holds a lone surrogate", "use valid Unicode text"
        if not path.startswith("/"):
            absolute = os.path.join(self.roots[0], path)
            return (
                "path_not_absolute",
                f"path {path!r} is not absolute",
                f"did you mean {absolute!r}?",
            )
        if len(raw) > 4095 or any(len(part) > 255 for part in raw.split(b"/")):
            return (
                "path_too_long",
                f"path {path[:80]!r}... is longer than a file system takes",
                "shorten it",
            )
        resolved = identity(fixed_folder(path) if is_glob(path) else path)
        if any(
            resolved == root or resolved.startswith(root.rstrip("/") + "/") for root in self.roots
        ):
            return None
        shown = f"path {path!r}" + (f" (really {resolved!r})" if resolved != path else "")
        return (
            "path_outside_roots",
            f"{shown} is outside the allowed folders",
            f"allowed: {', '.join(self.roots)}; the operator may add one with --allow-path",
        )
