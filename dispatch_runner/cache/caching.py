"""Gives the result of earlier work instead of running a task again. A `Runner` around a `Runner`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from anyio import CancelScope, to_thread

from dispatch_runner.cache.digests import Uncacheable
from dispatch_runner.cache.entries import Entry
from dispatch_runner.cache.explaining import why_missed
from dispatch_runner.cache.keys import Keys, Parts, key_of
from dispatch_runner.cache.produced import Stale, collect, put_back, snapshot
from dispatch_runner.cache.store import Store
from dispatch_runner.clock import Clock
from dispatch_runner.engine.asking import claimed_files
from dispatch_runner.engine.runner import Runner, Start
from dispatch_runner.errors import AgentError
from dispatch_runner.events import CacheAnswer, CacheConsulted
from dispatch_runner.models import JsonObject, TaskStatus
from dispatch_runner.models.trace import TraceEvent
from dispatch_runner.paths import identity, is_glob
from dispatch_runner.references import resolve


@dataclass(frozen=True, slots=True)
class Work:
    """What a task is about to do, by what its result will depend on."""

    key: str
    parts: Parts
    input: JsonObject
    declared: tuple[str, ...]
    """Paths and globs of the files that it may write."""
    before: dict[str, str]
    """Digests of those that are there, and of those that are not, by resolved path."""


@dataclass(slots=True)
class Found:
    """What the cache has for a task."""

    work: Work | None
    """Null: the task's result cannot be kept."""
    entry: Entry | None
    reason: str
    restored: list[str] = field(default_factory=list)
    """Files that were put back."""


class Caching:
    """Looks for a result before a task runs, and keeps a success afterwards.

    A cache that fails costs a task nothing but the saving: the task then runs as without it. The
    trace tells what was found and why, and what was kept.
    """

    def __init__(
        self,
        inner: Runner,
        store: Store,
        keys: Keys,
        *,
        holds_secret: Callable[[Any], bool],
        correlation_id: str,
        clock: Clock,
        reads: bool = True,
        tells: bool = False,
    ) -> None:
        """
        Args:
            inner: runs a task whose result is not found.
            store: where results are.
            keys: what they depend on.
            holds_secret: whether a text or JSON value holds what no record may hold.
            correlation_id: of the dispatch.
            clock: the dispatch's.
            reads: false: every task runs, and its result replaces the one that is kept.
            tells: whether observers hear of each answer of the cache, too.
        """
        self._inner = inner
        self._store = store
        self._keys = keys
        self._holds_secret = holds_secret
        self._correlation_id = correlation_id
        self._clock = clock
        self._reads = reads
        self._tells = tells

    async def run(self, start: Start) -> None:
        found = await to_thread.run_sync(self._find, start)
        work = found.work
        if work is None:
            self._tell(start, "skipped", None, found.reason)
            await self._inner.run(start)
            return
        if found.entry is not None:
            self._give(start, work, found.entry, found.restored)
            then = found.entry.usage
            usage = None if then is None else asdict(then)
            self._tell(start, "hit", work.key, found.reason, files=found.restored, usage_then=usage)
            return
        self._tell(start, "miss", work.key, found.reason)
        await self._inner.run(start)
        if start.outcome.status is not TaskStatus.SUCCESS:
            return
        with CancelScope(shield=True):  # it is a success, whatever is cancelled now
            refusal = await to_thread.run_sync(self._keep, start, work)
        self._tell(start, "not_stored" if refusal else "stored", work.key, refusal or "")

    # -- looking ------------------------------------------------------------------------------

    def _find(self, start: Start) -> Found:
        try:
            work = self._work(start)
        except Uncacheable as error:
            return Found(None, None, str(error))
        except Exception as error:  # noqa: BLE001 - a role of a package; without it, the task would run
            return Found(None, None, f"what it depends on cannot be told: {_shown(error)}")
        if not self._reads:
            return Found(work, None, "--refresh: nothing was looked for")
        entry = self._store.entry(work.key)
        if entry is None:
            known = self._store.known(_task(start))
            return Found(work, None, why_missed(work.parts, work.key, known))
        return self._restored(work, entry)

    def _work(self, start: Start) -> Work:
        """Raises `Uncacheable`."""
        job = start.job
        task, role = job.task, job.agent.role
        if job.workspace != "in_place":
            raise Uncacheable("only results of tasks that work in place are kept")
        value = self._input(start)
        declared = (*map(identity, role.writes(value)), *map(_resolved, task.modifies_files))
        before = snapshot(declared)
        dependencies = {name: start.outputs.get(name) for name in task.dependencies}
        parts = self._keys.parts(job, value, dependencies, tuple(before))
        return Work(key_of(parts), parts, value, declared, before)

    def _input(self, start: Start) -> JsonObject:
        job = start.job
        if not job.has_references:
            return job.task.input_data
        try:
            value: JsonObject = resolve(job.task.input_data, start.outputs)
        except AgentError as error:
            raise Uncacheable(error.message) from error
        if job.agent.role.check_input(value, self._keys.roots):
            raise Uncacheable("its input is not valid")
        return value

    def _restored(self, work: Work, entry: Entry) -> Found:
        """The entry, once the files of its task are as that task left them."""
        when = f"dispatch {entry.dispatch} of {entry.stored_at}"
        changed = [file.after for file in entry.files if file.changed]
        contents = {sha256: self._store.content(sha256) for sha256 in changed}
        there = {sha256: content for sha256, content in contents.items() if content is not None}
        if len(there) < len(contents):
            return Found(work, None, f"a file of {when} is not in the cache any more")
        try:
            written = put_back(entry.files, there, work.before, self._keys.roots)
        except (Stale, Uncacheable) as error:
            return Found(work, None, f"{error} ({when})")
        return Found(work, entry, f"all {len(entry.parts)} parts are as in {when}", written)

    def _give(self, start: Start, work: Work, entry: Entry, restored: list[str]) -> None:
        outcome = start.outcome
        outcome.status, outcome.output, outcome.error = TaskStatus.SUCCESS, entry.output, None
        outcome.input, outcome.backend, outcome.provider = work.input, entry.backend, None
        told = f"from the cache: result of dispatch {entry.dispatch} of {entry.stored_at}"
        if restored:
            told += f"; files put back: {len(restored)}"
        outcome.warnings = [*entry.warnings, told]

    # -- keeping ------------------------------------------------------------------------------

    def _keep(self, start: Start, work: Work) -> str | None:
        """Why the result is not kept, or null."""
        try:
            entry, contents = self._entry(start, work)
            self._store.keep(_task(start), entry, contents)
        except Uncacheable as error:
            return str(error)
        except OSError as error:
            return f"the cache cannot be written: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - the task has succeeded all the same
            return f"it cannot be kept: {_shown(error)}"
        return None

    def _entry(self, start: Start, work: Work) -> tuple[Entry, dict[str, bytes]]:
        """Raises `Uncacheable`, and what encoding raises."""
        job, outcome = start.job, start.outcome
        output = outcome.output or {}
        if outcome.backend != job.agent.backend.name:
            raise Uncacheable(f"'{outcome.backend}' answered, which is only a fallback")
        claimed = [str(self._keys.folder / path) for path in claimed_files(output)]
        files, contents = collect(work.declared, claimed, work.before, self._keys.roots)
        self._require_unchanged(start, work)
        texts = [content.decode("utf-8", "replace") for content in contents.values()]
        told = [work.input, output, outcome.warnings]
        if self._holds_secret(told) or any(map(self._holds_secret, texts)):
            raise Uncacheable("it holds what looks like a secret")
        entry = Entry(
            key=work.key,
            parts=work.parts,
            backend=outcome.backend,
            output=output,
            warnings=outcome.warnings,
            files=files,
            usage=outcome.usage,
            dispatch=self._correlation_id,
            stored_at=self._clock.utc(),
        )
        return entry, contents

    def _require_unchanged(self, start: Start, work: Work) -> None:
        """What it read is still as it was: else the result may be of something in between."""
        outputs = {name: start.outputs.get(name) for name in start.job.task.dependencies}
        now = self._keys.parts(start.job, work.input, outputs, tuple(work.before))
        changed = [name for name, part in now.items() if work.parts.get(name) != part]
        if changed or len(now) != len(work.parts):
            name = changed[0] if changed else "a file"
            raise Uncacheable(f"{name} changed while it ran; name what it writes in modifies_files")

    def _tell(
        self, start: Start, answer: CacheAnswer, key: str | None, reason: str, **more: Any
    ) -> None:
        data = {"answer": answer, "key": key, "reason": reason, **more}
        start.outcome.events.append(TraceEvent(self._clock.utc(), "cache", data))
        if self._tells:
            start.report(CacheConsulted(start.job.task.task_id, answer, key, reason))


def _task(start: Start) -> str:
    """By which a later run of the same task knows this one, whatever it depends on."""
    return f"{start.job.agent.name} {start.job.task.task_id}"


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _resolved(path: str) -> str:
    return path if is_glob(path) else identity(path)
