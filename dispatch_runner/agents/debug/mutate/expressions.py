"""Operators that replace one expression by another.

Each operator yields what a node may become, with its weight: how usual such a fault is. The weights
follow studies of simple bugs in open-source Python (wrong operator, operand, literal, argument order
and name are the most usual; code that is missing altogether is rarer), and how seldom a change of that
kind passes tests by accident: constant conditions and deletions often do. None is fitted to a set.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dispatch_runner.agents.debug.mutate.scope import Scope


class Site(NamedTuple):
    """An expression where it stands."""

    node: ast.expr
    parent: ast.AST
    field: str
    """The parent's field that holds it."""
    scope: Scope


class Change(NamedTuple):
    """What the expression may become."""

    operator: str
    weight: float
    new: ast.expr


Operator = Callable[[Site], Iterator[Change]]

ORDERS: tuple[type[ast.cmpop], ...] = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: tuple[type[ast.operator], ...] = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.FloorDiv,
    ast.Div,
    ast.Mod,
    ast.Pow,
)
BITWISE: tuple[type[ast.operator], ...] = (
    ast.BitAnd,
    ast.BitOr,
    ast.BitXor,
    ast.LShift,
    ast.RShift,
)
FAMILIES = (
    ("any", "all"),
    ("min", "max"),
    ("append", "extend", "insert", "appendleft"),
    ("pop", "popleft"),
    ("add", "discard", "update"),
    ("remove", "discard"),
    ("startswith", "endswith"),
    ("strip", "lstrip", "rstrip"),
    ("lower", "upper"),
    ("find", "rfind", "index"),
    ("split", "rsplit", "splitlines"),
    ("keys", "values", "items"),
    ("floor", "ceil", "round", "int"),
    ("sorted", "reversed", "list"),
    ("issubset", "issuperset"),
    ("union", "intersection", "difference"),
)
"""Functions and methods that are taken for one another."""


def family(operator: ast.operator) -> tuple[type[ast.operator], ...]:
    """The operators that one operator may be taken for."""
    return ARITHMETIC if isinstance(operator, ARITHMETIC) else BITWISE


def relational(site: Site) -> Iterator[Change]:
    """ROR: another comparison; also with its operands exchanged."""
    node = site.node
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return
    kind = type(node.ops[0])
    others = [other for other in ORDERS if other is not kind] if kind in ORDERS else []
    others += [OPPOSITES[kind]] if kind in OPPOSITES else []
    for other in others:
        yield Change("comparison", 1.0, ast.Compare(node.left, [other()], node.comparators))


def arithmetic(site: Site) -> Iterator[Change]:
    """AOR, exchanged operands, and a deleted operand."""
    node = site.node
    if not isinstance(node, ast.BinOp):
        return
    for other in family(node.op):
        if not isinstance(node.op, other):
            yield Change("arithmetic", 1.0, ast.BinOp(node.left, other(), node.right))
    yield Change("swapped operands", 0.9, ast.BinOp(node.right, node.op, node.left))
    yield Change("deleted operand", 0.7, node.left)
    yield Change("deleted operand", 0.7, node.right)


def logical(site: Site) -> Iterator[Change]:
    """LCR: the other connective, and a deleted operand."""
    node = site.node
    if not isinstance(node, ast.BoolOp):
        return
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield Change("connective", 1.0, ast.BoolOp(other, node.values))
    for index in range(len(node.values)):
        rest = node.values[:index] + node.values[index + 1 :]
        kept = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        yield Change("deleted condition", 0.7, kept)


def unary(site: Site) -> Iterator[Change]:
    """UOD: a sign or a negation less."""
    if isinstance(site.node, ast.UnaryOp):
        yield Change("deleted operator", 0.8, site.node.operand)


def off_by_one(site: Site) -> Iterator[Change]:
    """UOI: one more, one less, the other sign, wherever a number may stand."""
    if not _may_be_number(site):
        return
    one = ast.Constant(1)
    yield Change("off by one", 1.0, ast.BinOp(site.node, ast.Add(), one))
    yield Change("off by one", 1.0, ast.BinOp(site.node, ast.Sub(), one))
    yield Change("sign", 0.4, ast.UnaryOp(ast.USub(), site.node))


def _may_be_number(site: Site) -> bool:
    node, parent = site.node, site.parent
    if isinstance(node, ast.Call):
        fits = isinstance(node.func, ast.Name) and node.func.id in {"len", "int", "round", "abs"}
    else:
        fits = isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp)
    if isinstance(parent, ast.Call | ast.Attribute | ast.Subscript):
        fits = fits and site.field in {"args", "slice"}
    return fits and not isinstance(parent, ast.For | ast.AsyncFor | ast.comprehension | ast.Starred)


def constants(site: Site) -> Iterator[Change]:
    """CRP: another number, truth value or text."""
    node = site.node
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield Change("truth value", 0.8, ast.Constant(not value))
        for name in site.scope.names:
            yield Change("constant for variable", 0.5, _name(name))
            yield Change("constant for variable", 0.4, ast.UnaryOp(ast.Not(), _name(name)))
    elif isinstance(value, int | float):
        near = [(1.0, value + 1), (1.0, value - 1), (0.7, -value), (0.8, 0), (0.8, 1)]
        yield from (Change("number", weight, ast.Constant(new)) for weight, new in near)
        yield from (Change("constant for variable", 0.5, _name(name)) for name in site.scope.names)
    elif isinstance(value, str) and value:
        yield Change("text", 0.4, ast.Constant(""))


def variables(site: Site) -> Iterator[Change]:
    """SVR: another variable of the same scope."""
    node = site.node
    if not isinstance(node, ast.Name) or (
        isinstance(site.parent, ast.Call) and site.field == "func"
    ):
        return
    if node.id not in site.scope.names:
        return
    for name in site.scope.names:
        if name != node.id:
            yield Change("variable", 0.9, ast.Name(name, node.ctx))


def attributes(site: Site) -> Iterator[Change]:
    """Another attribute that is used in the same scope."""
    node = site.node
    called = isinstance(site.parent, ast.Call) and site.field == "func"
    if isinstance(node, ast.Attribute) and not called:
        for name in site.scope.attributes:
            if name != node.attr:
                yield Change("attribute", 0.8, ast.Attribute(node.value, name, node.ctx))


def calls(site: Site) -> Iterator[Change]:
    """Exchanged arguments, an argument for its call, a function for a related one."""
    node = site.node
    if not isinstance(node, ast.Call):
        return
    for index in range(len(node.args) - 1):
        args = list(node.args)
        args[index], args[index + 1] = args[index + 1], args[index]
        yield Change("swapped arguments", 1.0, ast.Call(node.func, args, node.keywords))
    for argument in node.args:
        if not isinstance(argument, ast.Starred | ast.GeneratorExp):
            yield Change("argument for its call", 0.7, argument)
    for name in _related(node.func):
        function: ast.expr = (
            ast.Attribute(node.func.value, name, ast.Load())
            if isinstance(node.func, ast.Attribute)
            else _name(name)
        )
        yield Change("function", 0.9, ast.Call(function, node.args, node.keywords))


def _related(function: ast.expr) -> list[str]:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return [other for names in FAMILIES if name in names for other in names if other != name]


def subscripts(site: Site) -> Iterator[Change]:
    """Exchanged indexes, a slice less, a slice more."""
    node = site.node
    if isinstance(node, ast.Subscript):
        index = node.slice
        if isinstance(index, ast.Tuple) and len(index.elts) == 2:
            swapped = ast.Tuple([index.elts[1], index.elts[0]], ast.Load())
            yield Change("swapped indexes", 1.0, ast.Subscript(node.value, swapped, node.ctx))
        if isinstance(index, ast.Slice):
            yield Change("deleted slice", 0.7, node.value)
            yield from _bounds(node, index)
    elif isinstance(node, ast.Name) and _may_be_sequence(site):
        first, last = ast.Constant(1), ast.UnaryOp(ast.USub(), ast.Constant(1))
        yield Change("inserted slice", 0.4, _sliced(node, first, None))
        yield Change("inserted slice", 0.4, _sliced(node, None, last))
        for name in site.scope.names:
            if name != node.id:
                yield Change("inserted slice", 0.2, _sliced(node, _name(name), None))
                yield Change("inserted slice", 0.2, _sliced(node, None, _name(name)))


def _may_be_sequence(site: Site) -> bool:
    if isinstance(site.parent, ast.For | ast.AsyncFor | ast.comprehension):
        return site.field == "iter"
    return isinstance(site.parent, ast.Call) and site.field == "args"


def _sliced(value: ast.expr, lower: ast.expr | None, upper: ast.expr | None) -> ast.expr:
    return ast.Subscript(value, ast.Slice(lower, upper), ast.Load())


def _bounds(node: ast.Subscript, index: ast.Slice) -> Iterator[Change]:
    """A slice that begins or ends one earlier or later, where it names no bound."""
    one, last = ast.Constant(1), ast.UnaryOp(ast.USub(), ast.Constant(1))
    if index.lower is None:
        yield Change("slice bound", 0.7, _resliced(node, index, one, index.upper))
    else:
        yield Change("slice bound", 0.5, _resliced(node, index, None, index.upper))
    if index.upper is None:
        yield Change("slice bound", 0.7, _resliced(node, index, index.lower, last))
    else:
        yield Change("slice bound", 0.5, _resliced(node, index, index.lower, None))


def _resliced(
    node: ast.Subscript, index: ast.Slice, lower: ast.expr | None, upper: ast.expr | None
) -> ast.expr:
    return ast.Subscript(node.value, ast.Slice(lower, upper, index.step), node.ctx)


def literals(site: Site) -> Iterator[Change]:
    """An element more or less in a list that is written out."""
    node = site.node
    if not isinstance(node, ast.List) or not isinstance(node.ctx, ast.Load):
        return
    for index in range(len(node.elts)):
        rest = node.elts[:index] + node.elts[index + 1 :]
        yield Change("deleted element", 0.6, ast.List(rest, ast.Load()))
    if not node.elts:
        yield Change("inserted element", 0.4, ast.List([ast.List([], ast.Load())], ast.Load()))
    for name in site.scope.names:
        yield Change("inserted element", 0.4, ast.List([*node.elts, _name(name)], ast.Load()))


def conditions(site: Site) -> Iterator[Change]:
    """COR: the opposite condition, a constant one, and one with a guard more."""
    if site.field not in {"test", "ifs"}:
        return
    node = site.node
    if not isinstance(node, ast.Constant):
        yield Change("negated condition", 0.8, ast.UnaryOp(ast.Not(), node))
        yield Change("constant condition", 0.3, ast.Constant(True))
        yield Change("constant condition", 0.3, ast.Constant(False))
    used = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
    for name in site.scope.names:
        weight = 0.6 if name in used else 0.4
        none = ast.Constant(None)
        missing = ast.Compare(_name(name), [ast.Is()], [none])
        given = ast.Compare(_name(name), [ast.IsNot()], [none])
        empty = ast.UnaryOp(ast.Not(), _name(name))
        yield Change("missing guard", weight, ast.BoolOp(ast.Or(), [missing, node]))
        yield Change("missing guard", weight, ast.BoolOp(ast.And(), [given, node]))
        yield Change("missing guard", weight, ast.BoolOp(ast.Or(), [node, empty]))
        yield Change("missing guard", weight, ast.BoolOp(ast.And(), [node, _name(name)]))


def pieces(site: Site) -> Iterator[Change]:
    """An expression of the same kind from the same scope: what is missing is often near."""
    node = site.node
    if isinstance(site.parent, ast.Call) and site.field == "func":
        return
    alike = site.scope.pieces.get(type(node), [])
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        alike = [item for items in site.scope.pieces.values() for item in items][:16]
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        alike = site.scope.pieces.get(ast.Compare, [])
    own = ast.unparse(node)
    for other in alike:
        if ast.unparse(other) != own:
            yield Change("expression", 0.4 if type(other) is type(node) else 0.25, other)


def inserted_operand(site: Site) -> Iterator[Change]:
    """AOI: an operand more, as the inverse of a deleted one."""
    if isinstance(site.node, ast.Name) and not _may_be_number(site):
        return
    if not isinstance(site.node, ast.Name | ast.ListComp | ast.List):
        return
    for name in site.scope.names:
        operators: tuple[ast.operator, ...] = (ast.Add(), ast.Sub(), ast.Mult())
        for operator in operators:
            yield Change("inserted operand", 0.25, ast.BinOp(site.node, operator, _name(name)))
        yield Change("inserted operand", 0.25, ast.BinOp(_name(name), ast.Add(), site.node))


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


OPERATORS: tuple[Operator, ...] = (
    relational,
    arithmetic,
    logical,
    unary,
    off_by_one,
    constants,
    variables,
    attributes,
    calls,
    subscripts,
    literals,
    conditions,
    pieces,
    inserted_operand,
)
"""On expressions that are read."""
TARGET_OPERATORS: tuple[Operator, ...] = (variables, pieces, subscripts)
"""On expressions that are assigned to."""
