"""The worktrees of one dispatch: from which commit each task begins, and what it ends with."""

import fcntl
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from dispatch_runner.models import Task
from dispatch_runner.paths import AllowedRoots, overlap
from dispatch_runner.workspaces.git import GitError
from dispatch_runner.workspaces.merging import Conflicts, Work, merged
from dispatch_runner.workspaces.names import (
    PREFIX,
    BranchNames,
    merged_branch,
    task_branch,
)
from dispatch_runner.workspaces.relocation import WorktreePlace
from dispatch_runner.workspaces.repository import Repository, Saved, Worktree

CHECK_NAME = "+check"
"""The folder in which merges are checked; no task has such a name."""

REFS = "refs/dispatch-runner/"
"""Besides branches, per dispatch: `base`, where it began, and `done/<task>`, what a success ended with."""


@dataclass(slots=True)
class Opened:
    """A worktree in which a task may begin."""

    tree: Worktree
    place: WorktreePlace
    work: Work
    notes: list[str]


class Worktrees:
    """Makes, saves and removes them. For one event loop."""

    def __init__(
        self,
        dispatch: str,
        *,
        cwd: Path,
        environ: Mapping[str, str],
        roots: AllowedRoots,
        trace_dir: Path,
        carry_changes: bool,
        filters: bool = False,
    ) -> None:
        """Touches nothing. `dispatch` is the name of the run folder; `trace_dir` the folder above it."""
        self.dispatch = dispatch
        self.notes: list[str] = []
        """About the dispatch as a whole."""
        self.works: dict[str, Work] = {}
        self.repository: Repository | None = None
        self._where = (cwd, environ, filters)
        self._roots = roots
        self._trace_dir = trace_dir
        self._carry_changes = carry_changes
        self._tasks: dict[str, Task] = {}
        self._trees: dict[str, Worktree] = {}
        self._names = BranchNames()
        self._base = ""
        self._continued = False
        """Whether an earlier process has run the dispatch."""
        self._held: int | None = None
        self._opening = anyio.Lock()

    def add(self, tasks: Sequence[Task]) -> None:
        """Tasks of the dispatch, wherever they work: changes reach a task through them."""
        for task in tasks:
            self._tasks[task.task_id] = task
            self._names.name(
                task.task_id
            )  # in this order, so that a later process names them alike

    async def prepared(self) -> tuple[Repository, str]:
        """The repository, and the commit that the dispatch begins with. Raises `GitError`."""
        async with self._opening:
            if self.repository is None:
                repository = await anyio.to_thread.run_sync(Repository.find, *self._where)
                self._hold(repository)
                self._base = await self._begin(repository)
                await self._recall(repository)
                self.repository = repository
        return self.repository, self._base

    def _hold(self, repository: Repository) -> None:
        """Marks the dispatch as living, for as long as this process lives."""
        if self._held is None:
            self._held = os.open(_held_file(repository, self.dispatch), _FLAGS, 0o600)
            fcntl.flock(self._held, fcntl.LOCK_SH | fcntl.LOCK_NB)

    async def _begin(self, repository: Repository) -> str:
        """The commit from which all tasks begin; of a dispatch that is resumed, the one from before."""
        git, ref = repository.git, f"{REFS}{self.dispatch}/base"
        known = await git.commit_of(ref)
        if known is not None:
            self._continued = True
            return known
        base = head = await git.text("rev-parse", "HEAD^{commit}")
        if self._carry_changes:
            base = await repository.carried(head, [self._trace_dir])
        elif await git.text("status", "--porcelain", "--untracked-files=no", "--ignore-submodules"):
            self.notes.append(
                "worktrees begin at the last commit: uncommitted changes are not in them"
                " (take them along with --carry-changes)"
            )
        if not git.filters and (programs := await git.programs()):
            self.notes.append(
                f"'{programs[0]}' of the repository's own configuration does not run in worktrees"
                " (it does with [workspaces] filters = true)"
            )
        if await git.text("ls-tree", "--name-only", head, "--", ":(top).gitmodules"):
            self.notes.append("submodules are empty folders in worktrees")
        await git.run("update-ref", ref, base)
        return base

    async def _recall(self, repository: Repository) -> None:
        """What tasks did in an earlier process of this dispatch."""
        if not self._continued:
            return
        below = f"{REFS}{self.dispatch}/done/"
        listed = await repository.git.text(
            "for-each-ref", "--format=%(objectname) %(refname)", below
        )
        done: dict[str, tuple[str, str]] = {}
        for line in sorted(listed.splitlines(), key=lambda line: (len(line), line)):
            tip, _, ref = line.partition(" ")
            name = ref.removeprefix(below)
            done[name.partition("+")[0]] = name, tip  # the last one of those that were run again
        for task_id in self._tasks:
            name, tip = done.get(self._names.name(task_id), ("", ""))
            if tip:
                branch = task_branch(self.dispatch, name)
                self.works[task_id] = Work(task_id, branch, tip, changed=True, succeeded=True)
        for task_id, work in self.works.items():
            work.sources = [source.task_id for source in self._sources(self._tasks[task_id])]

    # -- one task ------------------------------------------------------------------------------

    async def open(self, task: Task, locks: Sequence[str]) -> Opened:
        """A worktree that begins with the work of the task's dependencies.

        Raises `GitError`, and `Conflicts` when the dependencies' changes do not go together.
        """
        repository, _ = await self.prepared()
        base, sources = await self._start_point(repository, task, locks)
        name, notes = await self._free_name(repository, self._names.name(task.task_id))
        branch = task_branch(self.dispatch, name)
        tree = await repository.add(f"{self.dispatch}/{name}", branch, base)
        self._trees[task.task_id] = tree
        place = WorktreePlace(
            repository.top, tree.folder, repository.cwd, self._roots, [str(self._trace_dir)]
        )
        place.workspace.mkdir(parents=True, exist_ok=True)  # a folder without tracked files
        work = Work(task.task_id, branch, base, False, sources=sources, locks=locks)
        return Opened(tree, place, work, notes)

    def _sources(self, task: Task) -> list[Work]:
        """The works that a task begins with: of its dependencies, or of what stands before them."""
        found: dict[str, Work] = {}
        waiting, seen = list(reversed(task.dependencies)), set[str]()
        while waiting:
            task_id = waiting.pop()
            if task_id in seen:
                continue
            seen.add(task_id)
            work = self.works.get(task_id)
            if work is not None and work.succeeded:
                found[task_id] = work
            elif task_id in self._tasks:
                waiting.extend(reversed(self._tasks[task_id].dependencies))
        return list(found.values())

    async def _start_point(
        self, repository: Repository, task: Task, locks: Sequence[str]
    ) -> tuple[str, list[str]]:
        """The commit that a task begins with, and the tasks whose work is in it."""
        needed = self._sources(task)
        base = needed[0].tip if needed else self._base
        for work in needed[1:]:
            base = await merged(repository, base, work)
        sources = [work.task_id for work in needed]
        for work in list(
            self.works.values()
        ):  # those that had to wait for each other see each other
            if work.task_id in sources or not (work.succeeded and work.changed):
                continue
            if any(overlap(mine, theirs) for mine in locks for theirs in work.locks):
                with suppress(Conflicts):  # no dependency: the merge at the end will tell
                    base = await merged(repository, base, work)
                    sources.append(work.task_id)
        return base, sources

    async def _free_name(self, repository: Repository, name: str) -> tuple[str, list[str]]:
        """A name without a branch or a folder: an earlier process may have left some, with work in it."""
        notes, free, number = list[str](), name, 1
        while self._continued:
            branch = task_branch(self.dispatch, free)
            left = await left_tree(repository, repository.home / self.dispatch / free, branch)
            tip = await repository.git.commit_of(f"refs/heads/{branch}")
            if left is None and tip is None:
                return free, notes
            if left is not None:
                saved = await repository.save(left, lambda: "What was left by an earlier run")
                tip = saved.tip
            notes.append(f"an earlier run left its changes on branch '{branch}'")
            number += 1
            free = f"{name}+{number}"
        return free, notes

    async def close(self, opened: Opened, status: str, forced: Sequence[str] = ()) -> Saved:
        """Commits what a task did; a worktree without changes is removed. Raises `GitError`."""
        repository, _ = await self.prepared()
        work, tree = opened.work, opened.tree
        message = f"Task {work.task_id!r}: {status}\n\nDispatch: {self.dispatch}\n"
        saved = await repository.save(tree, lambda: message, forced)
        work.tip, work.changed = saved.tip, saved.tip != tree.base
        work.unsaved = bool(saved.unsaved)
        self.works[work.task_id] = work
        if not work.changed and not work.unsaved:
            await self._remove(repository, work)
        return saved

    async def succeeded(self, work: Work) -> None:
        """From now on others build on it. Raises `GitError`."""
        repository, _ = await self.prepared()
        if work.changed:
            name = work.branch.rpartition("/")[2]
            await repository.git.run("update-ref", f"{REFS}{self.dispatch}/done/{name}", work.tip)
        work.succeeded = True

    async def _remove(self, repository: Repository, work: Work) -> None:
        tree = self._trees.get(work.task_id)
        if tree is None:
            folder = repository.home / self.dispatch / work.branch.rpartition("/")[2]
            tree = await left_tree(repository, folder, work.branch)
        if tree is not None:
            await repository.remove(tree)
        async with repository.exclusive():
            await repository.delete_branch(work.branch, work.tip)

    def in_order(self) -> dict[str, Work]:
        """What all tasks have done, in the order in which the tasks were added."""
        return {name: self.works[name] for name in self._tasks if name in self.works}

    # -- the end -------------------------------------------------------------------------------

    async def retire(self, works: Sequence[Work]) -> None:
        """Removes the worktrees and branches of works that are merged, and of which nothing else is left."""
        repository, _ = await self.prepared()
        for work in works:
            if not work.unsaved:
                await self._remove(repository, work)

    async def finish(self) -> None:
        """Nothing more will come: what nothing refers to any more is forgotten. Never raises."""
        if self.repository is None:
            return
        with suppress(GitError, OSError):
            await forget_if_empty(self.repository, self.dispatch)
        if self._held is not None:
            _held_file(self.repository, self.dispatch).unlink(missing_ok=True)
            os.close(self._held)
            self._held = None


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


def _held_file(repository: Repository, dispatch: str) -> Path:
    return repository.home / f"{dispatch}.held"


def is_held(repository: Repository, dispatch: str) -> bool:
    """Whether a living process runs the dispatch."""
    try:
        file = os.open(_held_file(repository, dispatch), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


async def left_tree(repository: Repository, folder: Path, branch: str) -> Worktree | None:
    """A worktree of an earlier process, or null where there is none."""
    if not os.path.lexists(folder):
        return None
    for admin in (repository.common / "worktrees").glob("*"):
        with suppress(OSError):
            if Path((admin / "gitdir").read_text().strip()).parent == folder:
                tip = await repository.git.commit_of(f"refs/heads/{branch}")
                head = await repository.git.commit_of("HEAD")
                return Worktree(folder, branch, tip or head or "", admin)
    return None


async def forget_if_empty(repository: Repository, dispatch: str) -> None:
    """Removes our own references to a dispatch of which no branch is left, and its empty folder."""
    git = repository.git
    left = await git.text(
        "for-each-ref", "--format=%(refname)",
        f"refs/heads/{PREFIX}{dispatch}/", f"refs/heads/{merged_branch(dispatch)}",
    )  # fmt: skip
    with suppress(OSError):
        (repository.home / dispatch).rmdir()
    if left:
        return
    refs = await git.text("for-each-ref", "--format=%(refname)", f"{REFS}{dispatch}/")
    for ref in refs.splitlines():
        await git.run("update-ref", "-d", ref)
