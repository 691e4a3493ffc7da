"""Numbers about Python code: complexity, size, maintainability, documentation, typing.

Cyclomatic complexity: T. McCabe, "A Complexity Measure" (1976): decisions plus one. As radon does, each
further operand of `and`/`or`, each loop and condition of a comprehension, and each `assert` is a decision.

Cognitive complexity: G. A. Campbell, "Cognitive Complexity" (SonarSource, 2018): structures cost one and
one more for each level that they are nested in; `else`, `elif`, a run of the same logical operator and a
direct recursion cost one. Functions inside functions count for both.

Maintainability index: P. Oman and J. Hagemeister, "Metrics for assessing a software system's
maintainability" (1992), with the coefficients of D. Coleman et al., "Using metrics to evaluate software
system maintainability" (1994): 171 - 5.2 ln V - 0.23 G - 16.2 ln L, for one function: V its Halstead
volume (1977), G its cyclomatic complexity, L its lines of code. 85 and more is well maintainable, below 65
is poorly so.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from dispatch_runner.analysis.pycode import SCOPES, Definition, Function, PyCode, own_nodes

WELL_MAINTAINABLE = 85.0

_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.Assert)
_NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.Match)
_LOOPS = ast.For | ast.AsyncFor | ast.While
_BLOCKS = (
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.If,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)


class Halstead(NamedTuple):
    """Counts of operators (statements, operators, calls, attributes) and operands (names, constants)."""

    operators: int
    operands: int
    distinct: int

    @property
    def volume(self) -> float:
        """Bits: the length times the logarithm of the vocabulary."""
        return (self.operators + self.operands) * math.log2(max(self.distinct, 2))


@dataclass(frozen=True, slots=True)
class FunctionMetrics:
    """The numbers of one function."""

    name: str
    line: int
    lines: int
    code_lines: int
    """Without blank lines, comments and the docstring."""
    cyclomatic: int
    cognitive: int
    nesting: int
    """Blocks inside each other, at most."""
    parameters: int
    """Without `self` and `cls`."""
    volume: float
    maintainability: float
    """On the scale of 171, not below 0."""


def function_metrics(code: PyCode) -> list[FunctionMetrics]:
    """Of every function, in the order of the text."""
    return [_measure(code, function) for function in code.functions]


def _measure(code: PyCode, function: Function) -> FunctionMetrics:
    node = function.node
    own = list(own_nodes(node))
    code_lines = max(_code_lines(code, function), 1)
    cyclomatic = cyclomatic_complexity(own)
    volume = halstead(own).volume
    return FunctionMetrics(
        function.name,
        node.lineno,
        function.lines,
        code_lines,
        cyclomatic,
        cognitive_complexity(node),
        nesting_depth(node),
        len(parameters(function)),
        round(volume, 1),
        round(maintainability_index(volume, cyclomatic, code_lines), 1),
    )


def maintainability_index(volume: float, cyclomatic: int, code_lines: int) -> float:
    """By the formula above, not below 0."""
    index = 171 - 5.2 * math.log(max(volume, 1)) - 0.23 * cyclomatic
    return max(0.0, index - 16.2 * math.log(max(code_lines, 1)))


def cyclomatic_complexity(own: Iterable[ast.AST]) -> int:
    """McCabe's number of a scope, given the nodes that are its own."""
    return 1 + sum(map(_decisions, own))


def _decisions(node: ast.AST) -> int:
    if isinstance(node, _BRANCHES):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        return int(not _matches_anything(node))
    return 0


def _matches_anything(case: ast.match_case) -> bool:
    pattern = case.pattern
    return case.guard is None and isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def cognitive_complexity(definition: Definition) -> int:
    """Campbell's number of a function, of the functions inside it too."""
    total = 0
    waiting: list[tuple[ast.AST, int, bool]] = [(child, 0, False) for child in definition.body]
    while waiting:
        node, nesting, is_elif = waiting.pop()
        total += 1 if is_elif else _cognitive_cost(node, nesting, definition.name)
        total += _has_else(node)
        deeper = nesting + isinstance(node, (*_NESTING, *SCOPES))
        test, continued = getattr(node, "test", None), _elif(node)
        waiting.extend(
            (child, nesting if child is test or child is continued else deeper, child is continued)
            for child in ast.iter_child_nodes(node)
        )
    return total


def _cognitive_cost(node: ast.AST, nesting: int, name: str) -> int:
    if isinstance(node, _NESTING):
        return 1 + nesting
    if isinstance(node, ast.BoolOp):
        return 1
    return int(isinstance(node, ast.Call) and _called(node) == name)


def _has_else(node: ast.AST) -> bool:
    return bool(isinstance(node, ast.If | _LOOPS) and node.orelse and _elif(node) is None)


def _elif(node: ast.AST) -> ast.If | None:
    """The `elif` of an `if`: an `if` alone in the `else`, at the column of the first."""
    if not (isinstance(node, ast.If) and len(node.orelse) == 1):
        return None
    other = node.orelse[0]
    return other if isinstance(other, ast.If) and other.col_offset == node.col_offset else None


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
            return name
        case _:
            return ""


def halstead(own: Iterable[ast.AST]) -> Halstead:
    """The counts of a scope, given the nodes that are its own."""
    operators: dict[str, int] = {}
    operands: dict[str, int] = {}
    for node in own:
        operand = _operand(node)
        if operand is not None:
            operands[operand] = operands.get(operand, 0) + 1
        if isinstance(node, _OPERATORS):
            kind = type(node).__name__
            operators[kind] = operators.get(kind, 0) + 1
    return Halstead(sum(operators.values()), sum(operands.values()), len(operators) + len(operands))


_OPERATORS = (
    ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Call, ast.Attribute, ast.Subscript,
    ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.Return, ast.Raise, ast.Assert,
    ast.Delete, ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try,
    ast.TryStar, ast.ExceptHandler, ast.Match, ast.match_case, ast.IfExp, ast.Lambda, ast.Await,
    ast.Yield, ast.YieldFrom, ast.comprehension, ast.Break, ast.Continue, ast.keyword,
)  # fmt: skip


def _operand(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.arg(arg=name):
            return name
        case ast.Attribute(attr=name):
            return f".{name}"
        case ast.Constant(value=value):
            return f"{type(value).__name__} {str(value)[:200]}"
        case _:
            return None


def nesting_depth(definition: Definition) -> int:
    """How many blocks stand inside each other, at most; an `elif` is no deeper than its `if`."""
    deepest = 0
    waiting: list[tuple[ast.AST, int]] = [(child, 0) for child in definition.body]
    while waiting:
        node, depth = waiting.pop()
        inner = depth + isinstance(node, _BLOCKS)
        deepest = max(deepest, inner)
        continued = _elif(node)
        waiting.extend(
            (child, depth if child is continued else inner)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
            and not isinstance(child, SCOPES)
        )
    return deepest


def parameters(function: Function) -> list[ast.arg]:
    """Of a function, without the `self` or `cls` of a method."""
    arguments = function.node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if function.owner is not None and named and not _is_static(function.node):
        named = named[1:]
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return [*named, *arguments.kwonlyargs, *starred]


def _is_static(node: Definition) -> bool:
    return any(
        isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list
    )


def _code_lines(code: PyCode, function: Function) -> int:
    lines = code.lines[function.line_start - 1 : function.line_end]
    document = docstring(function.node)
    skipped = range(0)
    if document is not None:
        skipped = range(document.lineno, (document.end_lineno or document.lineno) + 1)
    return sum(
        number not in skipped and is_code(line)
        for number, line in enumerate(lines, function.line_start)
    )


def is_code(line: str) -> bool:
    """Neither blank nor a comment alone."""
    text = line.strip()
    return bool(text) and not text.startswith("#")


def docstring(node: ast.Module | ast.ClassDef | Definition) -> ast.Expr | None:
    """The statement that documents a module, class or function."""
    first = node.body[0] if node.body else None
    is_text = (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
        and first.value.value.strip()
    )
    return first if is_text and isinstance(first, ast.Expr) else None


class Coverage(NamedTuple):
    """How much of something has what it should have."""

    covered: int
    total: int
    missing: list[tuple[int, str]]
    """Line and name of each that has not."""

    @property
    def share(self) -> float:
        """From 0 to 1; 1 when there is nothing to cover."""
        return self.covered / self.total if self.total else 1.0


def documentation_coverage(code: PyCode) -> Coverage:
    """Docstrings of the module and of its public classes, functions and methods.

    Private names, special methods, overloads, overrides and what is inside functions need none.
    """
    wanted: list[tuple[int, str, bool]] = [(1, "module", docstring(code.tree) is not None)]
    wanted += [
        (node.lineno, name, docstring(node) is not None)
        for name, node in code.classes
        if _is_public(name)
    ]
    wanted += [
        (each.node.lineno, each.name, docstring(each.node) is not None)
        for each in code.functions
        if not each.nested and _is_public(each.name) and not _documented_elsewhere(each.node)
    ]
    missing = [(line, name) for line, name, has in wanted if not has]
    return Coverage(len(wanted) - len(missing), len(wanted), sorted(missing))


def _is_public(name: str) -> bool:
    return not any(part.startswith("_") for part in name.split("."))


def _documented_elsewhere(node: Definition) -> bool:
    names = {getattr(each, "attr", getattr(each, "id", "")) for each in node.decorator_list}
    return not names.isdisjoint({"overload", "override", "setter", "deleter"})


def typing_coverage(code: PyCode, *, any_counts: bool = False) -> Coverage:
    """Annotations of parameters and results of all functions.

    A bare `Any` says nothing about a value: it counts as missing unless `any_counts`.
    """
    covered = total = 0
    missing: list[tuple[int, str]] = []
    for function in code.functions:
        slots = [(each.arg, each.annotation) for each in parameters(function)]
        if function.node.name != "__init__":
            slots.append(("return", function.node.returns))
        bare = [
            name
            for name, annotation in slots
            if annotation is None or (not any_counts and _is_any(annotation))
        ]
        total += len(slots)
        covered += len(slots) - len(bare)
        missing += [(function.node.lineno, f"{function.name}({name})") for name in bare]
    return Coverage(covered, total, missing)


def _is_any(node: ast.expr) -> bool:
    return getattr(node, "id", getattr(node, "attr", "")) == "Any"
