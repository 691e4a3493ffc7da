"""An error raised inside a library that a line of own code called."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dispatch_runner.agents.debug.explain.explain import explain
from dispatch_runner.agents.debug.explain.origin import trace_value
from dispatch_runner.agents.debug.explain.site import Explanation, Site
from dispatch_runner.agents.debug.pycode import Function, PyCode
from dispatch_runner.agents.debug.stacktraces import RawFrame

ABOUT_ARGUMENTS = frozenset({"FileNotFoundError", "RecursionError"})
"""Errors whose message is about what the caller passed, wherever they are raised."""


def library_call(site: Site, inner: RawFrame) -> Explanation | None:
    """The call on the line that led into the library, and where its arguments come from."""
    if site.error_type.rpartition(".")[2] in ABOUT_ARGUMENTS:
        return explain(site)
    calls = site.nodes(ast.Call)
    name = inner.function.rpartition(".")[2]
    fitting = [call for call in calls if _called_name(call) == name] or calls
    if not fitting:
        return None
    said, error = site.text(fitting[0]), site.error_type or "an error"
    explanation = Explanation(
        "rejected_by_library",
        f"`{said}` made the library raise {error} ({site.where})"
        + (f": {site.message[:200]}" if site.message else ""),
        f"print the arguments of `{said}` before line {site.line}",
        certain=False,
    )
    for argument in [*fitting[0].args, *(item.value for item in fitting[0].keywords)][:3]:
        trace_value(site, argument, explanation)
    return explanation


def arguments_for(
    code: PyCode, line: int, function: Function, names: Sequence[str]
) -> list[tuple[str, ast.expr]]:
    """What the call on a line passes as parameters of a function; nothing when calls are ambiguous."""
    wanted = {function.node.name, function.name.split(".")[-2] if "." in function.name else ""}
    calls = [
        node
        for node in code.nodes_at(line)
        if isinstance(node, ast.Call) and _called_name(node) in wanted - {""}
    ]
    if len(calls) != 1 or any(isinstance(item, ast.Starred) for item in calls[0].args):
        return []
    given = function.node.args
    positional = [item.arg for item in (*given.posonlyargs, *given.args)]
    if positional[:1] in (["self"], ["cls"]) and "." in function.name:
        positional = positional[1:]
    passed = dict(zip(positional, calls[0].args, strict=False))
    passed |= {item.arg: item.value for item in calls[0].keywords if item.arg is not None}
    return [(name, passed[name]) for name in names if name in passed]


def follow_values(site: Site, values: Sequence[ast.expr], into: Explanation) -> list[str]:
    """Add where passed values come from; the caller's own parameters among them are returned."""
    known = len(into.parameters)
    for value in values:
        trace_value(site, value, into, none=into.kind == "none_dereference")
    return into.parameters[known:]


def _called_name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
