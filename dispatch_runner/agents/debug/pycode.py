"""A Python file as a tree: its functions, their complexity, and what stands at a line."""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dispatch_runner.agents.debug.sources import Source

Definition = ast.FunctionDef | ast.AsyncFunctionDef
DECISIONS = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.IfExp,
    ast.ExceptHandler,
    ast.match_case,
    ast.Assert,
)

_filters = threading.Lock()


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method, with the names of what encloses it."""

    name: str
    """Qualified within the module: `Class.method`, `outer.inner`."""
    node: Definition
    line_start: int
    """The first decorator's line, when there is one."""
    line_end: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a file does not parse."""

    line: int
    column: int | None
    message: str
    syntax: bool = True
    """False: it was too deep or too odd to be parsed, which is no fault of its syntax."""


@dataclass(frozen=True, slots=True)
class PyCode:
    """A parsed Python file."""

    source: Source
    tree: ast.Module
    functions: Sequence[Function]
    classes: Sequence[tuple[str, ast.ClassDef]]
    statements: Sequence[ast.stmt]

    def function_at(self, line: int) -> Function | None:
        """The innermost function around a line."""
        around = [item for item in self.functions if item.line_start <= line <= item.line_end]
        return max(around, key=lambda item: item.line_start, default=None)

    def scope_at(self, line: int) -> str:
        """The name of the innermost function or class around a line; empty at module level."""
        function = self.function_at(line)
        classes = [
            (node.lineno, name)
            for name, node in self.classes
            if node.lineno <= line <= (node.end_lineno or node.lineno)
        ]
        innermost = max(classes, default=(0, ""))
        if function is not None and function.line_start >= innermost[0]:
            return function.name
        return innermost[1]

    def statements_at(self, line: int) -> list[ast.stmt]:
        """The smallest statements around a line: several when they share it, innermost last."""
        around = [node for node in self.statements if node.lineno <= line <= (node.end_lineno or 0)]
        simple = [node for node in around if not hasattr(node, "body")]
        lowest = min(map(_height, simple or around), default=0)
        smallest = [node for node in simple or around if _height(node) == lowest]
        return sorted(smallest, key=lambda node: (node.lineno, node.col_offset))

    def nodes_at(self, line: int) -> Iterator[ast.AST]:
        """Every expression that touches a line, outermost first.

        Of a compound statement only its head counts, never the statements of its body.
        """
        for statement in self.statements_at(line):
            for node in _expressions(statement):
                start, end = getattr(node, "lineno", line), getattr(node, "end_lineno", line)
                if start <= line <= (end or line):
                    yield node

    def text(self, node: ast.AST) -> str:
        """A node as source text, on one line, at most 120 characters."""
        return source_text(node, 120)


def source_text(node: ast.AST, limit: int) -> str:
    """A node as source text, on one line and bounded; it may be nested as deep as it likes."""
    try:
        text = " ".join(ast.unparse(node).split())
    except RecursionError:
        return "a deeply nested expression"
    return text if len(text) <= limit else text[:limit] + "..."


def _height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop(0)
        yield node
        waiting.extend(
            child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)
        )


def parse_python(source: Source) -> PyCode | Broken:
    """The file's tree, or why there is none. Blocking: call it in a thread."""
    try:
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.text)
    except SyntaxError as error:
        return Broken(max(error.lineno or 1, 1), error.offset, error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return Broken(
            1, None, f"cannot be parsed: {str(error) or type(error).__name__}", syntax=False
        )
    return _collected(source, tree)


def _collected(source: Source, tree: ast.Module) -> PyCode:
    """Without recursion: a file may be nested as deep as it likes."""
    functions: list[Function] = []
    classes: list[tuple[str, ast.ClassDef]] = []
    statements: list[ast.stmt] = []
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, prefix = waiting.pop()
        if isinstance(node, ast.stmt):
            statements.append(node)
        if isinstance(node, Definition):
            name = prefix + node.name
            start = min([node.lineno, *(item.lineno for item in node.decorator_list)])
            functions.append(Function(name, node, start, node.end_lineno or node.lineno))
            prefix = name + "."
        elif isinstance(node, ast.ClassDef):
            classes.append((prefix + node.name, node))
            prefix = prefix + node.name + "."
        waiting.extend(
            (child, prefix)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        )
    return PyCode(source, tree, functions, classes, statements)


def complexity(definition: Definition) -> int:
    """McCabe's number: 1 plus its decisions. Nested functions count for themselves."""
    count = 1
    for node in own_nodes(definition):
        if isinstance(node, DECISIONS):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
    return count


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Everything inside a scope but nothing inside the functions and classes nested in it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
