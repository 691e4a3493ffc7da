"""Runs tasks in worktrees of a real repository, with agents that are Python functions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.executor import NOTHING_KNOWN, Executor
from dispatch_runner.engine.runner import Job, Retrying, Surroundings
from dispatch_runner.events import TaskFinished
from dispatch_runner.models import Task, TaskResult
from dispatch_runner.models.result import Merge
from dispatch_runner.models.trace import TraceEvent
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall
from dispatch_runner.testing import scripted_agent
from dispatch_runner.workspaces.runner import InWorkspace
from dispatch_runner.workspaces.topology import Check, merge_dispatch
from dispatch_runner.workspaces.worktrees import Worktrees
from support.repositories import ENVIRON, Repo

Doing = Callable[[AgentCall], Any]
NAME = "dispatch-20251006_120000-1f0c9a52"


class Bench:
    """One dispatch. `bench(a=doing)` runs a task by that name; its options are in `bench.task`."""

    def __init__(
        self, repo: Repo, state: Path, *, cwd: Path | None = None, name: str = NAME,
        carry: bool = False, scope: str = "warn", filters: bool = False,
    ) -> None:  # fmt: skip
        self.repo = repo
        self.traces = repo.folder / "traces"
        self.cwd = cwd or repo.folder
        roots = AllowedRoots((str(self.cwd),))
        self.worktrees = Worktrees(
            name, cwd=self.cwd, environ={**ENVIRON, "XDG_STATE_HOME": str(state)}, roots=roots,
            trace_dir=self.traces, carry_changes=carry, filters=filters,
        )  # fmt: skip
        self.events: dict[str, list[TraceEvent]] = {}
        around = Surroundings("c", self.cwd, roots, anyio.Event())
        runner = InWorkspace(
            Retrying(Attempting(around, Clock())), self.worktrees,
            scratch=lambda task_id: state / f"{task_id}.scratch", roots=roots, scope=scope,
        )  # fmt: skip
        self.executor = Executor(runner, max_workers=50, emit=self._hear)
        self.jobs: list[Job] = []

    def task(
        self, task_id: str, doing: Doing, *, seconds: float = 30.0, workspace: Any = "worktree",
        writes: Sequence[str] = (), **fields: Any,
    ) -> None:  # fmt: skip
        """Adds a task that does this with its call and answers with what it returns, or with a word."""

        async def script(call: AgentCall) -> Any:
            done = doing(call)
            if hasattr(done, "__await__"):
                done = await done
            return done if isinstance(done, Mapping) else {"done": True}

        task = Task(task_id=task_id, agent="fake", **{"input_data": {}, **fields})
        job = Job(task, scripted_agent("fake", script, writes=writes), seconds, 0)
        self.jobs.append(job._replace(workspace=workspace))

    async def run(self, known: Mapping[str, TaskResult] = NOTHING_KNOWN) -> dict[str, TaskResult]:
        """Runs everything that was added; `known` has settled in an earlier process."""
        self.worktrees.add([job.task for job in self.jobs])
        self.executor.add(self.jobs, known)
        self.executor.close()
        await self.executor.run()
        return {each.task_id: each for each in self.executor.results()}

    async def merge(self, check: Check | None = None) -> Merge:
        return await merge_dispatch(self.worktrees, check)

    def place(self, task_id: str) -> dict[str, Any]:
        """What the trace says of a task's workspace."""
        (event,) = [each for each in self.events[task_id] if each.event == "workspace"]
        return event.data

    def _hear(self, event: object) -> None:
        if isinstance(event, TaskFinished):
            self.events[event.result.task_id] = list(event.events)


def writing(**files: str) -> Doing:
    """An agent that writes files; two underscores stand for a slash, one for a dot."""

    def do(call: AgentCall) -> dict[str, Any]:
        for name, text in files.items():
            path = call.workspace / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return {"wrote": sorted(files)}

    return do
