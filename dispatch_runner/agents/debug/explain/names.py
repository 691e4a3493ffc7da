"""Errors about names: undefined, unbound, missing attributes, imports, wrong calls."""

from __future__ import annotations

import ast
import difflib
import re

from dispatch_runner.agents.debug.explain.origin import trace_value
from dispatch_runner.agents.debug.explain.site import Explanation, Origin, Site, names_in
from dispatch_runner.agents.debug.pycode import Function, PyCode, own_nodes, source_text

Match = re.Match[str]


def undefined_name(site: Site, match: Match) -> Explanation | None:
    name = match["name"]
    alike = difflib.get_close_matches(name, sorted(_bound(site) - {name}), n=1, cutoff=0.7)
    return Explanation(
        "undefined_name",
        f"the name `{name}` is used but nothing defines it there ({site.where})",
        f"search the module for an assignment or import of `{name}`",
        fix=f"use `{alike[0]}`" if alike else f"define or import `{name}` before line {site.line}",
        factors=[f"`{name}` looks like `{alike[0]}`, which is defined"] if alike else [],
    )


def _bound(site: Site) -> set[str]:
    names = set(site.parameters())
    scopes: list[ast.AST] = [site.code.tree]
    if site.function is not None:
        scopes.append(site.function.node)
    for scope in scopes:
        for node in own_nodes(scope):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.alias):
                names.add((node.asname or node.name).partition(".")[0])
    return names


def unbound_local(site: Site, match: Match) -> Explanation | None:
    name = match["name"]
    lines = [item.line for item in site.assignments(name)]
    where = ", ".join(map(str, lines)) or "none"
    factors = [f"`{name}` is assigned in this function in line {where}"] if lines else []
    if lines and min(lines) >= site.line:
        factors.append("every assignment comes after the line that reads it")
    elif lines:
        factors.append("the assignment before it is not reached on every path")
    return Explanation(
        "unbound_local",
        f"`{name}` is read before it has a value ({site.where})",
        f"follow the paths to line {site.line} that pass no assignment of `{name}`",
        fix=f"give `{name}` a value on every path before line {site.line}, or declare it "
        "`global`/`nonlocal` when the outer one is meant",
        factors=factors,
        origins=[
            Origin(site.code, line, line, f"line {line} assigns `{name}`", 0.2)
            for line in lines[:5]
        ],
    )


def missing_attribute(site: Site, match: Match) -> Explanation | None:
    """`'Cls' object has no attribute 'x'`, `module 'm' has no attribute 'x'`."""
    owner, wanted = match["owner"], match["attribute"]
    values = [node.value for node in site.nodes(ast.Attribute) if node.attr == wanted]
    if not values:
        return None
    said = site.text(values[0])
    explanation = Explanation(
        "missing_attribute",
        f"`{said}` is a {owner} and has no attribute `{wanted}` ({site.where})",
        f"print `type({said})` and `dir({said})` before line {site.line}",
        fix=f"read an attribute that {owner} has, or pass another kind of object as `{said}`",
        certain=len({site.text(value) for value in values}) == 1,
    )
    _known_attributes(site, owner, wanted, explanation)
    trace_value(site, values[0], explanation)
    return explanation


def _known_attributes(site: Site, owner: str, wanted: str, into: Explanation) -> None:
    for code in site.others:
        for name, node in code.classes:
            if node.name == owner:
                known = _attributes(node)
                alike = difflib.get_close_matches(wanted, sorted(known), n=1, cutoff=0.6)
                into.factors.append(
                    f"class `{name}` is defined in {code.source.path}:{node.lineno}"
                )
                if alike:
                    into.factors.append(f"`{wanted}` looks like its attribute `{alike[0]}`")
                    into.fix = f"use `{alike[0]}` instead of `{wanted}`"
                into.origins.append(
                    Origin(code, node.lineno, node.lineno, f"class `{name}` lacks `{wanted}`", 0.25)
                )


def _attributes(node: ast.ClassDef) -> set[str]:
    names = {
        item.attr
        for item in ast.walk(node)
        if isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store)
    }
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names.update(name for target in statement.targets for name in names_in(target))
        elif isinstance(statement, ast.AnnAssign):
            names.update(names_in(statement.target))
    return names


def missing_module(site: Site, match: Match) -> Explanation | None:
    name = match["module"]
    return Explanation(
        "missing_module",
        f"the module `{name}` cannot be found by the interpreter that ran it ({site.where})",
        f"run `python -c 'import {name}'` with that interpreter",
        fix=f"install what provides `{name}` for that interpreter, or correct the import in line {site.line}",
    )


def cannot_import(site: Site, match: Match) -> Explanation | None:
    name, module = match["name"], match["module"]
    explanation = Explanation(
        "missing_import",
        f"`{module}` does not define `{name}` when it is imported ({site.where})",
        f"run `python -c 'import {module}; print(dir({module}))'`",
        fix=f"import a name that `{module}` defines",
    )
    if "circular import" in site.message:
        explanation.kind = "circular_import"
        explanation.statement = (
            f"`{module}` is still being imported when `{name}` is taken from it ({site.where})"
        )
        explanation.fix = (
            f"break the circle: move what both need, or import `{name}` where it is used"
        )
        return explanation
    for code in site.others:
        if code.source.path.endswith("/" + module.replace(".", "/") + ".py"):
            known = {node.name for node in code.tree.body if hasattr(node, "name")}
            alike = difflib.get_close_matches(name, sorted(map(str, known)), n=1, cutoff=0.6)
            if alike:
                explanation.factors.append(f"`{module}` defines `{alike[0]}`")
                explanation.fix = f"import `{alike[0]}` instead of `{name}`"
            explanation.origins.append(
                Origin(code, 1, 1, f"`{module}` does not define `{name}`", 0.3)
            )
    return explanation


def wrong_call(site: Site, match: Match) -> Explanation | None:
    """`f() missing 1 required positional argument: 'x'` and its relatives."""
    name = match["function"]
    last = name.rpartition(".")[2]
    known = site.definitions(last)
    if last == "__init__":
        owner = name.split(".")[-2] if "." in name else ""
        known = [item for item in known if item[1].name.endswith(f"{owner}.__init__")]
        last = owner or last
    calls = [
        node for node in site.nodes(ast.Call) if site.text(node.func).rpartition(".")[2] == last
    ]
    shown = f"`{site.text(calls[0])}`" if calls else f"the call of `{name}`"
    explanation = Explanation(
        "wrong_call",
        f"{shown} does not fit its signature: {site.message} ({site.where})",
        f"compare line {site.line} with the definition of `{name}`",
        fix=f"pass what `{name}` takes in line {site.line}, or change its signature",
        certain=bool(calls) or bool(known),
    )
    for code, function in known[:3]:
        _signature(code, function, explanation)
    return explanation


def _signature(code: PyCode, function: Function, into: Explanation) -> None:
    arguments = source_text(function.node.args, 200)
    place = f"{code.source.path}:{function.node.lineno}"
    into.factors.append(f"`{function.name}({arguments})` is defined in {place}")
    reason = f"`{function.name}` is called with arguments that it does not take"
    into.origins.append(Origin(code, function.node.lineno, function.node.lineno, reason, 0.35))


def not_callable(site: Site, match: Match) -> Explanation | None:
    calls = [node for node in site.nodes(ast.Call) if not isinstance(node.func, ast.Attribute)]
    calls = calls or site.nodes(ast.Call)
    if not calls:
        return None
    said = site.text(calls[0].func)
    explanation = Explanation(
        "not_callable",
        f"`{said}` is a {match['owner']} and is called like a function ({site.where})",
        f"print `type({said})` before line {site.line}",
        fix=f"do not call `{said}`, or do not give its name to a {match['owner']}",
        certain=len(calls) == 1,
    )
    trace_value(site, calls[0].func, explanation)
    return explanation


def missing_file(site: Site, match: Match) -> Explanation | None:
    path = match["path"]
    calls = site.nodes(ast.Call)
    where = f"`{site.text(calls[0])}`" if calls else site.where
    explanation = Explanation(
        "missing_file",
        f"{where} needs the file {path}, which did not exist ({site.where})",
        f"look whether {path} exists, from the working directory of the run",
        fix=f"create {path} before line {site.line} runs, correct the path, or handle its absence",
    )
    if not path.strip("'\"").startswith("/"):
        explanation.factors.append(f"{path} is relative: it depends on the working directory")
    for call in calls[:1]:
        for argument in call.args[:1]:
            trace_value(site, argument, explanation)
    return explanation


def recursion(site: Site, match: Match) -> Explanation | None:
    function = site.function
    if function is None:
        return None
    calls = [
        node
        for node in own_nodes(function.node)
        if isinstance(node, ast.Call)
        and site.text(node.func).rpartition(".")[2] == function.node.name
    ]
    lines = sorted({node.lineno for node in calls})
    where = ", ".join(map(str, lines)) or "another function that it calls"
    return Explanation(
        "endless_recursion",
        f"`{function.name}` calls itself (line {where}) without reaching an end ({site.where})",
        f"print the arguments of `{function.name}` at its start: they must come nearer to a base case",
        fix=f"give `{function.name}` a base case that its arguments reach, or use a loop",
        certain=bool(calls),
    )


def raised_on_purpose(site: Site) -> Explanation | None:
    """A `raise` statement: the condition that guards it held."""
    statement = site.statement(ast.Raise)
    if statement is None:
        return None
    guard, negated = _guard(site.code, statement)
    test = site.text(guard) if guard is not None else ""
    held = f" because `{test}` was {'false' if negated else 'true'}" if test else ""
    explanation = Explanation(
        "raised_on_purpose",
        f"{site.where} raises it on purpose{held}",
        f"print the values in `{test}` before line {site.line}"
        if test
        else f"print the arguments of the function at line {site.line}",
        fix="",
        certain=False,
    )
    for node in ast.walk(guard) if guard is not None else ():
        if isinstance(node, ast.Name):
            trace_value(site, node, explanation)
    return explanation


def _guard(code: PyCode, statement: ast.stmt) -> tuple[ast.expr | None, bool]:
    """The innermost `if` or `while` whose body, or else branch, holds the statement."""
    best: tuple[ast.expr | None, bool] = (None, False)
    height = 1 << 30
    for node in code.statements:
        if not isinstance(node, ast.If) or node.lineno > statement.lineno:
            continue
        size = (node.end_lineno or node.lineno) - node.lineno
        inside = _holds(node.body, statement)
        if size < height and (inside or _holds(node.orelse, statement)):
            best, height = (node.test, not inside), size
    return best


def _holds(body: list[ast.stmt], statement: ast.stmt) -> bool:
    return bool(body) and body[0].lineno <= statement.lineno <= (body[-1].end_lineno or 0)
