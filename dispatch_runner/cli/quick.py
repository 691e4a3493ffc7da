"""Reads the flags of `run` and `start` where nothing is in doubt, as Typer would, without building its commands.

Building them costs half as much as a whole short run. Whatever is not plainly right (an unknown or
shortened flag, a value that does not fit) is left to Typer, which words the answer. A test gives both
the same arguments.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from dispatch_runner.cli.run import RunOptions
from dispatch_runner.settings import Flags


class _InDoubt(Exception):
    """Typer shall judge."""


def read(arguments: Sequence[str]) -> RunOptions | None:
    """The options, or null when Typer shall judge."""
    given: dict[str, Any] = {}
    rest = list(arguments[1:] if arguments[:1] in (["run"], ["start"]) else arguments)
    try:
        while rest:
            _take(rest, given)
    except _InDoubt:
        return None
    flags = Flags(**{name: given.pop(name) for name in list(given) if name in _OF_THE_OPERATOR})
    if given.pop("quiet", False):
        given["progress"] = "none"
    return RunOptions(flags=flags, **given)


def _take(rest: list[str], given: dict[str, Any]) -> None:
    """One flag with its value, or the file, off the front of the list."""
    word = rest.pop(0)
    if word in _SWITCHES:
        name, value = _SWITCHES[word]
        given[name] = value
        return
    if not word.startswith("-") or word == "-":
        if "file" in given:
            raise _InDoubt
        given["file"] = Path(word)
        return
    flag, joined, text = word.partition("=")
    if flag not in _VALUES or (joined and flag == "-j"):
        raise _InDoubt
    if not joined:
        text = rest.pop(0) if rest else "-"
    if text.startswith("-"):
        raise _InDoubt
    name, convert = _VALUES[flag]
    value = convert(text)
    given[name] = (*given.get(name, ()), value) if name in _REPEATED else value


def _matching(pattern: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def checked(text: str) -> Any:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise _InDoubt
        return convert(text)

    return checked


_text = _matching(r"(?s).+", str)
_path = _matching(r"(?s).+", Path)
_seconds = _matching(r"\d{1,9}(\.\d{1,9})?", float)
"""A number, of seconds or of USD."""

_amount = _matching(r"[1-9]\d{0,8}", int)

_REPEATED = frozenset({"allow_path", "agent_folder"})
_VALUES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "--max-workers": ("max_workers", _amount),
    "-j": ("max_workers", _amount),
    "--timeout": ("timeout_seconds", _seconds),
    "--dispatch-timeout": ("dispatch_timeout_seconds", _seconds),
    "--retries": ("retries", _matching(r"\d|10", int)),
    "--trace-dir": ("trace_dir", _text),
    "--allow-path": ("allow_path", _text),
    "--config": ("config", _path),
    "--mcp-config": ("mcp_config", _path),
    "--backend": ("backend", _text),
    "--agents": ("agent_folder", _text),
    "--max-cost-usd": ("max_cost_usd", _seconds),
    "--max-tokens": ("max_tokens", _amount),
    "--max-requests": ("max_requests", _amount),
    "--stall": ("stall_seconds", _seconds),
    "--repair-rounds": ("repair_rounds", _matching(r"\d|10", int)),
    "--durability": ("durability", _matching("power|process", str)),
    "--workspace": ("workspace", _matching("in_place|scratch|worktree", str)),
    "--merge": ("merge", _matching("none|topological", str)),
    "--stdout": ("stdout", _matching("full|summary|none", str)),
    "--progress": ("progress", _matching("auto|board|lines|json|none", str)),
    "--events": ("events", _path),
}
_SWITCHES: dict[str, tuple[str, object]] = {
    "--fail-fast": ("fail_fast", True),
    "--no-fail-fast": ("fail_fast", False),
    "--allow-unknown-cost": ("allow_unknown_cost", True),
    "--no-allow-unknown-cost": ("allow_unknown_cost", False),
    "--wait-for-reset": ("wait_for_reset", True),
    "--no-wait-for-reset": ("wait_for_reset", False),
    "--no-cache": ("no_cache", True),
    "--refresh": ("refresh", True),
    "--explain": ("explain", True),
    "--carry-changes": ("carry_changes", True),
    "--no-carry-changes": ("carry_changes", False),
    "--exit-zero": ("exit_zero", True),
    "--quiet": ("quiet", True),
    "-q": ("quiet", True),
}
_OF_THE_OPERATOR = frozenset(field.name for field in fields(Flags))
