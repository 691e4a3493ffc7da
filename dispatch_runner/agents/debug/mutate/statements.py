"""Operators that delete, change or insert whole statements."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

from dispatch_runner.agents.debug.mutate.expressions import family
from dispatch_runner.agents.debug.mutate.scope import SIMPLE, Scope

MOST_VARIANTS = 40
KINDS: tuple[type[ast.stmt], ...] = SIMPLE


class Rewrite(NamedTuple):
    """What a statement may become, or what may stand before or after it."""

    operator: str
    weight: float
    new: ast.stmt
    place: str = "instead"
    """`instead`, `before` or `after`."""


def rewrites(statement: ast.stmt, scope: Scope, *, last: bool) -> Iterator[Rewrite]:
    """Everything that one statement may become; `last`: nothing follows it in its block."""
    if isinstance(statement, KINDS):
        yield Rewrite("deleted statement", 0.4, ast.Pass())
    if isinstance(statement, ast.AugAssign):
        yield from _update(statement)
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        yield from _lost_update(statement)
    elif isinstance(statement, ast.Return):
        yield from _returned(statement, scope)
    elif isinstance(statement, ast.Break):
        yield Rewrite("loop exit", 0.8, ast.Continue())
    elif isinstance(statement, ast.Continue):
        yield Rewrite("loop exit", 0.8, ast.Break())
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from _inserted(scope, "before")
        if last:
            yield from _inserted(scope, "after")


def _update(statement: ast.AugAssign) -> Iterator[Rewrite]:
    for other in family(statement.op):
        if not isinstance(statement.op, other):
            new = ast.AugAssign(statement.target, other(), statement.value)
            yield Rewrite("arithmetic", 1.0, new)
    yield Rewrite("update", 0.6, ast.Assign([statement.target], statement.value, lineno=0))


def _lost_update(statement: ast.Assign) -> Iterator[Rewrite]:
    """A value that replaces the old one where it should be combined with it."""
    target = statement.targets[0]
    if not isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
        return
    new: ast.stmt = ast.AugAssign(target, ast.Add(), statement.value)
    yield Rewrite("lost update", 0.4, new)
    old = ast.parse(ast.unparse(target), mode="eval").body
    for function in ("max", "min"):
        call = ast.Call(ast.Name(function, ast.Load()), [old, statement.value], [])
        new = ast.Assign([target], call, lineno=0)
        yield Rewrite("lost update", 0.3, new)


def _returned(statement: ast.Return, scope: Scope) -> Iterator[Rewrite]:
    """Another value: none, a variable, the opposite."""
    value = statement.value
    if value is None:
        return
    yield Rewrite("returned value", 0.2, ast.Return(ast.Constant(None)))
    if isinstance(value, ast.Compare | ast.BoolOp | ast.Call | ast.Name):
        yield Rewrite("returned value", 0.5, ast.Return(ast.UnaryOp(ast.Not(), value)))
    if not isinstance(value, ast.Name):
        for name in scope.names:
            yield Rewrite("returned value", 0.35, ast.Return(ast.Name(name, ast.Load())))


def _inserted(scope: Scope, place: str) -> Iterator[Rewrite]:
    """A copy of a statement of the same scope, also with one name exchanged."""
    for statement in scope.statements:
        yield Rewrite("inserted statement", 0.25, statement, place)
    for variant in _variants(scope):
        yield Rewrite("inserted statement", 0.12, variant, place)


def _variants(scope: Scope) -> list[ast.stmt]:
    found: dict[str, ast.stmt] = {}
    for statement in scope.statements:
        if isinstance(statement, ast.Return):
            continue
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        for index, node in enumerate(names):
            if node.id not in scope.names:
                continue
            for name in scope.names:
                if name != node.id and len(found) < MOST_VARIANTS:
                    variant = _renamed(statement, index, name)
                    found.setdefault(ast.unparse(variant), variant)
    return list(found.values())


def _renamed(statement: ast.stmt, index: int, name: str) -> ast.stmt:
    changed = copy.deepcopy(statement)
    names = [node for node in ast.walk(changed) if isinstance(node, ast.Name)]
    names[index].id = name
    return changed
