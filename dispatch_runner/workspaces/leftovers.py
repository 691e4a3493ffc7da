"""What dispatches have left in a repository: branches and worktrees; and how they go without a loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dispatch_runner.workspaces.git import GitError
from dispatch_runner.workspaces.names import MERGED_SUFFIX, PREFIX, unquoted
from dispatch_runner.workspaces.repository import Repository, Worktree
from dispatch_runner.workspaces.worktrees import (
    CHECK_NAME,
    forget_if_empty,
    is_held,
    left_tree,
)

State = Literal["running", "in use", "merged", "unmerged", "unknown"]


@dataclass(slots=True)
class Leftover:
    """A branch, a worktree, or both."""

    dispatch: str
    task_id: str | None
    """Null for the branch of the dispatch."""
    branch: str | None
    """Null: there is only a folder."""
    folder: str | None
    """Null: there is only a branch."""
    state: State
    """`running`: its dispatch is; `in use`: it is checked out elsewhere; `merged`: another branch has all
    of it; `unmerged`: none has; `unknown`: a folder that is no worktree."""
    uncommitted: bool
    """Whether there are changes in the folder that are not on the branch."""
    tip: str = ""


async def leftovers(repository: Repository) -> list[Leftover]:
    """Everything, by dispatch. Raises `GitError`."""
    wanted = "--format=%(objectname)%00%(refname:lstrip=2)%00%(worktreepath)"
    listed = await repository.git.text("for-each-ref", wanted, f"refs/heads/{PREFIX}")
    found = [
        await _of_branch(repository, *line.split("\0")) for line in listed.splitlines() if line
    ]
    known = {each.folder for each in found}
    folders = sorted(folder for folder in repository.home.glob("*/*") if str(folder) not in known)
    found += [_of_folder(repository, folder) for folder in folders]
    return sorted(found, key=lambda each: (each.dispatch, each.task_id or ""))


async def _of_branch(repository: Repository, tip: str, branch: str, used: str) -> Leftover:
    dispatch, _, name = branch.removeprefix(PREFIX).partition("/")
    folder = repository.home / dispatch / name if name else None
    tree = None if folder is None else await left_tree(repository, folder, branch)
    if not name:
        dispatch = dispatch.removesuffix(MERGED_SUFFIX)
    uncommitted = tree is not None and await _has_changes(repository, tree)
    merged = not uncommitted and await _is_merged(repository, tip, branch, dispatch)
    state: State = "merged" if merged else "unmerged"
    if is_held(repository, dispatch):
        state = "running"
    elif used and Path(used) != folder:
        state = "in use"
    task_id = unquoted(name.partition("+")[0]) if name else None
    where = str(folder) if tree is not None else None
    return Leftover(dispatch, task_id, branch, where, state, uncommitted, tip)


def _of_folder(repository: Repository, folder: Path) -> Leftover:
    """A folder without a branch: of a check, or one that nobody knows."""
    dispatch, name = folder.parent.name, folder.name
    state: State = "merged" if name == CHECK_NAME else "unknown"
    if is_held(repository, dispatch):
        state = "running"
    return Leftover(dispatch, unquoted(name), None, str(folder), state, False)


async def _is_merged(repository: Repository, tip: str, branch: str, dispatch: str) -> bool:
    """Whether a branch that is none of ours has it, or the branch of its dispatch."""
    if await repository.git.contains(await repository.git.text("rev-parse", "HEAD"), tip):
        return True
    wanted = ("for-each-ref", f"--contains={tip}", "--format=%(refname)")
    refs = await repository.git.text(*wanted, "refs/heads", "refs/remotes", "refs/tags")
    ours, own = f"refs/heads/{PREFIX}", f"refs/heads/{PREFIX}{dispatch}{MERGED_SUFFIX}"
    holders = (ref for ref in refs.splitlines() if not ref.startswith(ours) or ref == own)
    return any(ref != f"refs/heads/{branch}" for ref in holders)


async def _has_changes(repository: Repository, tree: Worktree) -> bool:
    env = {"GIT_DIR": str(tree.admin), "GIT_WORK_TREE": str(tree.folder)}
    try:
        status = await repository.git.text(
            "status", "--porcelain", "--untracked-files=all", env=env
        )
    except GitError:
        return True  # it cannot be told
    return bool(status)


async def clean(
    repository: Repository, found: Sequence[Leftover], *, force: bool
) -> tuple[list[Leftover], list[Leftover]]:
    """Removes what is merged; with `force`, what is not, too. What was removed, and what stays.

    Uncommitted changes are committed to their branch first. What runs or is in use stays.
    Raises `GitError`.
    """
    removed, kept = list[Leftover](), list[Leftover]()
    for each in found:
        if each.state in {"running", "in use"}:
            kept.append(each)
            continue
        if each.uncommitted and not force:
            await _commit(repository, each)
        removable = each.state == "merged" or force
        (removed if removable else kept).append(each)
        if removable:
            await _remove(repository, each)
    for dispatch in {each.dispatch for each in found} - {each.dispatch for each in kept}:
        await forget_if_empty(repository, dispatch)
    return removed, kept


async def _commit(repository: Repository, each: Leftover) -> None:
    assert each.folder is not None
    assert each.branch is not None
    tree = await left_tree(repository, Path(each.folder), each.branch)
    if tree is None:
        return
    saved = await repository.save(tree, lambda: "What was left in the worktree\n")
    each.uncommitted = False
    each.tip = saved.tip


async def _remove(repository: Repository, each: Leftover) -> None:
    if each.folder is not None:
        folder = Path(each.folder)
        tree = await left_tree(repository, folder, each.branch or "")
        await repository.remove(tree or Worktree(folder, "", "", folder))
    if each.branch is not None:
        async with repository.exclusive():
            await repository.delete_branch(each.branch, each.tip)
