"""The composition root: wires graph, limits, runner, records and reports for one dispatch."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio

from dispatch_runner.clock import Clock
from dispatch_runner.dispatching.caching import LazyCaching
from dispatch_runner.dispatching.limiting import Limiting
from dispatch_runner.dispatching.prepare import Operator, Prepared
from dispatch_runner.dispatching.tools import LazyTools
from dispatch_runner.dispatching.workspaces import LazyWorkspaces
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.executor import Executor
from dispatch_runner.engine.measure import overall_status, summarise
from dispatch_runner.engine.runner import Job, Retrying, Runner, Surroundings
from dispatch_runner.errors import RecordError
from dispatch_runner.events import (
    CacheConsulted,
    DispatchFinished,
    DispatchStarted,
    Event,
    Observer,
    TaskDeclared,
    TasksAdded,
)
from dispatch_runner.models import Interruption, JsonObject, Result, TaskResult, Usage
from dispatch_runner.models.result import Merge
from dispatch_runner.models.trace import Attempt
from dispatch_runner.protocols import Checks
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.register import register
from dispatch_runner.settings import EffectiveConfig

FEW_WORKERS = 16
"""So many programs fit into any usual limit of open files: nothing to look up."""


def workers_that_fit(wanted: int) -> int:
    """How many programs may run at once, at most `wanted`, without running out of descriptors.

    Raises the limit of open files of this process first when many are wanted.
    """
    if wanted <= FEW_WORKERS:
        return wanted
    from dispatch_runner.process import (
        DESCRIPTORS_PER_PROGRAM,
        descriptor_headroom,
        raise_descriptor_limit,
    )

    raise_descriptor_limit()
    return max(1, min(wanted, descriptor_headroom() // DESCRIPTORS_PER_PROGRAM))


class Past(NamedTuple):
    """What earlier processes have left of a dispatch that this one continues."""

    recorder: Callable[[Redactor, JsonObject], Recorder]
    """Opens its records again, with the configuration in force now."""
    known: Mapping[str, TaskResult]
    """Results that stay, by id."""
    attempts: Mapping[str, Sequence[Attempt]]
    """Of the tasks that are run again, by id."""
    spent: Usage | None
    """What else was consumed."""
    seconds: float
    """How long those processes ran."""
    peak: int
    warnings: Sequence[str]

    def usages(self) -> list[Usage]:
        """Everything that was consumed, as far as it is known."""
        again = (attempt.usage for each in self.attempts.values() for attempt in each)
        all_ = (*(result.usage for result in self.known.values()), *again, self.spent)
        return [usage for usage in all_ if usage is not None]


class Dispatch:
    """One dispatch, from the first byte of its records to its result.

    Made inside the event loop. Raises `RecordError` when the records cannot be made; then nothing
    was started.
    """

    def __init__(
        self,
        operator: Operator,
        config: EffectiveConfig,
        request: JsonObject,
        *,
        correlation_id: str | None = None,
        metadata: JsonObject | None = None,
        observers: Sequence[Observer] = (),
        past: Past | None = None,
    ) -> None:
        self.correlation_id = correlation_id or _new_uuid()
        self.warnings: list[str] = []
        self.result: Result | None = None
        """The whole result, once everything has ended; also when `run` was cancelled."""
        self.fault: Exception | None = None
        """Our own failure, when there was one; the result then says what is known."""
        self.document: bytes | None = None
        """The result as it stands in `result_file`; null until it is written."""
        self._config = config
        self._workers = workers_that_fit(config.max_workers)
        if self._workers < config.max_workers:
            self.warnings.append(
                f"max_workers {config.max_workers} is more than the limit of open files allows:"
                f" {self._workers} run at once (raise it: ulimit -n)"
            )
        self._clock = Clock()
        self._began = self._clock.monotonic()
        self._hurry = anyio.Event()
        self._limiting = Limiting(
            operator, config, self._workers, past.usages() if past is not None else ()
        )
        self._tools = LazyTools(operator, self.correlation_id, self._hurry)
        self._redactor = Redactor(operator.environ)
        self._past = past
        if past is not None:
            self.warnings += past.warnings
            self._recorder = past.recorder(self._redactor, config.as_json())
        else:
            self._recorder = Recorder.open(
                config.trace_dir,
                correlation_id=self.correlation_id,
                request=request,
                config=config.as_json(),
                metadata=metadata or {},
                durability=operator.settings.durability,
                redactor=self._redactor,
                operator=operator.as_json(),
            )
        register(self.run_folder, operator.environ)
        self._reports = list(observers)
        self._caching: LazyCaching | None = None
        self._merge: Merge | None = None
        self._executor = self._make_executor(operator)
        self._emit(DispatchStarted(self.correlation_id, config.as_json(), self._workers))

    @classmethod
    def of(
        cls, prepared: Prepared, observers: Sequence[Observer] = (), past: Past | None = None
    ) -> "Dispatch":
        """The dispatch of a checked request; all its tasks are added, and those that settled in the past
        stay so."""
        dispatch = cls(
            prepared.operator,
            prepared.config,
            prepared.document,
            correlation_id=prepared.request.correlation_id,
            metadata=prepared.request.metadata,
            observers=observers,
            past=past,
        )
        dispatch.warnings += prepared.warnings
        if past is None:
            dispatch.add(prepared.jobs())
        else:
            jobs = prepared.jobs(past.attempts)
            dispatch._workspaces.add(jobs)
            dispatch._executor.add(jobs, past.known)
        dispatch.close()
        return dispatch

    @property
    def run_folder(self) -> Path:
        """Where its records are."""
        return self._recorder.run_folder

    def add(self, jobs: Sequence[Job], documents: Sequence[JsonObject] = ()) -> None:
        """Adds tasks; starts what may start. `documents` are those that the request did not have."""
        self._recorder.keep(documents)
        self._workspaces.add(jobs)
        self._executor.add(jobs)

    def close(self) -> None:
        """No more tasks will come: `run` returns when all have settled."""
        self._executor.close()

    def stop(self, cause: Interruption | None) -> None:
        """No new starts; what runs is cancelled. A second call skips the grace times.

        Null: the caller's own wish, not told as an interruption.
        """
        if self._executor.stopping:
            self._hurry.set()
            self._workspaces.stop(cause)
        self._executor.stop(cause)

    async def result_of(self, task_id: str) -> TaskResult:
        """The task's result, as soon as it has settled and is on disk."""
        return await self._executor.result(task_id)

    async def run(self) -> Result:
        """Runs everything and returns the whole result, whatever happened; see `fault`."""
        try:
            async with anyio.create_task_group() as servers:
                with self._tools.opened_in(servers):
                    await self._executor.run(deadline_seconds=self._config.dispatch_timeout_seconds)
            self._merge = await self._workspaces.merge(self._executor.results())
        except Exception as error:  # noqa: BLE001 - told in the result and by `fault`
            self._blame(error)
        finally:
            self._limiting.close()
            if self._caching is not None:
                self._caching.close()
            with anyio.CancelScope(shield=True):
                self.warnings += await self._workspaces.close()
                self.result = result = await self._finish()
        return result

    async def _finish(self) -> Result:
        result = self._result()
        try:
            await self._recorder.flush()
            self.document = self._recorder.finish(result)
        except RecordError as error:
            self._blame(error)
        finally:
            self._recorder.close()
        for observer in self._reports:
            observer(DispatchFinished(result))
        return result

    def _emit(self, event: Event) -> None:
        """To the recorder first, which redacts results; then to the others, without secrets."""
        self._recorder(event)
        if not self._reports:
            return
        if isinstance(event, TasksAdded):
            known = self._past.known if self._past else {}
            tasks = (task for task in event.tasks if task.task_id not in known)
            event = TasksAdded(tuple(map(self._redacted, tasks)))
        elif isinstance(event, CacheConsulted):
            event = event._replace(reason=self._redactor.redact_text(event.reason))
        for observer in self._reports:
            observer(event)

    def _redacted(self, task: TaskDeclared) -> TaskDeclared:
        if not task.description:
            return task
        return task._replace(description=self._redactor.redact_text(task.description))

    def _blame(self, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        self.fault = self.fault or error
        self.warnings.append(f"dispatch-runner itself failed: {error}")

    def _make_executor(self, operator: Operator) -> Executor:
        around = Surroundings(
            self.correlation_id,
            Path.cwd(),
            operator.roots,
            self._hurry,
            self._recorder.output_prefix,
            self._tools,
            _checks(operator),
        )
        runner: Runner = Retrying(Attempting(around, self._clock))
        if not operator.settings.no_cache:
            runner = self._caching = LazyCaching(
                runner, operator, around, self._redactor, self._clock, self.warnings.append
            )
        self._workspaces = LazyWorkspaces(runner, operator, around, self._recorder.run_folder)
        return Executor(
            self._workspaces,
            max_workers=self._workers,
            admission=self._limiting.open,
            emit=self._emit,
            clock=self._clock,
            fail_fast=self._config.fail_fast,
        )

    def _what_is_left(self, interrupted: str | None, results: Sequence[TaskResult]) -> str:
        command = f"'dispatch-runner resume {self.run_folder.name}'"
        if interrupted is None and any(
            each.error and "provider" in each.error.details for each in results
        ):
            return (
                f"a provider takes no more calls; {command} runs what is left, once it does again"
            )
        if interrupted is None:
            return f"cancelled; {command} runs what is left"
        more = " with a larger budget" if interrupted == "budget" else ""
        return f"interrupted by {interrupted}; {command}{more} runs what is left"

    def _result(self) -> Result:
        executor, recorder, past = self._executor, self._recorder, self._past
        results = executor.results()
        summary = summarise(
            executor.graph,
            results,
            wall_seconds=self._clock.monotonic() - self._began + (past.seconds if past else 0.0),
            max_workers=self._workers,
            peak=max(executor.peak, past.peak if past else 0),
        )
        interrupted = executor.stopped if summary.cancelled else self._workspaces.cut_short
        if summary.cancelled:
            self.warnings.append(self._what_is_left(interrupted, results))
        return Result(
            status=overall_status(summary),
            correlation_id=self.correlation_id,
            interrupted=interrupted,
            results=results,
            summary=summary,
            trace_index=str(recorder.index_file),
            result_file=str(recorder.result_file),
            warnings=self.warnings,
            merge=self._merge and self._without_secrets(self._merge),
        )

    def _without_secrets(self, merge: Merge) -> Merge:
        for conflict in merge.conflicts:
            conflict.hunk = self._redactor.redact_text(conflict.hunk)
        for failed in merge.failed_checks:
            failed.message = self._redactor.redact_text(failed.message)
        return merge


def _checks(operator: Operator) -> Checks | None:
    if not operator.settings.checks:
        return None
    from dispatch_runner.agents.checks import CommandChecks

    return CommandChecks(operator.settings.checks)


def _new_uuid() -> str:
    """A random UUID (version 4, RFC 9562); the module `uuid` costs a millisecond to import."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
