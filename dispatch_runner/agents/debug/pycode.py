"""A Python file as a tree: its functions, their complexity, and what stands at a line."""

from __future__ import annotations

import ast
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

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


@dataclass(frozen=True)
class PyCode:
    """A parsed Python file. What is asked of a line is answered from indexes made once."""

    source: Source
    tree: ast.Module
    functions: Sequence[Function]
    classes: Sequence[tuple[str, ast.ClassDef]]
    statements: Sequence[ast.stmt]

    @cached_property
    def _innermost(self) -> list[Function | None]:
        """The innermost function around each line, by line number."""
        found: list[Function | None] = [None] * (len(self.source.lines) + 2)
        for item in sorted(self.functions, key=lambda item: item.line_start):
            found[item.line_start : item.line_end + 1] = [item] * (
                item.line_end + 1 - item.line_start
            )
        return found

    @cached_property
    def _scopes(self) -> list[str]:
        """The name of the innermost function or class around each line, by line number."""
        spans = [(item.line_start, item.line_end, item.name) for item in self.functions]
        spans += [
            (node.lineno, node.end_lineno or node.lineno, name) for name, node in self.classes
        ]
        found = [""] * (len(self.source.lines) + 2)
        for start, end, name in sorted(spans):
            found[start : end + 1] = [name] * (end + 1 - start)
        return found

    @cached_property
    def _by_line(self) -> dict[int, list[ast.stmt]]:
        """The smallest statements around each line."""
        found: dict[int, list[ast.stmt]] = {}
        for node in sorted(self.statements, key=_size, reverse=True):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                known = found.get(line)
                if known is not None and _size(known[0]) == _size(node):
                    known.append(node)
                else:
                    found[line] = [node]
        return found

    def function_at(self, line: int) -> Function | None:
        """The innermost function around a line."""
        return self._innermost[line] if 0 <= line < len(self._innermost) else None

    def scope_at(self, line: int) -> str:
        """The name of the innermost function or class around a line; empty at module level."""
        return self._scopes[line] if 0 <= line < len(self._scopes) else ""

    def statements_at(self, line: int) -> list[ast.stmt]:
        """The smallest statements around a line: several when they share it, first ones first."""
        return sorted(self._by_line.get(line, ()), key=lambda node: (node.lineno, node.col_offset))

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


def _size(node: ast.stmt) -> tuple[bool, int]:
    """Whether it is compound, and how many lines it has: simple statements are smaller."""
    return hasattr(node, "body"), (node.end_lineno or node.lineno) - node.lineno


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    waiting: deque[ast.AST] = deque([statement])
    while waiting:
        node = waiting.popleft()
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
