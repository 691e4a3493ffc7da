"""One path for another inside JSON: the agent's view of a worktree, and back."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dispatch_runner.paths import AllowedRoots

_BEFORE = r"(?:(?<=file://)|(?<![\w./~%-]))"
"""A path begins here: not in the middle of a longer one."""

_AFTER = r"(?![\w-]|\.\w)"
"""A name ends here, also at the end of a sentence."""


class Relocation:
    """Rewrites a folder's path wherever it stands at the start of a string or of a path within one.

    Keys of objects, too. A name that only begins alike (`/repo2` for `/repo`) is left alone, and so
    is everything at or below the folders of `kept`.
    """

    def __init__(self, old: Iterable[str], new: str, kept: Iterable[str] = ()) -> None:
        self._old = tuple(dict.fromkeys(old))
        self._new = new
        spared = "|".join(re.escape(path) + _AFTER for path in kept)
        before = f"{_BEFORE}(?!{spared})" if spared else _BEFORE
        names = "|".join(map(re.escape, sorted(self._old, key=len, reverse=True)))
        self._pattern = re.compile(f"{before}(?:{names}){_AFTER}")

    def text(self, text: str) -> str:
        """The text with its paths rewritten."""
        if not any(old in text for old in self._old):
            return text
        return self._pattern.sub(lambda _: self._new, text)

    def value(self, value: Any) -> Any:
        """A JSON value with its paths rewritten; the value itself is not changed."""
        top = [value]
        stack: list[Any] = [top]
        while stack:
            container = stack.pop()
            for key, child in list(
                container.items() if isinstance(container, dict) else enumerate(container)
            ):
                if isinstance(child, str):
                    container[key] = self.text(child)
                elif isinstance(child, dict):
                    container[key] = fresh = {self.text(k): v for k, v in child.items()}
                    stack.append(fresh)
                elif isinstance(child, list | tuple):
                    container[key] = copy = list(child)
                    stack.append(copy)
        return top[0]


class ScratchPlace:
    """An empty folder: no path is rewritten, the task's files are where the caller has them."""

    def __init__(self, workspace: Path, roots: AllowedRoots) -> None:
        self.workspace = workspace
        self.roots = AllowedRoots(tuple(dict.fromkeys((*roots.roots, str(workspace)))))

    def folder(self, wanted: Path) -> Path:
        """The workspace: a folder of the caller has no counterpart in it."""
        return self.workspace

    def inward(self, value: Any) -> Any:
        return value

    def outward(self, value: Any) -> Any:
        return value


class WorktreePlace:
    """A worktree that stands for the caller's repository.

    The caller's `/repo/a.py` is the agent's `/worktree/a.py`, and back.
    """

    def __init__(
        self,
        repository: Path,
        worktree: Path,
        cwd: Path,
        roots: AllowedRoots,
        kept: Iterable[str] = (),
    ) -> None:
        """`kept` are folders of the caller that stay what they are, such as the records."""
        self._inward = Relocation(_spellings(repository, cwd), str(worktree), kept)
        self._outward = Relocation((str(worktree),), str(repository))
        self.workspace = self.folder(cwd)
        moved = (self._inward.text(root) for root in roots.roots)
        self.roots = AllowedRoots(tuple(dict.fromkeys((*moved, str(worktree)))))

    def folder(self, wanted: Path) -> Path:
        """Where a folder of the caller is for the agent."""
        return Path(self._inward.text(str(wanted)))

    def inward(self, value: Any) -> Any:
        return self._inward.value(value)

    def outward(self, value: Any) -> Any:
        return self._outward.value(value)


def _spellings(repository: Path, cwd: Path) -> list[str]:
    """The repository's path, and as the caller's shell writes it, when that goes through a link."""
    logical, below = os.environ.get("PWD", ""), os.path.relpath(cwd, repository)
    found = [str(repository)]
    if logical.startswith("/") and os.path.realpath(logical) == str(cwd):
        if below == ".":
            found.append(logical.rstrip("/"))
        elif logical.endswith(f"/{below}"):
            found.append(logical.removesuffix(f"/{below}"))
    return [path for path in found if path not in {"", "/"}]
