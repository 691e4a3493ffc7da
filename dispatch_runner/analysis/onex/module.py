"""What a module defines, in the terms of ONEX: nodes, models, enumerations, protocols."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from dispatch_runner.analysis.pycode import PyCode, dotted_name

NodeType = Literal["Effect", "Compute", "Reducer", "Orchestrator"]
NODE_TYPES: tuple[NodeType, ...] = ("Effect", "Compute", "Reducer", "Orchestrator")
NODE_NAME = re.compile(r"Node[A-Z][a-zA-Z0-9]+(Effect|Compute|Reducer|Orchestrator)")
MOST_ANCESTORS = 20
BASES = {
    "Model": frozenset({"BaseModel", "RootModel", "BaseSettings"}),
    "Enum": frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "IntFlag"}),
    "Protocol": frozenset({"Protocol"}),
    "TypedDict": frozenset({"TypedDict"}),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A class that is a node, by its name or by its base class."""

    name: str
    tree: ast.ClassDef
    type: NodeType


@dataclass(frozen=True)
class Module:
    """A parsed text and where it is said to come from."""

    code: PyCode
    path: str
    """Empty when nobody said."""

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        return {name.rpartition(".")[2]: tree for name, tree in self.code.classes}

    @cached_property
    def nodes(self) -> list[Node]:
        found = []
        for name, tree in self.classes.items():
            kind = _node_type(name, _base_names(tree))
            if kind is not None:
                found.append(Node(name, tree, kind))
        return found

    @cached_property
    def origins(self) -> dict[str, str]:
        """What imported names stand for: `np` is `numpy`, `now` is `datetime.datetime.now`."""
        found: dict[str, str] = {}
        for node in self.code.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    found[name] = alias.name if alias.asname else name
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{node.module or '.'}.{alias.name}"
        return found

    def kinds(self, kind: str) -> Iterator[tuple[str, ast.ClassDef]]:
        """The classes of a kind of `BASES`, also by way of a class of this module."""
        for name, tree in self.classes.items():
            if not BASES[kind].isdisjoint(self.ancestors(name)):
                yield name, tree

    def ancestors(self, name: str) -> set[str]:
        """The names of the bases of a class that this module knows of, some twenty at most."""
        found: set[str] = set()
        waiting = [name]
        while waiting and len(found) < MOST_ANCESTORS:
            tree = self.classes.get(waiting.pop())
            new = set(_base_names(tree)) - found if tree is not None else set()
            found |= new
            waiting += new
        return found

    def full_name(self, node: ast.expr) -> str:
        """A dotted name with what its first part was imported as: `np.array` is `numpy.array`."""
        first, dot, rest = dotted_name(node).partition(".")
        return self.origins.get(first, first) + dot + rest


def _node_type(name: str, bases: Sequence[str]) -> NodeType | None:
    for known in (name, *bases):
        for kind in NODE_TYPES:
            if known.startswith("Node") and known.endswith(kind):
                return kind
    return None


def _base_names(tree: ast.ClassDef) -> list[str]:
    return [name.rpartition(".")[2] for name in map(dotted_name, tree.bases) if name]
