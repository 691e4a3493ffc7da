"""The rules: each finds the places that break it, or says that it has nothing to judge."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from dispatch_runner.analysis.metrics import typing_coverage
from dispatch_runner.analysis.onex.module import NODE_NAME, Module, Node, NodeType
from dispatch_runner.analysis.onex.purity import Place, changing_calls, outside_calls
from dispatch_runner.analysis.pycode import Definition, dotted_name

Severity = Literal["critical", "major", "minor"]
Check = Callable[[Module], "Iterable[Place] | None"]

_ANY = frozenset({"typing.Any", "typing_extensions.Any", "Any"})
_SNAKE = re.compile(r"_*[a-z0-9]+(_+[a-z0-9]+)*_*")
_WORK_METHOD = re.compile(r"(execute|process)(_\w+)?|handle(_\w+)?")


class Rule(NamedTuple):
    """A rule of the architecture."""

    name: str
    severity: Severity
    demand: str
    """What it asks for; the hint of a violation."""
    check: Check
    """The places that break it; null when there is nothing that it could judge."""


def node_names(module: Module) -> Iterator[Place] | None:
    if not module.nodes:
        return None
    return (
        (node.tree.lineno, f"node class '{node.name}' is not named Node<Name><Type>")
        for node in module.nodes
        if not NODE_NAME.fullmatch(node.name)
    )


def type_names(module: Module) -> Iterator[Place] | None:
    found = [
        (tree.lineno, name, kind)
        for kind in ("Model", "Enum", "Protocol", "TypedDict")
        for name, tree in module.kinds(kind)
        if not name.startswith("_")
    ]
    if not found:
        return None
    return (
        (line, f"'{name}' is a {kind} and is not named {kind}<Name>")
        for line, name, kind in found
        if not re.match(rf"{kind}[A-Z0-9]", name)
    )


def file_name(module: Module) -> Iterator[Place] | None:
    """In the one-file form of a node; `node.py` is the name in its folder form."""
    actual = module.path.replace("\\", "/").rpartition("/")[2]
    if not actual or len(module.nodes) != 1 or actual == "node.py":
        return None
    node = module.nodes[0]
    if not NODE_NAME.fullmatch(node.name):
        return None
    wanted = snake(node.name) + ".py"
    message = f"the file '{actual}' of '{node.name}' is not named '{wanted}'"
    return iter([] if actual == wanted else [(1, message)])


def snake(name: str) -> str:
    """`NodeHTTPFetchEffect` as `node_http_fetch_effect`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def any_types(module: Module) -> Iterator[Place]:
    for node in module.code.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and module.full_name(node) in _ANY:
            yield node.lineno, "`Any` says nothing about a value"


def wildcard_imports(module: Module) -> Iterator[Place]:
    for node in module.code.nodes:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            yield node.lineno, f"everything is imported from '{node.module or '.'}'"


def untyped(module: Module) -> Iterator[Place] | None:
    """`Any` has its own rule."""
    if not module.code.functions:
        return None
    coverage = typing_coverage(module.code, any_counts=True)
    return ((line, f"{name} has no annotation") for line, name in coverage.missing)


def unchained_errors(module: Module) -> Iterator[Place] | None:
    handlers = [node for node in module.code.nodes if isinstance(node, ast.ExceptHandler)]
    if not handlers:
        return None
    return (
        (node.lineno, "an error is raised while another is handled, without `from`")
        for handler in handlers
        for node in _own_statements(handler)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.cause is None
    )


def _own_statements(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes inside, but nothing in functions, classes and handlers inside, which are judged alone."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Definition | ast.ClassDef | ast.Lambda | ast.ExceptHandler):
            waiting.extend(ast.iter_child_nodes(node))


def vague_errors(module: Module) -> Iterator[Place]:
    for node in module.code.nodes:
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if dotted_name(raised) in {"Exception", "BaseException"}:
                yield node.lineno, f"it raises `{dotted_name(raised)}`, which has no code"
        elif isinstance(node, ast.ExceptHandler):
            if node.type is None:
                yield node.lineno, "a bare `except` catches also what ends the program"
            elif all(isinstance(each, ast.Pass) for each in node.body):
                yield node.lineno, f"`{dotted_name(node.type) or 'an error'}` is dropped in silence"


def impure_reducer(module: Module) -> Iterator[Place] | None:
    return _impure(module, "Reducer", lambda scope: outside_calls(module, scope))


def impure_compute(module: Module) -> Iterator[Place] | None:
    def places(scope: ast.AST) -> Iterator[Place]:
        yield from outside_calls(module, scope)
        yield from changing_calls(module, scope)

    return _impure(module, "Compute", places)


def _impure(
    module: Module, kind: NodeType, places: Callable[[ast.AST], Iterator[Place]]
) -> Iterator[Place] | None:
    """In the nodes of a type; in the whole module when it has no other node."""
    nodes = [node for node in module.nodes if node.type == kind]
    if not nodes:
        return None
    alone = len(nodes) == len(module.nodes)
    scopes: list[ast.AST] = [module.code.tree] if alone else [node.tree for node in nodes]
    return (place for scope in scopes for place in places(scope))


def work_method(module: Module) -> Iterator[Place] | None:
    """A class with a base may be a thin shell around what it inherits."""
    nodes = [node for node in module.nodes if not node.tree.bases]
    if not nodes:
        return None
    return (
        (node.tree.lineno, f"'{node.name}' has no asynchronous work method")
        for node in nodes
        if not any(
            isinstance(each, ast.AsyncFunctionDef) and _WORK_METHOD.fullmatch(each.name)
            for each in node.tree.body
        )
    )


def constructor(module: Module) -> Iterator[Place] | None:
    """Of a node with a base class."""
    found = [
        (node, each)
        for node in module.nodes
        for each in node.tree.body
        if node.tree.bases and isinstance(each, Definition) and each.name == "__init__"
    ]
    return _constructors(found) if found else None


def _constructors(found: list[tuple[Node, Definition]]) -> Iterator[Place]:
    for node, each in found:
        names = [argument.arg for argument in (*each.args.args, *each.args.kwonlyargs)]
        if not any("container" in name for name in names):
            yield each.lineno, f"the constructor of '{node.name}' takes no container"
        if not any(_is_super_init(call) for call in ast.walk(each)):
            yield each.lineno, f"the constructor of '{node.name}' does not call super().__init__"


def _is_super_init(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__"):
            return True
        case _:
            return False


def seen_name(part: str, kind: NodeType) -> Check:
    """A rule that a module with nodes of a type has a name with this part in it."""

    def check(module: Module) -> Iterator[Place] | None:
        nodes = [node for node in module.nodes if node.type == kind]
        if not nodes:
            return None
        if re.search(part, module.code.text, re.IGNORECASE):
            return iter(())
        return iter([(nodes[0].tree.lineno, f"'{nodes[0].name}' shows none of it")])

    return check


def function_names(module: Module) -> Iterator[Place] | None:
    if not module.code.functions:
        return None
    return (
        (each.node.lineno, f"function '{each.name}' is not in snake case")
        for each in module.code.functions
        if not _SNAKE.fullmatch(each.node.name) and not each.node.name.startswith("visit_")
    )


def global_names(module: Module) -> Iterator[Place]:
    for node in module.code.nodes:
        if isinstance(node, ast.Global):
            yield node.lineno, f"`global {', '.join(node.names)}` is state of the whole process"
