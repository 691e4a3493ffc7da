"""Texts of flags and of the environment as values. The ranges are those of the request's config."""

import math
from collections.abc import Callable
from typing import Any

from dispatch_runner.settings.names import backend_problem

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class Unusable(ValueError):
    """A text that is not a value; the message ends "is not ..."."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        expected = f"a whole number from {lowest} to {highest}"
        if not text.strip().lstrip("+-").isdecimal() or len(text) > 20:
            raise Unusable(f"'{text:.40}' is not {expected}")
        number = int(text)
        if not lowest <= number <= highest:
            raise Unusable(f"{number} is not {expected}")
        return number

    return convert


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf):
        raise Unusable(f"'{text:.40}' is not a number of seconds above 0")
    return number


def amount(text: str) -> int:
    return whole(1, 10**15)(text)


def dollars(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf):
        raise Unusable(f"'{text:.40}' is not an amount of USD above 0")
    return number


def switch(text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise Unusable(f"'{text:.40}' is not a yes or no", "write true or false")
    return word in TRUE


def path(text: str) -> str:
    if not text or "\0" in text:
        raise Unusable(f"{text!r:.40} is not a path")
    if not text.isascii() and text != text.encode(errors="replace").decode():
        raise Unusable(f"{text!r:.40} is not UTF-8", "no document could name what is in it")
    return text


def backend(text: str) -> str:
    if problem := backend_problem(text):
        raise Unusable(*problem)
    return text


def one_of(what: str, *words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in words:
            raise Unusable(f"'{text:.40}' is not {what}", f"write {' or '.join(words)}")
        return text

    return convert


CONVERTERS: dict[str, Callable[[str], Any]] = {
    "max_workers": whole(1, 10_000),
    "timeout_seconds": seconds,
    "dispatch_timeout_seconds": seconds,
    "trace_dir": path,
    "retries": whole(0, 10),
    "fail_fast": switch,
    "backend": backend,
    "max_cost_usd": dollars,
    "max_tokens": amount,
    "max_requests": amount,
    "stall_seconds": seconds,
    "repair_rounds": whole(0, 10),
    "wait_for_reset": switch,
    "allow_unknown_cost": switch,
    "durability": one_of("a durability", "power", "process"),
    "no_cache": switch,
    "refresh": switch,
    "explain": switch,
    "workspace": one_of("a workspace", "in_place", "scratch", "worktree"),
    "merge": one_of("a way to merge", "none", "topological"),
    "carry_changes": switch,
}
"""By key: what one text becomes. Raise `Unusable`."""
