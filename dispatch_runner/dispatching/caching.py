"""The cache of a dispatch: nothing of it is loaded before a task that opted in starts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch_runner.clock import Clock
from dispatch_runner.dispatching.prepare import Operator
from dispatch_runner.engine.runner import Runner, Start, Surroundings

if TYPE_CHECKING:
    from dispatch_runner.cache.caching import Caching
    from dispatch_runner.cache.store import Store
    from dispatch_runner.records.redaction import Redactor

_MIB = 1 << 20


class LazyCaching:
    """Asks the cache for the tasks that opted in; runs all others as they are."""

    def __init__(
        self,
        inner: Runner,
        operator: Operator,
        around: Surroundings,
        redactor: "Redactor",
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        """`warn` is told, once, when the cache cannot be used; the tasks then run without it."""
        self._inner = inner
        self._operator = operator
        self._around = around
        self._redactor = redactor
        self._clock = clock
        self._warn = warn
        self._store: Store | None = None
        self._opened: Runner | None = None

    async def run(self, start: Start) -> None:
        own = start.job.task.cache
        if not (start.job.agent.cache if own is None else own):
            await self._inner.run(start)
            return
        if self._opened is None:
            self._opened = self._open() or self._inner
        await self._opened.run(start)

    def close(self) -> None:
        """Lets go of the cache's folder."""
        if self._store is not None:
            self._store.close()

    def _open(self) -> "Caching | None":
        from dispatch_runner.cache.caching import Caching
        from dispatch_runner.cache.folder import CacheUnusableError
        from dispatch_runner.cache.keys import Keys
        from dispatch_runner.cache.store import Store

        settings, around = self._operator.settings, self._around
        if settings.cache_folder is None:
            self._warn("no cache: set HOME, XDG_CACHE_HOME or DISPATCH_RUNNER_CACHE_DIR")
            return None
        try:
            self._store = Store(Path(settings.cache_folder), settings.cache_max_mb * _MIB)
        except CacheUnusableError as error:
            self._warn(f"no cache: {error}")
            return None
        environ = self._operator.environ
        return Caching(
            self._inner,
            self._store,
            Keys(settings.agents, settings.checks, environ, around.workspace, around.roots),
            holds_secret=lambda value: self._redactor.redact(value) is not value,
            correlation_id=around.correlation_id,
            clock=self._clock,
            reads=not settings.refresh,
            tells=settings.explain,
        )
