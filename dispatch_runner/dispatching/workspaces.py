"""The workspaces of a dispatch: nothing of them is loaded before a task asks for one of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from dispatch_runner.dispatching.prepare import Operator
from dispatch_runner.engine.runner import Job, Runner, Start, Surroundings
from dispatch_runner.models import Interruption, TaskResult, TaskStatus
from dispatch_runner.models.result import Merge

if TYPE_CHECKING:
    from dispatch_runner.protocols import AgentCall
    from dispatch_runner.workspaces.runner import InWorkspace
    from dispatch_runner.workspaces.topology import Check
    from dispatch_runner.workspaces.worktrees import Worktrees


class LazyWorkspaces:
    """Gives tasks the workspaces that they ask for; runs all others as they are."""

    def __init__(
        self, inner: Runner, operator: Operator, around: Surroundings, run_folder: Path
    ) -> None:
        """What is in the folder above `run_folder` is no part of what tasks change."""
        self._inner = inner
        self._operator = operator
        self._around = around
        self._run_folder = run_folder
        self._jobs: list[Sequence[Job]] = []
        self._worktrees: Worktrees | None = None
        self._opened: InWorkspace | None = None
        self._merging = anyio.CancelScope()
        self._stopped: Interruption | None = None
        self._notes: list[str] = []

    def add(self, jobs: Sequence[Job]) -> None:
        """Tasks that are about to be added to the dispatch."""
        self._jobs.append(jobs)
        if self._worktrees is not None:
            self._worktrees.add([job.task for job in jobs])

    async def run(self, start: Start) -> None:
        if start.job.workspace == "in_place" and self._operator.settings.scope is None:
            await self._inner.run(start)
            return
        if self._opened is None:
            self._opened = self._open()
        await self._opened.run(start)

    def stop(self, cause: Interruption | None) -> None:
        """A merge that is under way, or would come, ends; what was not merged stays on its branches."""
        self._stopped = cause
        self._merging.cancel()

    @property
    def cut_short(self) -> Interruption | None:
        """What ended the merge before it was done, or null."""
        return self._stopped if self._merging.cancelled_caught else None

    async def merge(self, results: Sequence[TaskResult]) -> Merge | None:
        """Merges what succeeded, if that was asked for and nothing was cancelled, which a resume would
        run. Never raises for a failure of git."""
        if self._operator.settings.merge == "none" or not self._any_worktree():
            return None
        if any(result.status is TaskStatus.CANCELLED for result in results):
            self._notes.append("nothing was merged, since tasks were cancelled")
            return None
        if self._opened is None:  # everything was done in an earlier process
            self._opened = self._open()
        assert self._worktrees is not None
        from dispatch_runner.workspaces.git import GitError
        from dispatch_runner.workspaces.topology import merge_dispatch

        merge = None
        try:
            with self._merging:
                merge = await merge_dispatch(self._worktrees, self._check())
        except (GitError, OSError) as error:
            self._notes.append(f"nothing was merged: {error}")
        if self._merging.cancelled_caught:
            command = f"dispatch-runner resume {self._run_folder.name}"
            self._notes.append(
                f"the merge was interrupted: every task's changes are on its branch; '{command}' merges"
            )
        if merge is not None:
            self._note_losses(merge)
        return merge

    def _any_worktree(self) -> bool:
        return any(job.workspace == "worktree" for jobs in self._jobs for job in jobs)

    def _note_losses(self, merge: Merge) -> None:
        lost = {
            *(each.task_id for each in merge.conflicts),
            *(each.task_id for each in merge.left_out),
            *(each.task_id for each in merge.failed_checks),
        }
        if lost:
            self._notes.append(f"changes of {len(lost)} tasks are not merged; 'merge' says why")

    async def close(self) -> list[str]:
        """Lets go of everything; what the caller should know."""
        if self._worktrees is None:
            return []
        await self._worktrees.finish()
        return [*self._worktrees.notes, *self._notes]

    def _open(self) -> "InWorkspace":
        from dispatch_runner.workspaces.runner import InWorkspace
        from dispatch_runner.workspaces.worktrees import Worktrees

        settings, around = self._operator.settings, self._around
        self._worktrees = Worktrees(
            self._run_folder.name,
            cwd=around.workspace,
            environ=self._operator.environ,
            roots=around.roots,
            trace_dir=self._run_folder.parent,
            carry_changes=settings.carry_changes,
            filters=settings.filters,
        )
        for jobs in self._jobs:
            self._worktrees.add([job.task for job in jobs])
        return InWorkspace(
            self._inner,
            self._worktrees,
            scratch=self._scratch_folder,
            roots=around.roots,
            scope=settings.scope or "warn",
        )

    def _scratch_folder(self, task_id: str) -> Path:
        assert self._around.output_prefix is not None
        prefix = self._around.output_prefix(task_id)
        return prefix.with_name(f"{prefix.name}.scratch")

    def _check(self) -> "Check | None":
        name = self._operator.settings.merge_check
        if name is None:
            return None
        from dispatch_runner.errors import AgentError
        from dispatch_runner.protocols import Answer
        from dispatch_runner.workspaces.topology import Check

        checks = self._around.checks
        assert checks is not None  # the settings file defines those that it names

        async def judge(folder: Path) -> str | None:
            try:
                await checks.check([name], self._call(folder), Answer({}))
            except AgentError as error:
                printed = [error.details.get(stream) for stream in ("stdout", "stderr")]
                return "\n".join([error.message, *(text for text in printed if text)])
            return None

        return Check(name, judge, self._operator.settings.check_after)

    def _call(self, folder: Path) -> "AgentCall":
        """What the check of a merge is given: it belongs to no task."""
        from dispatch_runner.protocols import AgentCall

        around = self._around
        return AgentCall(
            task_id="",
            agent="",
            description="",
            input={},
            dependencies={},
            correlation_id=around.correlation_id,
            attempt=1,
            timeout_seconds=0.0,
            workspace=folder,
            roots=around.roots,
            output_prefix=None,
            hurry=around.hurry,
        )
