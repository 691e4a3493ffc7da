"""The line that raised an error, and where the values on it come from."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dispatch_runner.agents.debug.pycode import Function, PyCode, own_nodes

Node = TypeVar("Node", bound=ast.AST)
Statement = TypeVar("Statement", bound=ast.stmt)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A line that gives a name its value."""

    line: int
    value: ast.expr | None
    verb: str = "is"


@dataclass(frozen=True, slots=True)
class Origin:
    """A place that a wrong value came from: a further suspect."""

    code: PyCode
    line_start: int
    line_end: int
    reason: str
    weight: float


@dataclass(slots=True)
class Explanation:
    """What the code says about an error. Only what the message and the code determine."""

    kind: str
    statement: str
    """The cause, in one sentence."""
    check: str
    """What would decide whether it is the cause."""
    fix: str = ""
    """What to change; empty when the evidence does not determine it."""
    steps: list[str] = field(default_factory=list)
    factors: list[str] = field(default_factory=list)
    """Where the values involved come from."""
    parameters: list[str] = field(default_factory=list)
    """Parameters of the function around the line whose value is involved."""
    origins: list[Origin] = field(default_factory=list)
    certain: bool = True
    """Whether exactly one expression of the line fits the message."""


@dataclass(frozen=True, slots=True)
class Site:
    """A raising line in a parsed file, with the error raised there."""

    code: PyCode
    line: int
    error_type: str
    message: str
    others: Sequence[PyCode] = ()
    """All parsed files, this one included."""

    @property
    def where(self) -> str:
        name = self.code.scope_at(self.line)
        return f"line {self.line}" + (f" in `{name}`" if name else "")

    @property
    def function(self) -> Function | None:
        """The innermost function around the line."""
        return self.code.function_at(self.line)

    def nodes(self, kind: type[Node]) -> list[Node]:
        """The expressions of one kind that touch the line, outermost first."""
        return [node for node in self.code.nodes_at(self.line) if isinstance(node, kind)]

    def statement(self, kind: type[Statement]) -> Statement | None:
        """The first statement of one kind at the line."""
        found = (node for node in self.code.statements_at(self.line) if isinstance(node, kind))
        return next(found, None)

    def text(self, node: ast.AST) -> str:
        return self.code.text(node)

    def parameters(self) -> dict[str, ast.arg]:
        """The parameters of the function around the line, by name."""
        if self.function is None:
            return {}
        given = self.function.node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        return {item.arg: item for item in every if item is not None}

    def assignments(self, name: str) -> list[Assignment]:
        """Where a name is given a value: in the function, else in the module; by line."""
        if self.function is not None:
            found = _assignments(self.function.node, name)
            if found or name in self.parameters():
                return found
        return _assignments(self.code.tree, name)

    def attribute_assignments(self, attribute: str) -> list[tuple[PyCode, Assignment]]:
        """Where `self.attribute` is given a value, in any method of this file, else of the others."""
        for codes in ([self.code], [code for code in self.others if code is not self.code]):
            found = [
                (code, Assignment(node.lineno, node.value))
                for code in codes
                for node in code.statements
                if isinstance(node, ast.Assign | ast.AnnAssign)
                and node.value is not None
                and any(_is_self(target, attribute) for target in _targets(node))
            ]
            if found:
                return sorted(found, key=lambda item: item[1].line)
        return []

    def definitions(self, name: str) -> list[tuple[PyCode, Function]]:
        """Functions and methods of that name, in this file first, then in the others."""
        last = name.rpartition(".")[2]
        return [
            (code, function)
            for code in (self.code, *(item for item in self.others if item is not self.code))
            for function in code.functions
            if function.node.name == last
        ]


def _assignments(scope: ast.AST, name: str) -> list[Assignment]:
    found = []
    for node in own_nodes(scope):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            if any(name in names_in(target) for target in _targets(node)):
                found.append(Assignment(node.lineno, node.value))
        elif isinstance(node, ast.For | ast.AsyncFor) and name in names_in(node.target):
            found.append(Assignment(node.lineno, node.iter, "is an item of"))
        elif isinstance(node, ast.comprehension) and name in names_in(node.target):
            found.append(Assignment(node.target.lineno, node.iter, "is an item of"))
        elif isinstance(node, ast.With | ast.AsyncWith):
            found.extend(
                Assignment(node.lineno, item.context_expr, "is opened from")
                for item in node.items
                if item.optional_vars is not None and name in names_in(item.optional_vars)
            )
    return sorted(found, key=lambda item: item.line)


def _targets(
    node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr,
) -> list[ast.expr]:
    return list(node.targets) if isinstance(node, ast.Assign) else [node.target]


def _is_self(node: ast.expr, attribute: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == attribute
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def names_in(target: ast.expr) -> Iterator[str]:
    """The names that an assignment to this target binds."""
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from names_in(item)
    elif isinstance(target, ast.Starred):
        yield from names_in(target.value)
