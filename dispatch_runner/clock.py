"""Time: monotonic for durations, UTC for people. A parameter wherever time matters, so tests own it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Both clocks. Durations and deadlines come from `monotonic` only: the other one may jump."""

    monotonic: Callable[[], float] = time.monotonic
    """Seconds from an arbitrary start; never goes back."""
    wall: Callable[[], float] = time.time
    """Seconds since 1970-01-01 UTC."""
    _second: int = field(default=-1, repr=False)
    _text: str = field(default="", repr=False)

    def utc(self) -> str:
        """Now, RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.123Z`."""
        now = self.wall()
        second = int(now)
        if (
            second != self._second
        ):  # formatting costs a microsecond; a dispatch asks thousands of times
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


def utc_text(seconds: float) -> str:
    """A moment in seconds since 1970, for people: `2026-01-31T12:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
