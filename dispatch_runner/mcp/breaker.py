"""When a server that fails is tried again. Pure: the clock is a parameter."""

import math
from collections.abc import Callable

from dispatch_runner.mcp.failures import Unavailable

FAILURES_TO_OPEN = 3
FIRST_PAUSE_SECONDS = 0.2
FIRST_OPEN_SECONDS = 30.0
MOST_OPEN_SECONDS = 300.0


class Breaker:
    """A circuit breaker with exponential back-off.

    After `FAILURES_TO_OPEN` failures in a row it is open: nothing is let through, for
    `FIRST_OPEN_SECONDS`, and twice as long each time that it opens again. Then it is half open: one
    probe is let through, whose outcome closes or opens it. Before it opens, each failure doubles the
    pause before the next connection. A success forgets everything.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._failed_at = 0.0
        self._open_seconds = FIRST_OPEN_SECONDS
        self._last_reason = ""
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Open or half open: the last failures were too many, and nothing has succeeded since."""
        return self._failures >= FAILURES_TO_OPEN

    def admit(self) -> bool:
        """Whether the caller is the probe, which calls `release` at its end.

        Raises `Unavailable` when the caller may not go on.
        """
        if not self.is_open:
            return False
        self.check()
        if self._probing:
            raise Unavailable(f"{self._last_reason}; it is being tried again")
        self._probing = True
        return True

    def check(self) -> None:
        """Raises `Unavailable` while nothing is let through."""
        left = self._half_opens_at() - self._clock()
        if self.is_open and left > 0:
            raise Unavailable(f"{self._last_reason}; it is tried again in {math.ceil(left)} s")

    def release(self) -> None:
        """The probe has ended; perhaps without an outcome."""
        self._probing = False

    def succeeded(self) -> None:
        self._failures = 0
        self._open_seconds = FIRST_OPEN_SECONDS

    def failed(self, reason: str, *, lasting: bool = False) -> None:
        """One more failure in a row; a lasting one opens at once."""
        if self.is_open:
            if self._clock() < self._half_opens_at():
                return  # of a call from before it opened
            self._open_seconds = min(2 * self._open_seconds, MOST_OPEN_SECONDS)
        self._failures = FAILURES_TO_OPEN if lasting else self._failures + 1
        self._failed_at = self._clock()
        self._last_reason = reason

    def pause(self) -> float:
        """Seconds until a connection may be opened, for a caller who was let through."""
        if self.is_open or not self._failures:
            return 0.0
        after: float = FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1)
        return max(0.0, self._failed_at + after - self._clock())

    def _half_opens_at(self) -> float:
        return self._failed_at + self._open_seconds
