"""Functions, classes and complexity of files: of other languages through tree-sitter, and outlines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dispatch_runner.agents.debug.pycode import PyCode, complexity

if TYPE_CHECKING:
    from dispatch_runner.agents.debug.sources import Source

LARGEST = 500_000
"""Characters; the walk over a larger file's tree takes seconds."""
LOGICAL = frozenset({"&&", "||", "??", "and", "or"})
NAMES = ("name", "key", "property", "left")
"""Fields that name a function: its own, or those of what it is assigned to."""
VALUES = frozenset({"arrow_function", "function_expression", "func_literal", "lambda_literal"})
"""Functions without a name of their own."""
HOLDERS = frozenset(
    {
        "variable_declarator",
        "pair",
        "field_definition",
        "public_field_definition",
        "assignment_expression",
    }
)
"""What gives its name to a function that is its value."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What one language calls the things that are looked for."""

    package: str
    """The wheel; its module is named the same, with underscores."""
    functions: frozenset[str]
    classes: frozenset[str]
    decisions: frozenset[str]
    entry: str = "language"


def _kinds(text: str) -> frozenset[str]:
    return frozenset(text.split())


_JAVASCRIPT = _kinds(
    "function_declaration generator_function_declaration method_definition arrow_function "
    "function_expression"
)
_JAVASCRIPT_DECISIONS = _kinds(
    "if_statement for_statement for_in_statement while_statement do_statement switch_case "
    "catch_clause ternary_expression"
)
_JAVASCRIPT_CLASSES = _kinds("class_declaration abstract_class_declaration class")

GRAMMARS: Mapping[str, Grammar] = {
    "javascript": Grammar(
        "tree-sitter-javascript", _JAVASCRIPT, _JAVASCRIPT_CLASSES, _JAVASCRIPT_DECISIONS
    ),
    "typescript": Grammar(
        "tree-sitter-typescript",
        _JAVASCRIPT,
        _JAVASCRIPT_CLASSES,
        _JAVASCRIPT_DECISIONS,
        "language_typescript",
    ),
    "tsx": Grammar(
        "tree-sitter-typescript",
        _JAVASCRIPT,
        _JAVASCRIPT_CLASSES,
        _JAVASCRIPT_DECISIONS,
        "language_tsx",
    ),
    "java": Grammar(
        "tree-sitter-java",
        _kinds("method_declaration constructor_declaration compact_constructor_declaration"),
        _kinds("class_declaration interface_declaration enum_declaration record_declaration"),
        _kinds(
            "if_statement for_statement enhanced_for_statement while_statement do_statement "
            "switch_label catch_clause ternary_expression"
        ),
    ),
    "kotlin": Grammar(
        "tree-sitter-kotlin",
        _kinds("function_declaration secondary_constructor"),
        _kinds("class_declaration object_declaration companion_object"),
        _kinds(
            "if_expression for_statement while_statement do_while_statement when_entry catch_block"
        ),
    ),
    "go": Grammar(
        "tree-sitter-go",
        _kinds("function_declaration method_declaration"),
        frozenset(),
        _kinds("if_statement for_statement expression_case type_case communication_case"),
    ),
    "rust": Grammar(
        "tree-sitter-rust",
        _kinds("function_item"),
        _kinds("impl_item trait_item mod_item"),
        _kinds("if_expression match_arm while_expression for_expression loop_expression"),
    ),
    "csharp": Grammar(
        "tree-sitter-c-sharp",
        _kinds("method_declaration constructor_declaration local_function_statement"),
        _kinds("class_declaration struct_declaration interface_declaration record_declaration"),
        _kinds(
            "if_statement for_statement foreach_statement while_statement do_statement "
            "switch_section switch_expression_arm catch_clause conditional_expression"
        ),
    ),
    "php": Grammar(
        "tree-sitter-php",
        _kinds("function_definition method_declaration"),
        _kinds("class_declaration interface_declaration trait_declaration enum_declaration"),
        _kinds(
            "if_statement else_if_clause for_statement foreach_statement while_statement "
            "do_statement case_statement catch_clause conditional_expression "
            "match_conditional_expression"
        ),
        "language_php",
    ),
    "ruby": Grammar(
        "tree-sitter-ruby",
        _kinds("method singleton_method"),
        _kinds("class module"),
        _kinds(
            "if elsif unless if_modifier unless_modifier while until while_modifier until_modifier "
            "for when rescue conditional"
        ),
    ),
}


class NoGrammar(Exception):
    """A language cannot be parsed here. The message says what to install."""


@dataclass(slots=True)
class Part:
    """A function with its lines and McCabe's number."""

    name: str
    line_start: int
    line_end: int
    complexity: int = 1


@dataclass(slots=True)
class Structure:
    """What a file is made of."""

    source: Source
    functions: list[Part] = field(default_factory=list)
    classes: list[Part] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    """Lines that the grammar does not understand."""

    def part_at(self, line: int) -> Part | None:
        """The innermost function around a line."""
        around = [item for item in self.functions if item.line_start <= line <= item.line_end]
        return min(around, key=lambda item: item.line_end - item.line_start, default=None)

    def scope_at(self, line: int) -> str:
        """The name of the innermost function or class around a line; empty outside all."""
        found = self.part_at(line)
        if found is not None:
            return found.name
        around = [item for item in self.classes if item.line_start <= line <= item.line_end]
        return min(around, key=lambda item: item.line_end - item.line_start).name if around else ""


def structure(source: Source) -> Structure:
    """The file's functions and classes. Blocking: call it in a thread.

    Raises:
        NoGrammar: the language has no grammar here, or the file is too large.
    """
    text = source.text
    if len(text) > LARGEST:
        raise NoGrammar(f"{len(text):,} characters are more than the {LARGEST:,} that are parsed")
    language = "tsx" if source.path.lower().endswith(".tsx") else source.language
    grammar = GRAMMARS.get(language)
    if grammar is None:
        raise NoGrammar(f"there is no grammar for {source.language or 'a file of this name'}")
    found = Structure(source)
    _collect(_parser(language).parse(text.encode()).root_node, grammar, found)
    return found


def outline(code: PyCode, *, sized: bool) -> Structure:
    """What is left of a parsed Python file without its tree; `sized`: with complexity."""
    return Structure(
        code.source,
        [
            Part(item.name, item.line_start, item.line_end, complexity(item.node) if sized else 1)
            for item in code.functions
        ],
        [Part(name, node.lineno, node.end_lineno or node.lineno) for name, node in code.classes],
    )


@cache
def _parser(language: str) -> Any:
    grammar = GRAMMARS[language]
    try:
        library, module = import_module("tree_sitter"), import_module(_module(grammar.package))
    except ImportError as error:
        raise NoGrammar(
            f"its structure needs `tree-sitter` and `{grammar.package}`: "
            "install dispatch-runner[languages]"
        ) from error
    return library.Parser(library.Language(getattr(module, grammar.entry)()))


def _module(package: str) -> str:
    return package.replace("-", "_")


def _collect(root: Any, grammar: Grammar, found: Structure) -> None:
    """Without recursion: code may be nested as deep as it likes."""
    waiting: list[tuple[Any, str, Part | None]] = [(root, "", None)]
    while waiting:
        node, prefix, inside = waiting.pop()
        kind = node.type
        if kind == "ERROR":
            found.broken.append(node.start_point[0] + 1)
        if kind in grammar.functions:
            name = _function_name(node)
            if name:
                inside = _part(node, prefix + _receiver(node) + name)
                found.functions.append(inside)
                prefix = inside.name + "."
        elif kind in grammar.classes and node.is_named:
            name = _text(node.child_by_field_name("name") or node.child_by_field_name("type"))
            if name:
                found.classes.append(_part(node, prefix + name))
                prefix = f"{prefix}{name}."
        if inside is not None and _decides(node, grammar):
            inside.complexity += 1
        waiting.extend((child, prefix, inside) for child in node.children)
    found.functions.sort(key=lambda item: item.line_start)


def _decides(node: Any, grammar: Grammar) -> bool:
    """Ruby's `if` and the like are both a node and a keyword in it: only the node counts."""
    return (node.is_named and node.type in grammar.decisions) or node.type in LOGICAL


def _part(node: Any, name: str) -> Part:
    return Part(name, node.start_point[0] + 1, node.end_point[0] + 1)


def _function_name(node: Any) -> str:
    if node.type in VALUES:
        parent = node.parent
        return _first_name(parent) if parent is not None and parent.type in HOLDERS else ""
    return _first_name(node) or ("constructor" if "constructor" in node.type else "")


def _first_name(node: Any) -> str:
    names = (_text(node.child_by_field_name(name)) for name in NAMES)
    return next((name for name in names if name), "")


def _receiver(node: Any) -> str:
    """The type that a Go method belongs to."""
    receiver = node.child_by_field_name("receiver")
    words = _text(receiver).strip("()").replace("*", " ").split() if receiver is not None else []
    return f"{words[-1].partition('[')[0]}." if words else ""


def _text(node: Any) -> str:
    return node.text.decode(errors="replace")[:120] if node is not None and node.text else ""
