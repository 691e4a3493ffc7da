"""What may run at the same time: units, file locks and rates, taken all together or not at all.

Because a task takes everything that it needs in one step, no task holds one thing while it waits for
another, and no deadlock is possible. The number of workers is the executor's own affair.
"""

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

from dispatch_runner.engine.wants import Needs
from dispatch_runner.paths import is_glob, overlap

WINDOW_SECONDS = 60.0
POLL_SECONDS = 0.1
"""How often a lock that another process holds is tried again: nothing tells us when it is free."""


class SharedLocks(Protocol):
    """File locks that hold across the dispatches of this machine."""

    def try_acquire(self, entries: Sequence[str]) -> str | None:
        """Takes all, or none and returns who holds what is in the way."""
        ...

    def release(self, entries: Sequence[str]) -> None: ...


class _Units:
    """Units of one limit, with starts per minute counted in a sliding window."""

    def __init__(self, capacity: int | None, per_minute: int | None) -> None:
        self.free = capacity
        self.per_minute = per_minute
        self.starts: deque[float] = deque()
        self.refused: set[int] = set()

    def opens_at(self) -> float | None:
        """When the rate admits the next start; null when it does so now."""
        if self.per_minute is None or len(self.starts) < self.per_minute:
            return None
        return self.starts[0] + WINDOW_SECONDS

    def forget_before(self, now: float) -> None:
        while self.starts and self.starts[0] + WINDOW_SECONDS <= now:
            self.starts.popleft()


class Limits:
    """Admits tasks by their needs.

    A refusal names the limit that refused: the caller parks the task there and tries again when that
    limit is named by `release` or `opened`.
    """

    def __init__(
        self,
        capacities: Mapping[str, int] | None = None,
        rates: Mapping[str, int] | None = None,
        shared: SharedLocks | None = None,
    ) -> None:
        capacities, rates = capacities or {}, rates or {}
        self._units = {
            name: _Units(capacities.get(name), rates.get(name)) for name in {**capacities, **rates}
        }
        self._shared = shared
        self._held_paths: set[str] = set()
        self._held_globs: set[str] = set()
        self._waiting_rate: set[str] = set()
        self._waiting_shared: dict[Hashable, float] = {}
        self.foreign_holder: str | None = None
        """Who, outside this dispatch, holds a lock that was refused last."""

    def define(self, name: str, capacity: int) -> None:
        """Adds a limit, unless there is one of that name."""
        if name not in self._units:
            self._units[name] = _Units(capacity, None)

    def take(self, needs: Needs, now: float) -> Hashable | None:
        """Takes everything and returns null, or takes nothing and returns the limit that refuses."""
        refusal = self._refused_units(needs.units, now)
        if refusal is None and needs.locks:
            refusal = self._refused_lock(needs.locks, now)
        if refusal is not None:
            return refusal
        for name, amount in needs.units.items():
            unit = self._units[name]
            if unit.free is not None:
                unit.free -= amount
            if unit.per_minute is not None:
                unit.starts.append(now)
        for lock in needs.locks:
            (self._held_globs if is_glob(lock) else self._held_paths).add(lock)
        return None

    def _refused_units(self, units: Mapping[str, int], now: float) -> Hashable | None:
        for name, amount in units.items():
            unit = self._units[name]
            if unit.free is not None and unit.free < amount:
                unit.refused.add(amount)
                return name, amount
            unit.forget_before(now)
            if unit.opens_at() is not None:
                self._waiting_rate.add(name)
                return "rate", name
        return None

    def _refused_lock(self, locks: Sequence[str], now: float) -> Hashable | None:
        for lock in locks:
            if lock in self._held_paths or lock in self._held_globs:
                return "lock", lock
            for held in self._held_globs:
                if overlap(held, lock):
                    return "lock", held
            if is_glob(lock):
                for held in self._held_paths:
                    if overlap(lock, held):
                        return "lock", held
        if self._shared is None:
            return None
        self.foreign_holder = self._shared.try_acquire(locks)
        if self.foreign_holder is None:
            return None
        limit = ("machine", tuple(locks))
        self._waiting_shared[limit] = now + POLL_SECONDS
        return limit

    def release(self, needs: Needs) -> list[Hashable]:
        """Gives everything back; returns the limits that may admit again."""
        opened: list[Hashable] = []
        for name, amount in needs.units.items():
            unit = self._units[name]
            if unit.free is None:
                continue
            unit.free += amount
            fits = [wanted for wanted in unit.refused if wanted <= unit.free]
            unit.refused.difference_update(fits)
            opened.extend((name, wanted) for wanted in fits)
        for lock in needs.locks:
            (self._held_globs if is_glob(lock) else self._held_paths).discard(lock)
            opened.append(("lock", lock))
        if needs.locks and self._shared is not None:
            self._shared.release(needs.locks)
        return opened

    def next_opening(self) -> float | None:
        """Monotonic time at which a limit may open by itself, or null if only a release can."""
        times = [self._units[name].opens_at() or 0.0 for name in self._waiting_rate]
        times.extend(self._waiting_shared.values())
        return min(times, default=None)

    def opened(self, now: float) -> list[Hashable]:
        """The limits that have opened by themselves since the last call."""
        opened: list[Hashable] = []
        for name in list(self._waiting_rate):
            self._units[name].forget_before(now)
            if self._units[name].opens_at() is None:
                self._waiting_rate.discard(name)
                opened.append(("rate", name))
        for limit, at in list(self._waiting_shared.items()):
            if at <= now:
                del self._waiting_shared[limit]
                opened.append(limit)
        return opened
