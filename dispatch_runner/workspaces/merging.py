"""Merges commits without a work tree, and says which lines do not go together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from dispatch_runner.models.result import MergeConflict
from dispatch_runner.workspaces.git import Git, GitError
from dispatch_runner.workspaces.names import shown
from dispatch_runner.workspaces.repository import Repository

HUNK_CHARACTERS = 4_000
"""Most of one hunk that is told."""
MOST_CONFLICTS = 100
"""Most files of one merge that are told."""


class Conflicts(Exception):
    """Two commits do not go together."""

    def __init__(self, found: Sequence[MergeConflict]) -> None:
        self.found = list(found)
        files = ", ".join(f"'{conflict.file}'" for conflict in self.found[:5])
        super().__init__(files + (", ..." if len(self.found) > 5 else ""))


@dataclass(slots=True)
class Work:
    """What a task left in its worktree."""

    task_id: str
    branch: str
    tip: str
    """The commit that it ended with."""
    changed: bool
    """Whether that is another one than it began with."""
    succeeded: bool = False
    unsaved: bool = False
    """Whether there is something in its worktree that could not be committed."""
    sources: list[str] = field(default_factory=list)
    """Tasks whose work it began with."""
    locks: Sequence[str] = ()
    """The files that it said it would change."""


async def merged(repository: Repository, ours: str, theirs: Work) -> str:
    """A commit that has the work of a task, too. Raises `Conflicts`, `GitError`."""
    git = repository.git
    if await git.contains(ours, theirs.tip):
        return ours
    if await git.contains(theirs.tip, ours):
        return theirs.tip
    wanted = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z")
    try:
        printed = await git.run(*wanted, ours, theirs.tip, passes=(0, 1))
    except GitError as error:
        raise GitError(error.message, "merging needs git 2.38 or newer") from error
    contents, *files = printed.stdout.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")
    if printed.code:
        raise Conflicts(
            [
                MergeConflict(
                    theirs.task_id, shown(path), _named(await _hunk(git, contents, path), theirs)
                )
                for path in files[:MOST_CONFLICTS]
            ]
        )
    return await repository.commit(contents, [ours, theirs.tip], f"Merge task {theirs.task_id!r}")


async def _hunk(git: Git, contents: str, path: str) -> str:
    """The first lines of a merged file that do not go together, with git's marks."""
    name = f"{contents}:{path}"
    printed = await git.run("cat-file", "blob", name, passes=(0, 128))
    lines = printed.stdout.decode("utf-8", "replace").split("\n") if printed.code == 0 else []
    begin = next((n for n, line in enumerate(lines) if line.startswith("<<<<<<< ")), None)
    if begin is None:
        return ""
    end = next((n for n in range(begin, len(lines)) if lines[n].startswith(">>>>>>> ")), len(lines))
    text = "\n".join(lines[begin : end + 1])
    return text if len(text) <= HUNK_CHARACTERS else text[:HUNK_CHARACTERS] + "\n[... cut]"


def _named(hunk: str, theirs: Work) -> str:
    """The hunk with words at git's marks, where git has the names of commits."""
    hunk = re.sub(r"\A(<{7}) .*", r"\1 merged before", hunk)
    return re.sub(
        r"^(>{7}) .*\Z",
        lambda found: f"{found[1]} task {theirs.task_id!r}",
        hunk,
        flags=re.MULTILINE,
    )
