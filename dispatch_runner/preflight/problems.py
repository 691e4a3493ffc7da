"""Collects what is wrong with a request, and the words for it."""

import gc
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from dispatch_runner.errors import RequestRejected
from dispatch_runner.models import Problem

MAX_PROBLEMS = 1_000
"""So many are reported; of the others only the number."""

_SHOWN = 80
_MAX_TASK_ID = 200
_MAX_POINTER = 2_000
_MAX_CANDIDATES = 2_000
_MAX_SUGGESTIONS = 50


class Problems:
    """Every problem of one request, up to `MAX_PROBLEMS`, and every warning."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.warnings: list[str] = []
        self.left_out = 0
        self._suggestions_left = _MAX_SUGGESTIONS

    @property
    def full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self.found) >= MAX_PROBLEMS

    def add(
        self,
        code: str,
        location: Sequence[str | int],
        message: str,
        hint: str | None = None,
        task_id: object = None,
    ) -> None:
        """Notes one problem. A `task_id` that is no short text is left out."""
        if self.full:
            self.left_out += 1
            return
        known = isinstance(task_id, str) and len(task_id) <= _MAX_TASK_ID
        owner = _writable(str(task_id)) if known else None
        self.found.append(Problem(code, pointer(location), message, hint, owner))

    def suggest(self, name: str, candidates: Iterable[str]) -> str | None:
        """A did-you-mean hint, or null. After some dozens of them it gives up: they are slow."""
        if self.full or self._suggestions_left <= 0:
            return None
        self._suggestions_left -= 1
        close = closest(name, candidates)
        return None if close is None else f"did you mean {quote(close)}?"

    def raise_if_any(self) -> None:
        """Raises `RequestRejected` with everything, if there is anything."""
        if not self.found:
            return
        if self.left_out:
            more = f"at least {self.left_out} further problems are not listed"
            self.warnings.append(f"{more}; mend these first")
        raise RequestRejected(self.found, self.warnings)


def pointer(location: Sequence[str | int]) -> str:
    """The RFC 6901 JSON pointer of a place; empty for the whole document. A huge one is cut."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    text = "".join(f"/{part}" for part in escaped)
    return _writable(text if len(text) <= _MAX_POINTER else f"{text[:_MAX_POINTER]}...")


def _writable(text: str) -> str:
    """The text; lone surrogates, which only Python callers can have, as escapes."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def quote(text: str) -> str:
    """Text in quotes, control characters escaped, at most some 80 characters of it."""
    return repr(text) if len(text) <= _SHOWN else repr(text[:_SHOWN]) + "..."


def describe(value: object) -> str:
    """A JSON value in a message: its type and, when it is short, the value itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}" if abs(value) < 1e30 else "a huge number"
        case str():
            return f"the string {quote(value)}"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a Python {type(value).__name__}"


def listed(names: Collection[str], limit: int = 20) -> str:
    """Names in quotes, in their order, at most `limit` of them."""
    shown = [quote(name) for name, _ in zip(names, range(limit), strict=False)]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown) + more


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that the name most likely misspells, or null. Bounded work."""
    import difflib

    if len(name) > _SHOWN:
        return None
    pool = [other for other in candidates if abs(len(other) - len(name)) <= 8]
    if len(pool) > _MAX_CANDIDATES:
        start, end = name[:2], name[-2:]
        pool = [it for it in pool if it.startswith(start) and it.endswith(end)][:_MAX_CANDIDATES]
    folded = name.casefold().replace("-", "_")
    for other in pool:
        if other.casefold().replace("-", "_") == folded:
            return other
    return next(iter(difflib.get_close_matches(name, pool, n=1)), None)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection inside: it would walk a growing document again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
