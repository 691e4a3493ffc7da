"""A runner around a runner: gives each task the workspace that it asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.engine.asking import claimed_files
from dispatch_runner.engine.runner import Outcome, Runner, Start
from dispatch_runner.models import ErrorType, JsonObject, TaskError, TaskStatus
from dispatch_runner.models.trace import TraceEvent
from dispatch_runner.paths import AllowedRoots, identity
from dispatch_runner.protocols import Place
from dispatch_runner.settings.values import Scope
from dispatch_runner.workspaces import scope as scopes
from dispatch_runner.workspaces.git import GitError
from dispatch_runner.workspaces.merging import Conflicts
from dispatch_runner.workspaces.names import shown
from dispatch_runner.workspaces.relocation import ScratchPlace
from dispatch_runner.workspaces.repository import Saved
from dispatch_runner.workspaces.worktrees import Opened, Worktrees

FILES_TOLD = 1_000
"""Most changed files in a trace."""

SAVE_SECONDS = 300.0
"""Most for committing what a task did, also when everything else is being cancelled."""


class InWorkspace:
    """Runs tasks where they asked to work; all attempts of a task in one workspace.

    What is done in a worktree is committed on every way out: success, failure, time limit, and
    cancellation. Scopes are judged after a success.
    """

    def __init__(
        self,
        inner: Runner,
        worktrees: Worktrees,
        *,
        scratch: Callable[[str], Path],
        roots: AllowedRoots,
        scope: Scope,
    ) -> None:
        """`scratch` says, by task, where a folder may be made."""
        self._inner = inner
        self._worktrees = worktrees
        self._scratch = scratch
        self._roots = roots
        self._scope = scope

    async def run(self, start: Start) -> None:
        if start.job.workspace == "worktree":
            await self._in_worktree(start)
        elif start.job.workspace == "scratch":
            await self._in_scratch(start)
        else:
            await self._in_place(start)

    async def _in_place(self, start: Start) -> None:
        """Tasks share the folder, so nobody can know who changed what: only what the agent itself says
        that it wrote is judged."""
        await self._inner.run(start)
        outcome = start.outcome
        if outcome.status is TaskStatus.SUCCESS and outcome.output is not None:
            files = [identity(path) for path in claimed_files(outcome.output)]
            self._judge(outcome, files, scopes.declared(start.job, start.outputs))

    async def _in_scratch(self, start: Start) -> None:
        try:
            folder = _new_folder(self._scratch(start.job.task.task_id))
        except OSError as error:
            _fail(start.outcome, ErrorType.UNAVAILABLE, f"cannot make a folder to work in: {error}")
            return
        start.place = ScratchPlace(folder, self._roots)
        _note(start.outcome, kind="scratch", folder=str(folder))
        await self._inner.run(start)

    async def _in_worktree(self, start: Start) -> None:
        locks = scopes.declared(start.job, start.outputs)
        try:
            opened = await self._worktrees.open(start.job.task, locks)
        except Conflicts as conflicts:
            start.outcome.status, start.outcome.error = TaskStatus.ERROR, _unmergeable(conflicts)
            return
        except (GitError, OSError) as error:
            hint = error.hint if isinstance(error, GitError) else None
            _fail(start.outcome, ErrorType.UNAVAILABLE, f"no worktree: {error}", hint)
            return
        start.place = opened.place
        try:
            await self._inner.run(start)
        except BaseException:
            with anyio.move_on_after(SAVE_SECONDS, shield=True):
                await self._save(start, opened, "cancelled")
            raise
        with anyio.CancelScope(shield=True):
            await self._save(start, opened, str(start.outcome.status))

    async def _save(self, start: Start, opened: Opened, ended: str) -> None:
        """Commits, judges and tells. A success that could not be kept is none."""
        outcome, place, work = start.outcome, opened.place, opened.work
        succeeded = ended == TaskStatus.SUCCESS
        try:
            forced = self._promised(opened, outcome, work.locks) if succeeded else ()
            saved = await self._worktrees.close(opened, ended, forced)
            self._tell(outcome, opened, saved)
            if succeeded:
                top = _top(self._worktrees)
                self._judge(outcome, [f"{top}/{path}" for path in saved.files], work.locks)
            if outcome.status is TaskStatus.SUCCESS:
                await self._worktrees.succeeded(work)
        except (GitError, OSError) as error:
            text = f"what it did could not be committed: {error}; it is in '{opened.tree.folder}'"
            outcome.warnings.append(text)
            if succeeded:
                _fail(outcome, ErrorType.INTERNAL, text)
        _translate(outcome, place)

    def _promised(self, opened: Opened, outcome: Outcome, locks: Sequence[str]) -> list[str]:
        """Files that the task said it would write or has written, below the worktree: kept although
        git may ignore them."""
        place = opened.place
        wanted = [*claimed_files(place.inward(outcome.output or {})), *place.inward(locks)]
        inside = f"{opened.tree.folder}/"
        real = [identity(str(place.workspace / path)) for path in wanted]
        return [
            path.removeprefix(inside)
            for path in dict.fromkeys(real)
            if path.startswith(inside) and Path(path).is_file() and "/.git/" not in path
        ]

    def _tell(self, outcome: Outcome, opened: Opened, saved: Saved) -> None:
        tree, work = opened.tree, opened.work
        kept = tree.folder.exists()
        _note(
            outcome,
            kind="worktree",
            folder=str(tree.folder) if kept else None,
            branch=tree.branch if kept else None,
            base=tree.base,
            commit=saved.tip,
            builds_on=work.sources,
            files=[shown(path) for path in saved.files[:FILES_TOLD]],
        )
        outcome.warnings += opened.notes
        outcome.warnings += [f"not committed: {reason}" for reason in saved.unsaved[:10]]

    def _judge(self, outcome: Outcome, files: Sequence[str], declared: Sequence[str]) -> None:
        found = scopes.outside(files, declared)
        if not found:
            return
        if self._scope == "warn":
            outcome.warnings.append(scopes.complaint(found))
            return
        outcome.status, outcome.output = TaskStatus.ERROR, None
        outcome.error = scopes.refusal(found)


def _top(worktrees: Worktrees) -> Path:
    assert worktrees.repository is not None
    return worktrees.repository.top


def _new_folder(wanted: Path) -> Path:
    """An empty folder, private, of this name or, where an earlier run left one, of the next."""
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        else:
            return folder


def _note(outcome: Outcome, **data: object) -> None:
    """For the task's trace."""
    outcome.events.append(TraceEvent(Clock().utc(), "workspace", data))


def _fail(outcome: Outcome, kind: ErrorType, message: str, hint: str | None = None) -> None:
    outcome.status, outcome.output = TaskStatus.ERROR, None
    outcome.error = TaskError(kind, message, hint=hint)


def _unmergeable(conflicts: Conflicts) -> TaskError:
    found: list[JsonObject] = [
        {"task_id": each.task_id, "file": each.file, "hunk": each.hunk} for each in conflicts.found
    ]
    return TaskError(
        ErrorType.DEPENDENCY,
        f"the changes of its dependencies do not go together: {conflicts}",
        hint="let one of them depend on the other, or declare the files in modifies_files of both",
        details={"conflicts": found},
    )


def _translate(outcome: Outcome, place: Place) -> None:
    """What the caller reads names the caller's files."""
    outcome.warnings = place.outward(outcome.warnings)
    error = outcome.error
    if error is not None:
        error.message, error.hint = place.outward([error.message, error.hint])
        error.details = place.outward(error.details)
