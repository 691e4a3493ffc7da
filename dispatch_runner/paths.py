"""Where files may be: allowed roots, and the identity of a path."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

GLOB_CHARACTERS = frozenset("*?[")

_TOKEN = re.compile(r"\*+|\[!?+\]?+[^\]]*+\]|.", re.DOTALL)
_ANY_TEXT, _ANY_CHARACTER, _ANY_FOLDERS = "*", "?", ("**",)
_COMPARISONS_MOST = 1 << 16
"""Above this product of two lengths, globs are compared by their fixed folders only."""


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


def overlap(a: str, b: str) -> bool:
    """Whether one file may be meant by both: a path or a glob each, identities, in any order.

    Symmetric. True whenever some path matches both, taking a text with wildcards also as the name
    that it spells. `*`, `?` and `[...]` stay within a component, `**` as a component is any number of
    folders. May be true where no path matches both: `[...]` counts as any one character, and globs
    of extreme length are compared by their fixed folders only, so that the cost is bounded.
    """
    if a == b:
        return True
    glob_a, glob_b = is_glob(a), is_glob(b)
    if not (glob_a or glob_b):
        return False
    if not _nested(fixed_folder(a) if glob_a else a, fixed_folder(b) if glob_b else b):
        return False
    if len(a) * len(b) > _COMPARISONS_MOST:
        return True
    pattern_a, pattern_b = _pattern(a), _pattern(b)
    if _meet(pattern_a, pattern_b):
        return True
    return (glob_a and _meet(pattern_a, _literal(b))) or (glob_b and _meet(_literal(a), pattern_b))


def matches(pattern: str, path: str) -> bool:
    """Whether a path is meant by a path or a glob; wildcards in the path itself stand for themselves."""
    return pattern == path or (is_glob(pattern) and _meet(_pattern(pattern), _literal(path)))


_Component = tuple[str, ...]
"""Tokens of one component of a path: `*`, `?`, or the character with a `=` before it."""


def _pattern(glob: str) -> list[_Component]:
    return [
        _ANY_FOLDERS if part == "**" else tuple(_token(found) for found in _TOKEN.findall(part))
        for part in glob.split("/")
    ]


def _token(text: str) -> str:
    if text[0] == "*":
        return _ANY_TEXT
    if text == "?" or len(text) > 1:
        return _ANY_CHARACTER
    return "=" + text


def _literal(path: str) -> list[_Component]:
    return [tuple("=" + character for character in part) for part in path.split("/")]


def _meet(a: list[_Component], b: list[_Component]) -> bool:
    """Whether two sequences of components have a path in common."""
    seen, todo = set[tuple[int, int]](), [(0, 0)]
    while todo:
        i, j = state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        if i == len(a) and j == len(b):
            return True
        more_a, more_b = i < len(a), j < len(b)
        if (more_a and a[i] == _ANY_FOLDERS) or (more_b and b[j] == _ANY_FOLDERS):
            todo += [(i + 1, j)] * more_a + [(i, j + 1)] * more_b
        elif more_a and more_b and _components_meet(a[i], b[j]):
            todo.append((i + 1, j + 1))
    return False


def _components_meet(a: _Component, b: _Component) -> bool:
    """Whether two components have a name in common."""
    if a == b:
        return True
    row = _reach_by_stars({0}, b)
    for token in a:
        if token == _ANY_TEXT:
            row = set(range(min(row), len(b) + 1))
        else:
            row = _reach_by_stars(_step(row, token, b), b)
        if not row:
            return False
    return len(b) in row


def _step(row: set[int], token: str, b: _Component) -> set[int]:
    """Positions in `b` after one more character of the other side, which `token` admits."""
    reached = set[int]()
    for j in row:
        if j == len(b):
            continue
        if b[j] == _ANY_TEXT:
            reached.add(j)
        elif token == b[j] or _ANY_CHARACTER in {token, b[j]}:
            reached.add(j + 1)
    return reached


def _reach_by_stars(row: set[int], b: _Component) -> set[int]:
    """The positions with those added that are reached when a `*` of `b` stands for nothing."""
    reached = set(row)
    for j, token in enumerate(b):
        if token == _ANY_TEXT and j in reached:
            reached.add(j + 1)
    return reached


def _nested(a: str, b: str) -> bool:
    """Whether one of two folders is the other or is above it."""
    short, long = sorted((a.rstrip("/"), b.rstrip("/")), key=len)
    return long == short or long.startswith(short + "/")


def temporary_folder() -> str:
    """The system's temporary folder, by the rule of `tempfile.gettempdir` without trying to write there:
    that module alone costs more than the rest of this one."""
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return next((folder for folder in named if folder and os.path.isdir(folder)), "/tmp")  # noqa: S108


class AllowedRoots(NamedTuple):
    """The folders in which tasks may read and write: resolved, absolute."""

    roots: tuple[str, ...]

    @classmethod
    def of(cls, extra: Iterable[str | Path] = ()) -> "AllowedRoots":
        """The working directory, the system's temporary directory, and `extra`."""
        wanted = (Path.cwd(), Path(temporary_folder()), *map(Path, extra))
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
        resolved = identity(path)
        # The text is judged also as the name that it spells: `/tmp/*/../../etc` is no way out.
        if self._inside(resolved) and is_glob(path):
            resolved = identity(fixed_folder(path))
        if self._inside(resolved):
            return None
        shown = f"path {path!r}" + (f" (really {resolved!r})" if resolved != path else "")
        return (
            "path_outside_roots",
            f"{shown} is outside the allowed folders",
            f"allowed: {', '.join(self.roots)}; the operator may add one with --allow-path",
        )

    def _inside(self, resolved: str) -> bool:
        return any(
            resolved == root or resolved.startswith(root.rstrip("/") + "/") for root in self.roots
        )
