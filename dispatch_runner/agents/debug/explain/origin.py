"""Where a value comes from: the assignment, the parameter, the function that returned it."""

from __future__ import annotations

import ast

from dispatch_runner.agents.debug.explain.site import Assignment, Explanation, Origin, Site
from dispatch_runner.agents.debug.pycode import Function, PyCode, own_nodes

OPTIONAL_METHODS = {
    "get": "returns None for a missing key",
    "match": "returns None when the text does not match",
    "fullmatch": "returns None when the text does not match",
    "search": "returns None when nothing is found",
    "find": "returns None when nothing is found",
    "which": "returns None when the program is not found",
    "getenv": "returns None when the variable is not set",
    "first": "returns None when there is no row",
    "fetchone": "returns None when there is no row",
    "one_or_none": "returns None when there is no row",
}
IN_PLACE_METHODS = frozenset(
    {"sort", "append", "extend", "insert", "reverse", "update", "shuffle", "clear", "add", "remove"}
)
TRANSPARENT = frozenset(
    {
        "len",
        "sum",
        "list",
        "tuple",
        "set",
        "sorted",
        "min",
        "max",
        "range",
        "iter",
        "next",
        "str",
        "int",
        "float",
        "enumerate",
        "reversed",
        "abs",
        "round",
    }
)
"""Functions whose result is made of nothing but their argument."""

MAX_DEPTH = 3


def trace_value(site: Site, value: ast.expr, into: Explanation, *, none: bool = False) -> None:
    """Add to the explanation where a value comes from.

    With `none` the value is known to be None, and the functions that return None are origins.
    """
    _trace(site, value, into, none=none, depth=0)


def _trace(site: Site, value: ast.expr, into: Explanation, *, none: bool, depth: int) -> None:
    if depth >= MAX_DEPTH:
        return
    if isinstance(value, ast.Await):
        _trace(site, value.value, into, none=none, depth=depth)
    elif isinstance(value, ast.Call):
        _call(site, value, into, none=none)
        if isinstance(value.func, ast.Name) and value.func.id in TRANSPARENT and value.args:
            _trace(site, value.args[0], into, none=False, depth=depth + 1)
    elif isinstance(value, ast.Name):
        _name(site, value.id, into, none=none, depth=depth)
    elif isinstance(value, ast.Attribute):
        _attribute(site, value, into, none=none)


def _name(site: Site, name: str, into: Explanation, *, none: bool, depth: int) -> None:
    assigned = [
        item
        for item in site.assignments(name)
        if item.line < site.line or (item.line == site.line and item.verb != "is")
    ]
    parameter = site.parameters().get(name)
    if not assigned and parameter is not None:
        function = site.function
        owner = f" of `{function.name}`" if function is not None else ""
        into.factors.append(f"`{name}` is a parameter{owner}: its callers pass it")
        into.parameters.append(name)
        if none and function is not None and _defaults_to_none(function, name):
            into.factors.append(f"`{name}` defaults to None in line {function.node.lineno}")
        return
    if not assigned:
        return
    last = assigned[-1]
    into.factors.append(_said(site, name, last))
    _origin_of_assignment(site, site.code, name, last, into, none=none)
    if last.value is not None and last.verb == "is":
        _trace(site, last.value, into, none=none, depth=depth + 1)


def _said(site: Site, name: str, item: Assignment) -> str:
    value = f"`{site.text(item.value)}`" if item.value is not None else "declared without a value"
    return f"`{name}` {item.verb} {value} (line {item.line})"


def _origin_of_assignment(
    site: Site, code: PyCode, name: str, item: Assignment, into: Explanation, *, none: bool
) -> None:
    if code is site.code and item.line == site.line:
        return
    weight = 0.4 if none and _is_none_literal(item.value) else 0.25
    reason = f"line {item.line} gives `{name}` its value"
    into.origins.append(Origin(code, item.line, item.line, reason, weight))


def _attribute(site: Site, value: ast.Attribute, into: Explanation, *, none: bool) -> None:
    """Of another object than `self`, only the places that set the attribute to None say something."""
    own = isinstance(value.value, ast.Name) and value.value.id == "self"
    if not own and not none:
        return
    for code, item in site.attribute_assignments(value.attr):
        if not none or _is_none_literal(item.value):
            into.factors.append(_said(site, f"self.{value.attr}", item))
            _origin_of_assignment(site, code, f"self.{value.attr}", item, into, none=none)


def _is_none_literal(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _call(site: Site, call: ast.Call, into: Explanation, *, none: bool) -> None:
    name = site.text(call.func)
    last = name.rpartition(".")[2]
    known = site.definitions(name)
    if none and not known:
        if last in OPTIONAL_METHODS and not (last == "get" and len(call.args) > 1):
            into.factors.append(f"`{name}` {OPTIONAL_METHODS[last]}")
        elif last in IN_PLACE_METHODS:
            into.factors.append(f"`{name}` changes its object in place and returns None")
    if none and len(known) == 1:
        _returns_none(*known[0], into)


def _returns_none(code: PyCode, function: Function, into: Explanation) -> None:
    """The lines of a function that give None."""
    nodes = list(own_nodes(function.node))
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
        return
    returns = [node for node in nodes if isinstance(node, ast.Return)]
    explicit = [node for node in returns if _is_none(node.value)]
    for node in sorted(explicit, key=lambda item: item.lineno):
        reason = f"`{function.name}` returns None in line {node.lineno}"
        into.factors.append(reason)
        into.origins.append(Origin(code, node.lineno, node.lineno, reason, 0.45))
    if not explicit and not _always_leaves(function.node.body):
        reason = f"`{function.name}` can reach its end in line {function.line_end} without a return"
        into.factors.append(reason)
        into.origins.append(Origin(code, function.line_start, function.line_end, reason, 0.45))


def _is_none(value: ast.expr | None) -> bool:
    return value is None or _is_none_literal(value)


def _always_leaves(body: list[ast.stmt]) -> bool:
    """Whether a block surely returns or raises. Where that is hard to see: yes, no accusation."""
    last = body[-1]
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_leaves(last.body) and _always_leaves(last.orelse)
    if isinstance(last, ast.For | ast.AsyncFor):
        return bool(last.orelse) and _always_leaves(last.orelse)
    return not isinstance(last, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Pass)


def _defaults_to_none(function: Function, name: str) -> bool:
    given = function.node.args
    positional = [*given.posonlyargs, *given.args]
    pairs = list(zip(reversed(positional), reversed(given.defaults), strict=False))
    keyword = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    return any(item.arg == name and _is_none(default) for item, default in pairs) or any(
        item.arg == name and default is not None and _is_none(default) for item, default in keyword
    )
