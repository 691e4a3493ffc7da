"""Code that is legal and probably not meant: what a careful reader would stop at."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from dispatch_runner.agents.debug.models import Finding
from dispatch_runner.agents.debug.pycode import Function, PyCode, own_nodes, source_text

PURE_METHODS = frozenset(
    [
        "replace",
        "strip",
        "lstrip",
        "rstrip",
        "lower",
        "upper",
        "capitalize",
        "removeprefix",
        "removesuffix",
        "zfill",
        "casefold",
    ]
)
GROWING_METHODS = frozenset({"append", "remove", "insert", "pop", "add", "discard", "clear"})
LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)
BODIES = ("body", "orelse", "finalbody")

Found = tuple[int, str, str, float]
"""Line, rule, message, weight."""


def suspicious(code: PyCode) -> list[Finding]:
    """Every suspicious place of a file, by line."""
    found = [item for check in CHECKS for item in check(code)]
    return [
        Finding(
            file=code.source.path,
            line=line,
            column=None,
            source="ast",
            rule=rule,
            message=message,
            function=code.scope_at(line),
            weight=weight,
        )
        for line, rule, message, weight in sorted(found)
    ]


def _text(node: ast.expr) -> str:
    return source_text(node, 1_000)


def unreachable(code: PyCode) -> Iterator[Found]:
    for block in _blocks(code):
        for index, statement in enumerate(block[:-1]):
            if isinstance(statement, LEAVING):
                line = block[index + 1].lineno
                kind = type(statement).__name__.lower()
                yield (
                    line,
                    "unreachable-code",
                    f"never runs: line {statement.lineno} is a {kind}",
                    0.25,
                )
                break


def _blocks(code: PyCode) -> Iterator[list[ast.stmt]]:
    yield code.tree.body
    for statement in code.statements:
        for name in BODIES:
            block = getattr(statement, name, None)
            if isinstance(block, list) and block:
                yield block


def mixed_returns(code: PyCode) -> Iterator[Found]:
    """A function that gives a value on some paths and falls off its end on others."""
    returns = _returns(code)
    for function in code.functions:
        valued = [node for node in returns.get(id(function.node), ()) if node.value is not None]
        if not valued or all(_none(node.value) for node in valued):
            continue
        line = _falls_off(function.node.body)
        if line is not None and not _generator(function):
            yield (
                function.node.lineno,
                "implicit-none",
                (
                    f"`{function.name}` returns a value in line {valued[0].lineno} but None when it "
                    f"passes line {line}"
                ),
                0.25,
            )


def _returns(code: PyCode) -> dict[int, list[ast.Return]]:
    """The return statements of each function's own, by its node's identity and by line."""
    found: dict[int, list[ast.Return]] = {}
    for node in sorted(code.statements, key=lambda node: node.lineno):
        function = code.function_at(node.lineno) if isinstance(node, ast.Return) else None
        if function is not None and isinstance(node, ast.Return):
            found.setdefault(id(function.node), []).append(node)
    return found


def _none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _generator(function: Function) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(function.node))


def _falls_off(body: list[ast.stmt]) -> int | None:
    """The last line of a block that plainly reaches its end; null when it does not or is not plain."""
    last = body[-1]
    if isinstance(last, ast.If):
        inner = _falls_off(last.body)
        if inner is not None:
            return inner
        return _falls_off(last.orelse) if last.orelse else last.lineno
    if isinstance(last, ast.For | ast.AsyncFor):
        return last.lineno if not last.orelse else _falls_off(last.orelse)
    if isinstance(last, ast.Assign | ast.AugAssign | ast.Pass) or (
        isinstance(last, ast.Expr) and not isinstance(last.value, ast.Call)
    ):
        return last.end_lineno
    return None


def beyond_the_end(code: PyCode) -> Iterator[Found]:
    """`for i in range(len(x) + 1)` and a read of `x[i]` in it."""
    for loop in code.statements:
        if not (isinstance(loop, ast.For) and isinstance(loop.target, ast.Name)):
            continue
        name = _longer_range(loop.iter)
        if name and any(_reads(node, name, loop.target.id) for node in ast.walk(loop)):
            yield (
                loop.lineno,
                "index-beyond-end",
                f"`{_text(loop.iter)}` goes one beyond the last index of `{name}`",
                0.5,
            )


def _longer_range(node: ast.expr) -> str:
    """The name whose length plus something a `range` ends at."""
    if not (isinstance(node, ast.Call) and _text(node.func) == "range" and node.args):
        return ""
    end = node.args[-1] if len(node.args) < 3 else node.args[1]
    if not (isinstance(end, ast.BinOp) and isinstance(end.op, ast.Add)):
        return ""
    length = end.left
    is_length = isinstance(length, ast.Call) and _text(length.func) == "len"
    return _text(length.args[0]) if is_length and length.args else ""  # type: ignore[attr-defined]


def _reads(node: ast.AST, container: str, index: str) -> bool:
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Name)
        and node.slice.id == index
        and _text(node.value) == container
    )


def changed_while_iterated(code: PyCode) -> Iterator[Found]:
    for loop in code.statements:
        if not (isinstance(loop, ast.For) and isinstance(loop.iter, ast.Name | ast.Attribute)):
            continue
        container = _text(loop.iter)
        for node in ast.walk(loop):
            if isinstance(node, ast.Call) and _changes(node.func, container):
                yield (
                    node.lineno,
                    "changed-while-iterated",
                    f"`{container}` is changed while line {loop.lineno} iterates over it",
                    0.45,
                )


def _changes(function: ast.expr, container: str) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr in GROWING_METHODS
        and isinstance(function.value, ast.Name | ast.Attribute)
        and _text(function.value) == container
    )


def dropped_result(code: PyCode) -> Iterator[Found]:
    """`text.strip()` as a statement: the method changes nothing and its result is lost."""
    elsewhere = _modules(code) | {"self"}
    for statement in code.statements:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
            continue
        function = statement.value.func
        if (
            isinstance(function, ast.Attribute)
            and function.attr in PURE_METHODS
            and not (isinstance(function.value, ast.Name) and function.value.id in elsewhere)
        ):
            said = code.text(statement.value)
            message = (
                f"the result of `{said}` is not used: `{function.attr}` changes nothing in place"
            )
            yield statement.lineno, "dropped-result", message, 0.35


def _modules(code: PyCode) -> set[str]:
    """The names that imports bind."""
    return {
        (alias.asname or alias.name).partition(".")[0]
        for statement in code.statements
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for alias in statement.names
    }


def always_true(code: PyCode) -> Iterator[Found]:
    """`if x == 1 or 2`: the second operand is true by itself."""
    for statement in code.statements:
        test = getattr(statement, "test", None)
        if not (isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or)):
            continue
        if any(isinstance(value, ast.Constant) and value.value for value in test.values):
            yield (
                statement.lineno,
                "always-true",
                f"`{code.text(test)}` is always true: one of its operands is a constant",
                0.5,
            )


def swallowed_error(code: PyCode) -> Iterator[Found]:
    for statement in code.statements:
        if not isinstance(statement, ast.Try | ast.TryStar):
            continue
        for handler in statement.handlers:
            broad = handler.type is None or _text(handler.type) in (
                "Exception",
                "BaseException",
            )
            if broad and all(isinstance(item, ast.Pass | ast.Continue) for item in handler.body):
                yield (
                    handler.lineno,
                    "swallowed-error",
                    "every error in the `try` above is dropped without a trace",
                    0.2,
                )


CHECKS: tuple[Callable[[PyCode], Iterator[Found]], ...] = (
    unreachable,
    mixed_returns,
    beyond_the_end,
    changed_while_iterated,
    dropped_result,
    always_true,
    swallowed_error,
)
