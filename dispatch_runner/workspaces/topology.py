"""Merges what the tasks of a dispatch did onto one branch, in the order of their dependencies."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Literal

import anyio

from dispatch_runner.models.result import FailedCheck, LeftOut, Merge
from dispatch_runner.workspaces.merging import Conflicts, Work, merged
from dispatch_runner.workspaces.names import merged_branch
from dispatch_runner.workspaces.repository import Repository, Worktree
from dispatch_runner.workspaces.worktrees import CHECK_NAME, Worktrees, left_tree

Judge = Callable[[Path], Awaitable[str | None]]
"""Runs the operator's check in a folder: what failed, in words, or null."""


@dataclass(frozen=True, slots=True)
class Check:
    """The operator's check of what is merged."""

    name: str
    judge: Judge
    after: Literal["each", "last"]
    """`each`: after each merge; `last`: after the last one, and what breaks it is found by bisecting."""


async def merge_dispatch(worktrees: Worktrees, check: Check | None) -> Merge:
    """Merges the successes of a dispatch onto its branch, and removes the worktrees of what is merged.

    What cannot be merged keeps its branch and its worktree. Raises `GitError`; then no branch has moved.
    """
    repository, base = await worktrees.prepared()
    ref = f"refs/heads/{merged_branch(worktrees.dispatch)}"
    before = await repository.git.commit_of(ref)
    merging = Merging(repository, worktrees.in_order(), check)
    commit = await merging.run(before or base, f"{worktrees.dispatch}/{CHECK_NAME}")
    report = merging.report
    if commit != (before or base):
        await repository.git.run("update-ref", ref, commit)
        before = commit
    if before is not None:
        report.branch, report.commit = merged_branch(worktrees.dispatch), before
    await worktrees.retire([worktrees.works[task_id] for task_id in report.merged])
    return report


@dataclass(slots=True)
class Merging:
    """One merge of a dispatch."""

    repository: Repository
    works: Mapping[str, Work]
    check: Check | None = None
    report: Merge = field(default_factory=Merge)
    _out: set[str] = field(default_factory=set)
    _tree: Worktree | None = None

    async def run(self, base: str, folder: str) -> str:
        """The commit in which everything is that goes together; `report` tells the rest.

        `folder` names a worktree for the check. Raises `GitError`.
        """
        try:
            waiting = self._in_order()
            while True:
                steps = await self._merge(base, waiting, folder)
                culprit = await self._culprit(base, steps, folder)
                if culprit is None:
                    break
                good = steps[culprit - 1][1] if culprit else base
                self.report.merged += [work.task_id for work, _ in steps[:culprit]]
                base, waiting = good, [work for work, _ in steps[culprit + 1 :]]
        finally:
            if self._tree is not None:
                with anyio.CancelScope(shield=True):
                    await self.repository.remove(self._tree)
        self.report.merged += [work.task_id for work, _ in steps]
        return steps[-1][1] if steps else base

    def _in_order(self) -> list[Work]:
        """Successful works that changed something, each after those that it began with."""
        sorter = TopologicalSorter({name: work.sources for name, work in self.works.items()})
        works = (self.works[name] for name in sorter.static_order() if name in self.works)
        return [work for work in works if work.succeeded and work.changed]

    async def _merge(self, base: str, works: Sequence[Work], folder: str) -> list[tuple[Work, str]]:
        """Each work that could be merged, and the commit that has it."""
        steps: list[tuple[Work, str]] = []
        for work in works:
            if below := self._out.intersection(self._all_sources(work)):
                self._leave_out(work, f"it builds on '{min(below)}', which was left out")
                continue
            try:
                commit = await merged(self.repository, base, work)
            except Conflicts as conflicts:
                self._out.add(work.task_id)
                self.report.conflicts += conflicts.found
                continue
            if self.check is not None and self.check.after == "each":
                failure = await self._failure(commit, folder)
                if failure is not None:
                    self._blame(work.task_id, failure)
                    continue
            base = commit
            steps.append((work, commit))
        return steps

    async def _culprit(
        self, base: str, steps: Sequence[tuple[Work, str]], folder: str
    ) -> int | None:
        """The first step with which the check fails, found by halving; null when it passes."""
        if self.check is None or self.check.after == "each" or not steps:
            return None
        failure = await self._failure(steps[-1][1], folder)
        if failure is None:
            return None
        if (before := await self._failure(base, folder)) is not None:
            told = f"it fails without any task's changes, too: {before}"
            self.report.failed_checks.append(FailedCheck(None, self.check.name, told))
            return None
        passes, fails = -1, len(steps) - 1
        while fails - passes > 1:
            middle = (passes + fails) // 2
            found = await self._failure(steps[middle][1], folder)
            if found is None:
                passes = middle
            else:
                fails, failure = middle, found
        self._blame(steps[fails][0].task_id, failure)
        return fails

    async def _failure(self, commit: str, folder: str) -> str | None:
        """What the check says of a commit."""
        assert self.check is not None
        if self._tree is None:
            left = await left_tree(self.repository, self.repository.home / folder, "")
            if left is not None:  # of a process that was killed
                await self.repository.remove(left)
            self._tree = await self.repository.add(folder, None, commit)
        git = self.repository.git.at(self._tree.folder)
        await git.run("checkout", "--quiet", "--force", "--detach", commit)
        await git.run("clean", "-ffdxq")
        return await self.check.judge(self._tree.folder)

    def _blame(self, task_id: str, failure: str) -> None:
        assert self.check is not None
        self._out.add(task_id)
        self.report.failed_checks.append(FailedCheck(task_id, self.check.name, failure))

    def _leave_out(self, work: Work, reason: str) -> None:
        self._out.add(work.task_id)
        self.report.left_out.append(LeftOut(work.task_id, reason))

    def _all_sources(self, work: Work) -> set[str]:
        found, waiting = set[str](), list(work.sources)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.works[name].sources if name in self.works else ()
        return found
