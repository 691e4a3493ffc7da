"""A Python text as a tree, with its functions and classes by name.

Nothing here recurses: a text may be nested as deep as the parser takes it. What takes a text blocks for
some milliseconds in a thousand lines: call it in a thread.
"""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

Definition = ast.FunctionDef | ast.AsyncFunctionDef
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

_filters = threading.Lock()


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method, with the names of what encloses it."""

    name: str
    """Qualified within the module: `Class.method`, `outer.inner`."""
    node: Definition
    owner: ast.ClassDef | None
    """The class whose method it is."""
    nested: bool
    """Whether it is defined inside another function."""
    line_start: int
    """The first decorator's line, when there is one."""
    line_end: int

    @property
    def lines(self) -> int:
        return self.line_end - self.line_start + 1


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a text does not parse."""

    line: int
    column: int | None
    message: str
    syntax: bool = True
    """False: it was too deep or too odd to be parsed, which is no fault of its syntax."""


@dataclass(frozen=True)
class PyCode:
    """A parsed Python text."""

    text: str
    tree: ast.Module
    functions: Sequence[Function]
    classes: Sequence[tuple[str, ast.ClassDef]]
    """With their qualified names."""

    @cached_property
    def lines(self) -> list[str]:
        return re.split(r"\r\n|\r|\n", self.text)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree, outer ones first."""
        return list(ast.walk(self.tree))

    @cached_property
    def _scopes(self) -> list[str]:
        spans = [(item.line_start, item.line_end, item.name) for item in self.functions]
        spans += [
            (node.lineno, node.end_lineno or node.lineno, name) for name, node in self.classes
        ]
        found = [""] * (len(self.lines) + 2)
        for start, end, name in sorted(spans):
            found[start : end + 1] = [name] * (end + 1 - start)
        return found

    def scope_at(self, line: int) -> str:
        """The name of the innermost function or class around a line; empty at module level."""
        return self._scopes[line] if 0 <= line < len(self._scopes) else ""


def parse_python(text: str) -> PyCode | Broken:
    """The tree of a text, or why there is none; by the syntax of the Python that runs us."""
    text = text.removeprefix("\ufeff")
    try:
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        return Broken(max(error.lineno or 1, 1), error.offset, error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        said = str(error) or type(error).__name__
        return Broken(1, None, f"cannot be parsed: {said}", syntax=False)
    return _collected(text, tree)


def _collected(text: str, tree: ast.Module) -> PyCode:
    functions: list[Function] = []
    classes: list[tuple[str, ast.ClassDef]] = []
    waiting: list[tuple[ast.AST, str, ast.ClassDef | None, bool]] = [(tree, "", None, False)]
    while waiting:
        node, prefix, owner, nested = waiting.pop()
        if isinstance(node, Definition):
            name = prefix + node.name
            functions.append(_function(name, node, owner, nested))
            prefix, owner, nested = name + ".", None, True
        elif isinstance(node, ast.ClassDef):
            classes.append((prefix + node.name, node))
            prefix, owner = prefix + node.name + ".", node
        waiting.extend(
            (child, prefix, owner, nested)
            for child in ast.iter_child_nodes(node)
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case)
        )
    functions.sort(key=lambda item: (item.line_start, item.name))
    return PyCode(text, tree, functions, sorted(classes, key=lambda item: item[1].lineno))


def _function(name: str, node: Definition, owner: ast.ClassDef | None, nested: bool) -> Function:
    start = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    return Function(name, node, owner, nested, start, node.end_lineno or node.lineno)


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Everything inside a scope but nothing inside the functions and classes nested in it."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def source_text(node: ast.AST, limit: int = 120) -> str:
    """A node as source text, on one line and bounded."""
    try:
        text = " ".join(ast.unparse(node).split())
    except RecursionError:
        return "a deeply nested expression"
    return text if len(text) <= limit else text[:limit] + "..."


def dotted_name(node: ast.expr | None) -> str:
    """`a.b.c` of a name or a chain of attributes, subscripts and calls left out; else empty."""
    parts: list[str] = []
    while node is not None:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Name):
            return ".".join([node.id, *reversed(parts)])
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return ""
    return ""
