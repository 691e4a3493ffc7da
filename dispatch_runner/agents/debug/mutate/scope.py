"""What a function offers as material for a change: its names, attributes, expressions, statements."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from dispatch_runner.agents.debug.pycode import Function, PyCode, own_nodes

MOST_NAMES = 12
MOST_PIECES = 10
SIMPLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.Break, ast.Continue)


@dataclass(frozen=True)
class Scope:
    """A function with the functions around it, or the module."""

    node: ast.AST
    around: tuple[Function, ...]
    """From the innermost outwards; empty for the module."""

    @cached_property
    def _own(self) -> list[ast.AST]:
        return list(own_nodes(self.node))

    @cached_property
    def names(self) -> list[str]:
        """Variables that code here can read: of the innermost function first, at most 12."""
        found: list[str] = []
        for function in self.around:
            found += _parameters(function)
            found += _bound(own_nodes(function.node))
        if not self.around:
            found = _bound(self._own)
        return [name for name in _distinct(found) if name not in {"self", "cls", "_"}][:MOST_NAMES]

    @cached_property
    def attributes(self) -> list[str]:
        """Attributes that are read here, not called."""
        called = {id(node.func) for node in self._own if isinstance(node, ast.Call)}
        return _distinct(
            node.attr
            for node in self._own
            if isinstance(node, ast.Attribute) and id(node) not in called
        )[:MOST_PIECES]

    @cached_property
    def pieces(self) -> dict[type[ast.expr], list[ast.expr]]:
        """Compound expressions, by kind, each text once."""
        found: dict[type[ast.expr], dict[str, ast.expr]] = {}
        for node in self._own:
            if isinstance(node, ast.Subscript | ast.Attribute | ast.Call | ast.BinOp | ast.Compare):
                found.setdefault(type(node), {}).setdefault(ast.dump(node), node)
        return {kind: list(texts.values())[:MOST_PIECES] for kind, texts in found.items()}

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """Simple statements, each text once; docstrings are none."""
        found: dict[str, ast.stmt] = {}
        for node in self._own:
            if isinstance(node, SIMPLE) and not _is_text(node):
                found.setdefault(ast.dump(node), node)
        ordered = sorted(found.values(), key=lambda node: node.lineno)
        return ordered[:MOST_PIECES]


def scopes(code: PyCode) -> Iterator[tuple[Scope, list[ast.stmt]]]:
    """Every function and the module, with the statements that are its own."""
    by_scope: dict[int, tuple[Scope, list[ast.stmt]]] = {}
    for statement in code.statements:
        if _is_text(statement):
            continue
        around = _around(code, statement)
        node: ast.AST = around[0].node if around else code.tree
        if id(node) not in by_scope:
            by_scope[id(node)] = (Scope(node, around), [])
        by_scope[id(node)][1].append(statement)
    yield from by_scope.values()


def _around(code: PyCode, statement: ast.stmt) -> tuple[Function, ...]:
    """The functions whose bodies hold a statement; a function's own definition is not inside it."""
    holding = [
        function
        for function in code.functions
        if function.node is not statement
        and function.node.body[0].lineno <= statement.lineno
        and (statement.end_lineno or statement.lineno) <= function.line_end
        and function.node.col_offset < statement.col_offset
    ]
    return tuple(sorted(holding, key=lambda function: -function.line_start))


def _parameters(function: Function) -> list[str]:
    given = function.node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [item.arg for item in every if item is not None]


def _bound(nodes: Iterable[ast.AST]) -> list[str]:
    bound = [
        node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return [node.id for node in sorted(bound, key=lambda node: node.lineno)]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
