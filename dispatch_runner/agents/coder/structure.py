"""What a module's syntax tree says about its node: classes, names, models."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dispatch_runner.agents.coder.models import Finding, NodeType

NODE_CLASS = re.compile(r"Node[A-Z][A-Za-z0-9]+(?:Effect|Compute|Reducer|Orchestrator)")
PREFIXES = {
    "BaseModel": "Model",
    "StrEnum": "Enum",
    "Enum": "Enum",
    "IntEnum": "Enum",
    "Protocol": "Protocol",
    "TypedDict": "TypedDict",
}


@dataclass(frozen=True, slots=True)
class Structure:
    """The parts of a module that the gates and the output need."""

    node_classes: tuple[str, ...]
    models: tuple[str, ...]
    naming: tuple[Finding, ...]
    any_types: tuple[Finding, ...]


def read_structure(tree: ast.Module, node_type: NodeType) -> Structure:
    """Reads a parsed module; `node_type` is the kind of node that it should hold."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    nodes = [c for c in classes if NODE_CLASS.fullmatch(c.name)]
    models = _descendants(classes, "BaseModel")
    return Structure(
        tuple(c.name for c in nodes if c.name.endswith(node_type)),
        tuple(c.name for c in classes if c.name in models),
        tuple(_naming(classes, nodes, node_type)),
        tuple(_any_types(tree)),
    )


def _base_names(node: ast.ClassDef) -> list[str]:
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return [
        base.attr
        if isinstance(base, ast.Attribute)
        else base.id
        if isinstance(base, ast.Name)
        else ""
        for base in bases
    ]


def _descendants(classes: list[ast.ClassDef], root: str) -> set[str]:
    """Names of the classes below a base class, through other classes of the module."""
    found = {root}
    for node in classes:
        if found & set(_base_names(node)):
            found.add(node.name)
    return found - {root}


def _naming(
    classes: list[ast.ClassDef], nodes: list[ast.ClassDef], node_type: NodeType
) -> Iterator[Finding]:
    fitting = [node for node in nodes if node.name.endswith(node_type)]
    if len(fitting) != 1:
        names = ", ".join(repr(node.name) for node in nodes) or "none"
        yield Finding(
            message=f"exactly one class has to be named Node<Name>{node_type}; found: {names}"
        )
    for root, prefix in PREFIXES.items():
        for name in sorted(_descendants(classes, root)):
            line = next(node.lineno for node in classes if node.name == name)
            if not name.lstrip("_").startswith(prefix):
                yield Finding(
                    message=f"class {name!r} derives from {root}: its name starts with {prefix!r}",
                    line=line,
                )


def _any_types(tree: ast.Module) -> Iterator[Finding]:
    """Each use of `Any`: names that a type checker accepts and that check nothing."""
    for node in ast.walk(tree):
        named = isinstance(node, ast.Name) and node.id == "Any"
        of_typing = isinstance(node, ast.Attribute) and node.attr == "Any"
        if (named or of_typing) and isinstance(node, ast.expr):
            yield Finding(
                message="type 'Any' checks nothing: spell the type", code="any", line=node.lineno
            )
