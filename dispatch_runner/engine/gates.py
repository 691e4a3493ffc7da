"""How many calls a provider takes at a time, learned from what it says. Pure: time is a parameter.

One gate for each provider, shared by all tasks of a dispatch. As in TCP's congestion control, the
number of calls at a time grows by one for as many successes and is halved when the provider says that
it is asked too much (additive increase, multiplicative decrease: Chiu and Jain, 1989). Then everybody
waits, and after the pause one call goes first to try. A provider that refuses every further call, for
a used-up quota or a key that it does not accept, is shut: no call is started any more.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from dispatch_runner.engine.runner import THROTTLES
from dispatch_runner.events import ProviderHeld
from dispatch_runner.models import ErrorType, TaskStatus

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
BLIND_PAUSE_SECONDS = 60.0
"""How long a quota is waited for that does not say when it is there again; then it is tried."""
RESET_MARGIN_SECONDS = 1.0

SILENT = frozenset(
    {
        ErrorType.UNAVAILABLE,
        ErrorType.CRASHED,
        ErrorType.TIMEOUT,
        ErrorType.STALLED,
        ErrorType.CANCELLED,
        ErrorType.INVALID_INPUT,
        ErrorType.MISSING_FILE,
        ErrorType.INTERNAL,
    }
)
"""Failures that say nothing of the provider's load."""


@dataclass(frozen=True, slots=True)
class Shut:
    """Why a provider takes no further call."""

    provider: str
    cause: ErrorType
    message: str
    resets_at: float | None
    """Seconds since 1970, or null when it is not known."""


@dataclass(slots=True)
class Ticket:
    """A call that a gate admitted."""

    provider: str
    since: float
    probe: bool
    """Whether it is the one that tries after a pause."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a call ended, as far as its provider is concerned."""

    provider: str | None
    status: TaskStatus
    error: ErrorType | None = None
    message: str = ""
    retry_after: float | None = None
    exhausted: bool = False
    resets_at: float | None = None


@dataclass(slots=True)
class _Gate:
    running: int = 0
    allowed: float = math.inf
    paused_since: float = -math.inf
    paused_until: float = -math.inf
    pauses: int = 0
    """In a row, without a success between them."""
    trying: bool = False
    """Whether one call has to succeed before others follow."""
    probing: bool = False
    """Whether that one is under way."""
    shut: Shut | None = None

    def opens_at(self, now: float) -> float | None:
        """When it may admit the next call by itself; null: now, or only when another one ends."""
        return self.paused_until if self.paused_until > now else None

    def admits(self, now: float) -> bool:
        if self.paused_until > now or (self.trying and self.probing):
            return False
        return self.running + 1 <= max(1.0, self.allowed)


class Gates:
    """The gates of all providers of a dispatch."""

    news: list[ProviderHeld]
    """What began to be held since somebody cleared this list."""

    def __init__(
        self,
        *,
        wait_for_reset: bool = False,
        uniform: Callable[[float, float], float] | None = None,
    ) -> None:
        """
        Args:
            wait_for_reset: a provider without quota is waited for instead of being shut.
            uniform: a random number between two; spreads the pauses.
        """
        self.waits_for_reset = wait_for_reset
        self._uniform = uniform or _uniform
        self._gates: dict[str, _Gate] = {}
        self._waiting: set[str] = set()
        self.news = []

    def shut(self, provider: str | None) -> Shut | None:
        """Why the provider takes no further call, or null."""
        gate = self._gates.get(provider) if provider is not None else None
        return gate.shut if gate else None

    def choose(self, providers: Sequence[str | None]) -> str | Shut | None:
        """The first of several providers that is not shut; when all are, why the first one is."""
        for provider in providers:
            if self.shut(provider) is None:
                return provider
        return self.shut(providers[0])

    def refusal(self, provider: str | None, now: float) -> Hashable | None:
        """Null when a call may start now; else the limit at which it has to wait."""
        if provider is None:
            return None
        if self._gate(provider).admits(now):
            return None
        self._waiting.add(provider)
        return "gate", provider

    def enter(self, provider: str, now: float) -> Ticket:
        """A call starts that was not refused."""
        gate = self._gate(provider)
        gate.running += 1
        probe = gate.trying
        gate.probing = gate.probing or probe
        return Ticket(provider, now, probe)

    def leave(self, ticket: Ticket) -> None:
        """A call has ended, however it did."""
        gate = self._gate(ticket.provider)
        gate.running -= 1
        if ticket.probe:
            gate.probing = False

    def hear(self, report: Report, since: float, now: float, wall: float) -> float | None:
        """Learns from how a call ended. Seconds that everybody waits now; null: nobody has to.

        Args:
            report: how it ended.
            since: when it had started, monotonic.
            now: monotonic.
            wall: the same moment, in seconds since 1970.
        """
        if report.provider is None:
            return None
        gate = self._gate(report.provider)
        if report.exhausted:
            return self._exhausted(gate, report, now, wall)
        if report.error in THROTTLES:
            cause = report.message or str(report.error)
            return self.throttled(report.provider, report.retry_after, since, now, cause)
        if report.status is TaskStatus.SUCCESS or report.error not in SILENT:
            gate.pauses, gate.trying = 0, False
            gate.allowed += 1 / max(1.0, gate.allowed)
        return None

    def throttled(
        self,
        provider: str,
        retry_after: float | None,
        since: float,
        now: float,
        cause: str = "it was asked too much",
    ) -> float:
        """The provider was asked too much. Returns the seconds that everybody waits now."""
        gate = self._gate(provider)
        if since > gate.paused_since or gate.pauses == 0:  # else it is about the same burst
            gate.pauses += 1
            gate.allowed = max(1.0, min(gate.allowed, max(gate.running, 1)) / 2)
            gate.paused_since = now
            most = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (gate.pauses - 1))
            self._pause(gate, now + max(self._uniform(most / 2, most), retry_after or 0.0))
            wait = max(0.0, gate.paused_until - now)
            self.news.append(ProviderHeld(provider, cause, wait, None))
        elif retry_after:
            self._pause(gate, now + retry_after)
        return max(0.0, gate.paused_until - now)

    def next_opening(self, now: float) -> float | None:
        """When a gate at which somebody waits may open by itself, monotonic; or null."""
        times = [self._gate(provider).opens_at(now) for provider in self._waiting]
        return min((time for time in times if time is not None), default=None)

    def opened(self, now: float) -> list[Hashable]:
        """The gates that may admit again, of those at which somebody waits."""
        open_now = [p for p in self._waiting if self._gate(p).shut or self._gate(p).admits(now)]
        self._waiting.difference_update(open_now)
        return [("gate", provider) for provider in open_now]

    def _exhausted(self, gate: _Gate, report: Report, now: float, wall: float) -> float | None:
        assert report.provider is not None
        held = ProviderHeld(report.provider, report.message, None, report.resets_at)
        if not self.waits_for_reset or report.error is ErrorType.AUTH:
            if gate.shut is None:
                cause = report.error or ErrorType.RATE_LIMITED
                gate.shut = Shut(report.provider, cause, report.message, report.resets_at)
                self.news.append(held)
            return None
        reset = report.resets_at
        wait = report.retry_after or BLIND_PAUSE_SECONDS
        if reset is not None:
            wait = max(0.0, reset - wall) + RESET_MARGIN_SECONDS
        gate.paused_since = now
        if now + wait > gate.paused_until + RESET_MARGIN_SECONDS:  # else it has been told
            self.news.append(held._replace(seconds=wait))
        self._pause(gate, now + wait)
        return wait

    @staticmethod
    def _pause(gate: _Gate, until: float) -> None:
        gate.paused_until = max(gate.paused_until, until)
        gate.trying = True

    def _gate(self, provider: str) -> _Gate:
        return self._gates.setdefault(provider, _Gate())


def _uniform(low: float, high: float) -> float:
    import random  # only a throttled dispatch pays for it

    return random.uniform(low, high)  # noqa: S311 - spreads calls, guards nothing
