"""Rules about the pydantic models of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from dispatch_runner.analysis.onex.module import Module
from dispatch_runner.analysis.onex.purity import Place
from dispatch_runner.analysis.pycode import dotted_name


def lax_models(module: Module) -> Iterator[Place] | None:
    models = [each for each in module.kinds("Model") if not _is_root(each[1])]
    if not models:
        return None
    return (
        (tree.lineno, f"model '{name}' does not forbid extra fields")
        for name, tree in models
        if not any(_forbids(each) for each in (tree, *_bases(module, name)))
        and not _inherits_unseen(module, name)
    )


def undescribed_fields(module: Module) -> Iterator[Place] | None:
    models = list(module.kinds("Model"))
    if not models:
        return None
    return (
        (field.lineno, f"field '{name}.{target}' has no description")
        for name, tree in models
        for field, target in _undescribed(tree)
    )


def missing_correlation(module: Module) -> Iterator[Place] | None:
    """Of models whose name ends with Input or Output."""
    models = [
        (name, tree)
        for name, tree in module.kinds("Model")
        if name.endswith(("Input", "Output")) and not _inherits_unseen(module, name)
    ]
    if not models:
        return None
    return (
        (tree.lineno, f"model '{name}' has no field `correlation_id: UUID`")
        for name, tree in models
        if not any(_has_correlation(each) for each in (tree, *_bases(module, name)))
    )


def _bases(module: Module, name: str) -> list[ast.ClassDef]:
    return [module.classes[each] for each in module.ancestors(name) if each in module.classes]


def _inherits_unseen(module: Module, name: str) -> bool:
    """Whether a base is defined elsewhere, so that not all of the model is seen."""
    unseen = module.ancestors(name) - module.classes.keys()
    return not unseen <= {"BaseModel", "RootModel", "BaseSettings", "Generic"}


def _is_root(tree: ast.ClassDef) -> bool:
    """Whether it is a model of one value, which has no fields to forbid."""
    return any(dotted_name(each).rpartition(".")[2] == "RootModel" for each in tree.bases)


def _config(tree: ast.ClassDef) -> ast.expr | None:
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets: list[ast.expr] = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        if any(isinstance(each, ast.Name) and each.id == "model_config" for each in targets):
            return statement.value
    return None


def _setting(tree: ast.ClassDef, name: str) -> object:
    """The constant that `model_config` gives to a setting, or null."""
    match _config(tree):
        case ast.Call(keywords=keywords):
            pairs = [(each.arg, each.value) for each in keywords]
        case ast.Dict(keys=keys, values=values):
            names = [each.value if isinstance(each, ast.Constant) else None for each in keys]
            pairs = [(str(key), value) for key, value in zip(names, values, strict=True)]
        case _:
            pairs = []
    for key, value in (*pairs, *((each.arg, each.value) for each in tree.keywords)):
        if key == name and isinstance(value, ast.Constant):
            return value.value
    return None


def _forbids(tree: ast.ClassDef) -> bool:
    return _setting(tree, "extra") == "forbid"


def _fields(tree: ast.ClassDef) -> Iterator[tuple[ast.AnnAssign, str]]:
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            annotation = dotted_name(statement.annotation).rpartition(".")[2]
            if not name.startswith("_") and name != "model_config" and annotation != "ClassVar":
                yield statement, name


def _undescribed(tree: ast.ClassDef) -> Iterator[tuple[ast.AnnAssign, str]]:
    documented: set[ast.stmt] = set()
    if _setting(tree, "use_attribute_docstrings") is True:
        documented = {field for field, text in pairwise(tree.body) if _is_text(text)}
    for field, name in _fields(tree):
        if field not in documented and not _has_description(field):
            yield field, name


def _has_description(field: ast.AnnAssign) -> bool:
    parts = [part for part in (field.annotation, field.value) if part is not None]
    return any(
        isinstance(node, ast.keyword) and node.arg == "description"
        for part in parts
        for node in ast.walk(part)
    )


def _is_text(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _has_correlation(tree: ast.ClassDef) -> bool:
    return any(
        name == "correlation_id"
        and any(
            getattr(node, "id", getattr(node, "attr", "")) == "UUID"
            for node in ast.walk(field.annotation)
        )
        for field, name in _fields(tree)
    )
