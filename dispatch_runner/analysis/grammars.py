"""The structure of texts in other languages than Python, where the optional grammars are installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


class _Grammar(NamedTuple):
    module: str
    function: str = "language"


_GRAMMARS: dict[str, _Grammar] = {
    "csharp": _Grammar("tree_sitter_c_sharp"),
    "go": _Grammar("tree_sitter_go"),
    "java": _Grammar("tree_sitter_java"),
    "javascript": _Grammar("tree_sitter_javascript"),
    "kotlin": _Grammar("tree_sitter_kotlin"),
    "php": _Grammar("tree_sitter_php", "language_php"),
    "ruby": _Grammar("tree_sitter_ruby"),
    "rust": _Grammar("tree_sitter_rust"),
    "typescript": _Grammar("tree_sitter_typescript", "language_typescript"),
    "tsx": _Grammar("tree_sitter_typescript", "language_tsx"),
}

_FUNCTIONS = frozenset({
    "arrow_function", "constructor_declaration", "function_declaration", "function_definition",
    "function_expression", "function_item", "generator_function_declaration",
    "local_function_statement", "method", "method_declaration", "method_definition",
    "singleton_method",
})  # fmt: skip
_DECISIONS = frozenset({
    "if_statement", "if_expression", "if", "elsif", "unless", "if_modifier", "unless_modifier",
    "else_if_clause", "for_statement", "for_in_statement", "foreach_statement", "for_each_statement",
    "enhanced_for_statement", "for_expression", "for", "while_statement", "while_expression",
    "while", "until", "do_statement", "do_while_statement", "loop_expression", "expression_case",
    "type_case", "communication_case", "switch_case", "case_statement", "switch_section",
    "switch_block_statement_group", "match_arm", "match_conditional_expression", "when_entry", "when",
    "conditional_expression", "ternary_expression", "conditional", "catch_clause", "catch_block",
    "rescue",
})  # fmt: skip
_JOINTS = frozenset({"&&", "||", "and", "or", "??"})
_MOST_ERRORS = 20


@dataclass(frozen=True, slots=True)
class ForeignFunction:
    """A function by its first line, its lines, and McCabe's number."""

    name: str
    line: int
    lines: int
    cyclomatic: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The structure of a text."""

    functions: list[ForeignFunction]
    error_lines: list[int]
    """Where the grammar did not understand the text, the first 20. A grammar may be behind the
    language: this is no proof."""


def outline(text: str, language: str) -> Outline | str:
    """The structure of a text, or why there is none. Blocks: call it in a thread."""
    if language not in _GRAMMARS:
        return f"no grammar for '{language}' is known"
    parser = _parser(language)
    if isinstance(parser, str):
        return parser
    root = parser.parse(text.encode("utf-8", "replace")).root_node
    errors = (node.start_point[0] + 1 for node in _walk(root) if node.is_error or node.is_missing)
    functions = [_function(node) for node in _walk(root) if _is_function(node)]
    lines = sorted(set(errors)) if root.has_error else []
    return Outline(functions, lines[:_MOST_ERRORS])


@cache
def _parser(language: str) -> Parser | str:
    grammar = _GRAMMARS[language]
    try:
        from tree_sitter import Language, Parser

        module: Any = import_module(grammar.module)
        return Parser(Language(getattr(module, grammar.function)()))
    except (ImportError, AttributeError, ValueError) as error:
        package = grammar.module.replace("_", "-")
        return f"needs tree-sitter and {package}, of the extra `languages` ({error})"


def _walk(root: Node) -> Iterator[Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(node.children))


def _is_function(node: Node) -> bool:
    return node.is_named and node.type in _FUNCTIONS


def _function(node: Node) -> ForeignFunction:
    name = node.child_by_field_name("name")
    text = name.text.decode("utf-8", "replace") if name is not None and name.text else "(unnamed)"
    first, last = node.start_point[0] + 1, node.end_point[0] + 1
    return ForeignFunction(text, first, last - first + 1, 1 + sum(map(_is_decision, _own(node))))


def _own(function: Node) -> Iterator[Node]:
    waiting = list(function.children)
    while waiting:
        node = waiting.pop()
        yield node
        if not _is_function(node):
            waiting.extend(node.children)


def _is_decision(node: Node) -> bool:
    return node.type in (_DECISIONS if node.is_named else _JOINTS)
