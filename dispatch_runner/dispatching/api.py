"""The Python API: the same engine, records and guarantees, without a process around it.

result = await dispatch({"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"n": 1}}]})

async with Session() as session:
    first = session.submit({"agent": "echo", "input_data": {"n": 1}})
    both = await session.execute_batch([...])
    print(await session.result(first))
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from dispatch_runner.dispatching.prepare import Operator, job_of, prepare
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.errors import DispatchRunnerError
from dispatch_runner.events import Observer
from dispatch_runner.models import Config, JsonObject, Request, Result, Task, TaskResult
from dispatch_runner.settings import Flags, effective

NO_FLAGS = Flags()


async def dispatch(
    request: Request | Mapping[str, Any] | bytes | str,
    *,
    flags: Flags = NO_FLAGS,
    environ: Mapping[str, str] = os.environ,
    observers: Sequence[Observer] = (),
) -> Result:
    """Runs a request and returns its result, whatever became of its tasks.

    Call it inside an anyio event loop (`anyio.run`, asyncio, trio). When it is cancelled, what runs is
    ended and every record is written before it raises.

    Raises:
        RequestRejected: the request is wrong; nothing was started and nothing written.
        SettingsError: a flag, the environment or the settings file is wrong.
        RecordError: a record could not be written; what was announced before is on disk.
    """
    operator = Operator.of(flags, environ, Path.cwd())
    run = Dispatch.of(prepare(operator, _plain(request)), observers)
    result = await run.run()
    if run.fault is not None:
        raise run.fault
    return result


class Session:
    """A dispatch that grows: tasks are submitted while others run.

    An asynchronous context manager. Leaving it waits for all tasks that were submitted; leaving it by
    an exception, or being cancelled, ends what runs first. Either way nothing runs afterwards, and
    `outcome` is the whole result. One run folder holds the records of all its tasks.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        flags: Flags = NO_FLAGS,
        environ: Mapping[str, str] = os.environ,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._operator = Operator.of(flags, environ, Path.cwd())
        self._config = effective(self._operator.settings, config or Config())
        self._document: JsonObject = {"tasks": [], "config": _given(config or Config())}
        self._observers = observers
        self._stack = AsyncExitStack()
        self._dispatch: Dispatch | None = None
        self._known: dict[str, Sequence[str]] = {}

    async def __aenter__(self) -> Self:
        self._dispatch = Dispatch(
            self._operator, self._config, self._document, observers=self._observers
        )
        group = await self._stack.enter_async_context(anyio.create_task_group())
        group.start_soon(self._dispatch.run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = self._running()
        if error is None:
            running.close()
        else:
            running.stop(None)
        await self._stack.__aexit__(None, None, None)  # waits; the caller's error stays its own
        if running.fault is not None and error is None:
            raise running.fault

    @property
    def outcome(self) -> Result | None:
        """The result of the whole session, once it was left."""
        return self._dispatch.result if self._dispatch is not None else None

    def submit(self, task: Task | Mapping[str, Any]) -> str:
        """Adds one task and returns its id at once; without a `task_id` it gets one.

        It may depend on any task that was submitted before. Raises `RequestRejected`.
        """
        return self._submit([task])[0]

    async def result(self, task_id: str) -> TaskResult:
        """The task's result, as soon as it has settled and its trace is on disk.

        Raises `KeyError` for an id that was never submitted.
        """
        return await self._running().result_of(task_id)

    async def execute_batch(self, tasks: Sequence[Task | Mapping[str, Any]]) -> list[TaskResult]:
        """Runs tasks that may depend on each other and on earlier ones; results in their order.

        Raises `RequestRejected` with all problems of all of them; then none was started.
        """
        names = self._submit(tasks)
        return [await self.result(name) for name in names]

    def _submit(self, tasks: Sequence[Task | Mapping[str, Any]]) -> list[str]:
        running = self._running()
        documents = [self._named(task, place) for place, task in enumerate(tasks)]
        prepared = prepare(self._operator, {"tasks": documents}, known=self._known)
        names = [task.task_id for task in prepared.request.tasks]
        self._known.update((task.task_id, task.dependencies) for task in prepared.request.tasks)
        running.warnings += prepared.warnings
        jobs = [job_of(self._operator, self._config, task) for task in prepared.request.tasks]
        running.add(jobs, documents)
        return names

    def _named(self, task: Task | Mapping[str, Any], place: int) -> JsonObject:
        document = _given(task) if isinstance(task, Task) else dict(task)
        document.setdefault("task_id", f"task-{len(self._known) + place + 1}")
        return document

    def _running(self) -> Dispatch:
        if self._dispatch is None or self.outcome is not None:
            raise DispatchRunnerError(
                "the session is not open: use 'async with Session() as session'"
            )
        return self._dispatch


def _plain(request: Request | Mapping[str, Any] | bytes | str) -> bytes | JsonObject:
    if isinstance(request, Request):
        return {
            **_given(request), "config": _given(request.config), "tasks": list(map(_given, request.tasks))
        }  # fmt: skip
    if isinstance(request, str):
        return request.encode("utf-8", "surrogatepass")
    return request if isinstance(request, bytes) else dict(request)


def _given(part: Request | Task | Config) -> JsonObject:
    """The fields that say something: null means the default."""
    fields = {item.name: getattr(part, item.name) for item in dataclasses.fields(part)}
    return {name: value for name, value in fields.items() if value is not None}
