"""The table of Python's messages, and the search through it."""

from __future__ import annotations

import re
from collections.abc import Callable

from dispatch_runner.agents.debug.explain import names, values
from dispatch_runner.agents.debug.explain.site import Explanation, Site

Handler = Callable[[Site, "re.Match[str]"], Explanation | None]

_CALL = (
    r"(?P<function>[\w.<>]+)\(\) (?:missing \d+ required|takes |got an unexpected keyword|"
    r"got multiple values|got some positional-only)"
)

TABLE: tuple[tuple[str, str, Handler], ...] = (
    (
        "AttributeError",
        r"'NoneType' object has no attribute '(?P<attribute>\w+)'",
        values.none_attribute,
    ),
    (
        "AttributeError",
        r"'(?P<owner>[\w.]+)' object has no attribute '(?P<attribute>\w+)'",
        names.missing_attribute,
    ),
    (
        "AttributeError",
        r"type object '(?P<owner>[\w.]+)' has no attribute '(?P<attribute>\w+)'",
        names.missing_attribute,
    ),
    (
        "AttributeError",
        r"(?P<owner>module '[\w.]+') has no attribute '(?P<attribute>\w+)'",
        names.missing_attribute,
    ),
    ("KeyError", r"", values.missing_key),
    ("IndexError", r"out of range|pop from", values.index_range),
    ("ZeroDivisionError", r"", values.zero_division),
    ("TypeError", _CALL, names.wrong_call),
    (
        "TypeError",
        r"'NoneType' object is not subscriptable|'NoneType' object does not support item",
        values.none_subscript,
    ),
    ("TypeError", r"'NoneType' object is not callable", values.none_call),
    (
        "TypeError",
        r"'NoneType' object is not (?:an )?itera|cannot unpack non-iterable NoneType",
        values.none_iteration,
    ),
    ("TypeError", r"'(?P<owner>[\w.]+)' object is not callable", names.not_callable),
    (
        "TypeError",
        r"(?:unsupported operand|not supported between).*?'(?P<left>[\w.]+)' and '(?P<right>[\w.]+)'",
        values.operands,
    ),
    (
        "TypeError",
        r"can only concatenate (?P<left>\w+) \(not \"(?P<right>[\w.]+)\"\)",
        values.operands,
    ),
    ("TypeError", r"(?P<right>can't multiply sequence by non-int)", values.operands),
    ("NameError", r"name '(?P<name>\w+)' is not defined", names.undefined_name),
    ("UnboundLocalError", r"variable '(?P<name>\w+)'", names.unbound_local),
    ("NameError", r"free variable '(?P<name>\w+)'", names.unbound_local),
    ("ModuleNotFoundError", r"No module named '(?P<module>[\w.]+)'", names.missing_module),
    (
        "ImportError",
        r"cannot import name '(?P<name>\w+)' from (?:partially initialized module )?'(?P<module>[\w.]+)'",
        names.cannot_import,
    ),
    ("FileNotFoundError", r"No such file or directory: (?P<path>.+)", names.missing_file),
    ("ValueError", r"(?:not enough|too many) values to unpack", values.unpacking),
    (
        "ValueError",
        r"invalid literal for (?P<function>int)\(\) with base \d+: (?P<value>.+)",
        values.bad_literal,
    ),
    (
        "ValueError",
        r"could not convert string to (?P<function>float): (?P<value>.+)",
        values.bad_literal,
    ),
    ("RecursionError", r"", names.recursion),
    ("AssertionError", r"", values.assertion),
)
_COMPILED = tuple((kind, re.compile(pattern), handler) for kind, pattern, handler in TABLE)


def explain(site: Site) -> Explanation | None:
    """What the code says about the error raised at a line; null when it says nothing.

    A `raise` statement comes first: there the code's author, not the interpreter, made the message.
    """
    deliberate = names.raised_on_purpose(site)
    if deliberate is not None:
        return deliberate
    short = site.error_type.rpartition(".")[2]
    for kind, pattern, handler in _COMPILED:
        match = pattern.search(site.message) if kind == short else None
        found = handler(site, match) if match is not None else None
        if found is not None:
            return found
    return None
