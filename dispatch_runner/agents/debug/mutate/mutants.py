"""All mutants of some lines of a file, as changes of its text."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from dispatch_runner.agents.debug.mutate.expressions import (
    OPERATORS,
    TARGET_OPERATORS,
    Change,
    Site,
)
from dispatch_runner.agents.debug.mutate.scope import Scope, scopes
from dispatch_runner.agents.debug.mutate.statements import Rewrite, rewrites
from dispatch_runner.agents.debug.pycode import PyCode

BODIES = ("body", "orelse", "finalbody")
ATOMS = (
    ast.Name,
    ast.Constant,
    ast.Attribute,
    ast.Subscript,
    ast.Call,
    ast.List,
    ast.Dict,
    ast.Set,
)
OPEN = (ast.Call, ast.Subscript, ast.List, ast.Tuple, ast.Slice, ast.keyword)
"""Parents inside which nothing needs parentheses."""
TARGETS = (ast.Name, ast.Attribute, ast.Subscript)
SKIPPED = (ast.JoinedStr, ast.GeneratorExp, ast.FormattedValue)
UNREAD = frozenset({"annotation", "returns", "decorator_list", "type_params", "type_comment"})


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the characters from `start` to `end` of the file's text become `text`."""

    file: str
    line: int
    """Where the changed node begins; of an insertion, the line that it stands before or after."""
    operator: str
    weight: float
    start: int
    end: int
    text: str
    import_time: bool
    """Whether the code runs when its module is imported."""


class Positions:
    """From lines and columns of a syntax tree (columns are bytes) to characters of the text."""

    def __init__(self, code: PyCode) -> None:
        self._lines = code.source.lines
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def at(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        if not text.isascii():
            column = len(text.encode()[:column].decode(errors="replace"))
        return self._starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.at(node.lineno, node.col_offset), self.at(end_line, end_column)

    def alone(self, node: ast.stmt) -> bool:
        """Whether the statement begins its line."""
        return not self._lines[node.lineno - 1][: node.col_offset].strip()


def mutants(code: PyCode, lines: Collection[int]) -> list[Mutant]:
    """The mutants of the given lines, each text once, the more usual kinds first."""
    wanted, positions = frozenset(lines), Positions(code)
    text = code.source.text
    found: dict[tuple[int, int, str], Mutant] = {}
    for scope, statements in scopes(code):
        last = _last_ones(scope, statements)
        for statement in statements:
            for item in _of_statement(code, positions, scope, statement, id(statement) in last):
                if item.line in wanted and text[item.start : item.end] != item.text:
                    key = (item.start, item.end, item.text)
                    if key not in found or found[key].weight < item.weight:
                        found[key] = item
    return sorted(found.values(), key=lambda item: (-item.weight, item.start, item.text))


def _last_ones(scope: Scope, statements: list[ast.stmt]) -> set[int]:
    """The statements after which their block ends."""
    blocks = [getattr(scope.node, "body", [])]
    for statement in statements:
        blocks += [
            getattr(statement, name, [])
            for name in BODIES
            if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
    return {id(block[-1]) for block in blocks if block and isinstance(block[-1], ast.stmt)}


def _of_statement(
    code: PyCode, positions: Positions, scope: Scope, statement: ast.stmt, last: bool
) -> Iterator[Mutant]:
    file, outside, text = code.source.path, not scope.around, code.source.text
    for site, store in _sites(statement, scope):
        start, end = positions.span(site.node)
        for operator in TARGET_OPERATORS if store else OPERATORS:
            for change in operator(site):
                if store and not isinstance(change.new, TARGETS):
                    continue
                yield Mutant(
                    file,
                    site.node.lineno,
                    change.operator,
                    change.weight,
                    start,
                    end,
                    _written(change, site.parent, text[start - 1 : start] + text[end : end + 1]),
                    outside,
                )
    if positions.alone(statement) and not outside:
        for rewrite in rewrites(statement, scope, last=last):
            mutant = _rewritten(code, positions, statement, rewrite)
            if mutant is not None:
                yield mutant


def _sites(statement: ast.stmt, scope: Scope) -> Iterator[tuple[Site, bool]]:
    """The expressions of a statement's own, and whether each is assigned to."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        parent = waiting.pop()
        for field, value in ast.iter_fields(parent):
            if field in UNREAD:
                continue
            for node in value if isinstance(value, list) else [value]:
                if not isinstance(node, ast.AST) or isinstance(node, ast.stmt):
                    continue
                if isinstance(node, ast.expr) and not isinstance(node, (*SKIPPED, ast.Slice)):
                    store = not isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
                    if not isinstance(node, ast.Starred | ast.Tuple):
                        yield Site(node, parent, field, scope), store
                if not isinstance(node, ast.JoinedStr):
                    waiting.append(node)


def _written(change: Change, parent: ast.AST, around: str) -> str:
    """The new expression, in parentheses where it may need them; `around`: the characters beside it."""
    text = ast.unparse(change.new)
    binds = isinstance(change.new, ast.BinOp) and isinstance(parent, ast.Compare)
    if isinstance(change.new, ATOMS) or isinstance(parent, (*OPEN, ast.stmt)) or binds:
        return text
    if around == "()":
        return text
    return f"({text})"


def _rewritten(
    code: PyCode, positions: Positions, statement: ast.stmt, rewrite: Rewrite
) -> Mutant | None:
    start, end = positions.span(statement)
    text, line = ast.unparse(ast.fix_missing_locations(rewrite.new)), statement.lineno
    indent = " " * statement.col_offset
    if code.source.text.startswith("elif", start) or "\n" in text:
        return None
    if rewrite.place == "before":
        end, text = start, f"{text}\n{indent}"
    elif rewrite.place == "after":
        start, text = end, f"\n{indent}{text}"
        line = statement.end_lineno or line
    file = code.source.path
    return Mutant(file, line, rewrite.operator, rewrite.weight, start, end, text, False)
