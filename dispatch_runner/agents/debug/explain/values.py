"""Errors about a value: None, a missing key, an index, a divisor, a shape, an operand."""

from __future__ import annotations

import ast
import difflib
import re

from dispatch_runner.agents.debug.explain.origin import trace_value
from dispatch_runner.agents.debug.explain.site import Explanation, Origin, Site

Match = re.Match[str]


def none_attribute(site: Site, match: Match) -> Explanation | None:
    """`'NoneType' object has no attribute 'x'`: what stands before `.x` is None."""
    wanted = match["attribute"]
    values = [node.value for node in site.nodes(ast.Attribute) if node.attr == wanted]
    return _none(site, values, f"`.{wanted}` is read")


def none_subscript(site: Site, match: Match) -> Explanation | None:
    values = [node.value for node in site.nodes(ast.Subscript)]
    return _none(site, values, "it is indexed")


def none_call(site: Site, match: Match) -> Explanation | None:
    values = [node.func for node in site.nodes(ast.Call)]
    return _none(site, values, "it is called")


def none_iteration(site: Site, match: Match) -> Explanation | None:
    values = [node.iter for node in site.nodes(ast.For)]
    values += [
        node.value for node in site.nodes(ast.Assign) if isinstance(node.targets[0], ast.Tuple)
    ]
    values += [node.iter for node in site.nodes(ast.comprehension)]
    values += [node.value for node in site.nodes(ast.Starred)]
    if not values:
        values = [item for node in site.nodes(ast.Call) for item in node.args]
    return _none(site, values, "it is iterated over")


def _none(site: Site, values: list[ast.expr], use: str) -> Explanation | None:
    values = _distinct(site, values)
    if not values:
        return None
    names = " or ".join(f"`{site.text(value)}`" for value in values)
    first = site.text(values[0])
    explanation = Explanation(
        "none_dereference",
        f"{names} is None where {use} ({site.where})",
        f"print `{first}` before line {site.line}: None confirms it",
        certain=len(values) == 1,
    )
    for value in values:
        trace_value(site, value, explanation, none=True)
    if explanation.certain:
        explanation.fix = f"handle `{first}` being None before line {site.line}"
        explanation.steps = [
            f"decide what None means for `{first}`: an error of the caller, or a case of its own",
            f"check `if {first} is None` before line {site.line}, or make its origin never give None",
        ]
    return explanation


def _distinct(site: Site, values: list[ast.expr]) -> list[ast.expr]:
    return list({site.text(value): value for value in values}.values())


def missing_key(site: Site, match: Match) -> Explanation | None:
    """`KeyError: 'k'`: the subscript (or `pop`) whose key is, or may be, that key."""
    key = site.message
    reads = [(node.value, node.slice) for node in site.nodes(ast.Subscript)]
    reads += [
        (node.func.value, node.args[0])
        for node in site.nodes(ast.Call)
        if isinstance(node.func, ast.Attribute)
        and node.func.attr in ("pop", "remove", "popitem")
        and node.args
    ]
    exact = [read for read in reads if _is_constant(read[1], key)]
    chosen = exact or [read for read in reads if not isinstance(read[1], ast.Constant)]
    if not chosen:
        return None
    container, index = chosen[0]
    name, used = site.text(container), site.text(index)
    said = "" if exact else f" (`{used}` was {key})"
    explanation = Explanation(
        "missing_key",
        f"`{name}` has no key {key}{said} where it is read ({site.where})",
        f"print `list({name})` before line {site.line}: a list without {key} confirms it",
        fix=f"make sure that `{name}` has the key {key}, or read it with a default",
        steps=[
            f"decide whether {key} must be there: then the code that fills `{name}` is to be mended",
            f"where it may be absent: `{name}.get({used})` with a default, or `if {used} in {name}`",
        ],
        certain=len(chosen) == 1,
    )
    _known_keys(site, container, key, explanation)
    trace_value(site, container, explanation)
    if not exact:
        trace_value(site, index, explanation)
    return explanation


def _is_constant(node: ast.expr, shown: str) -> bool:
    return isinstance(node, ast.Constant) and repr(node.value) == shown


def _known_keys(site: Site, container: ast.expr, key: str, into: Explanation) -> None:
    """The keys that the file itself puts into the container, and one that looks alike."""
    if not isinstance(container, ast.Name):
        return
    keys = [
        item.value
        for assigned in site.assignments(container.id)
        if isinstance(assigned.value, ast.Dict)
        for item in assigned.value.keys
        if isinstance(item, ast.Constant)
    ]
    if not keys:
        return
    shown = ", ".join(map(repr, keys[:20]))
    into.factors.append(f"`{container.id}` is built with the keys {shown}")
    alike = difflib.get_close_matches(key.strip("'\""), [str(item) for item in keys], n=1)
    if alike:
        into.factors.append(f"{key} looks like the key {alike[0]!r}")


def index_range(site: Site, match: Match) -> Explanation | None:
    reads = [node for node in site.nodes(ast.Subscript) if not isinstance(node.slice, ast.Slice)]
    reads = [
        node
        for node in reads
        if not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str))
    ]
    pops = [
        node
        for node in site.nodes(ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "pop"
    ]
    if not reads and pops and isinstance(pops[0].func, ast.Attribute):
        return _empty_pop(site, pops[0].func.value)
    if not reads:
        return None
    container, index = site.text(reads[0].value), site.text(reads[0].slice)
    explanation = Explanation(
        "index_out_of_range",
        f"the index `{index}` is outside `{container}` ({site.where})",
        f"print `len({container})` and `{index}` before line {site.line}",
        fix=f"keep `{index}` within `{container}`, or handle `{container}` being too short",
        steps=[
            f"find how `{index}` can reach the length of `{container}`, or `{container}` be short",
            f"bound `{index}`, or check `len({container})` before line {site.line}",
        ],
        certain=len(reads) == 1,
    )
    _off_by_one(site, reads[0], explanation)
    trace_value(site, reads[0].value, explanation)
    trace_value(site, reads[0].slice, explanation)
    return explanation


def _empty_pop(site: Site, container: ast.expr) -> Explanation:
    name = site.text(container)
    explanation = Explanation(
        "index_out_of_range",
        f"`pop` is called on `{name}`, which is empty or too short ({site.where})",
        f"print `len({name})` before line {site.line}",
        fix=f"check that `{name}` is not empty before line {site.line}",
    )
    trace_value(site, container, explanation)
    return explanation


def _off_by_one(site: Site, read: ast.Subscript, into: Explanation) -> None:
    if isinstance(read.slice, ast.BinOp) and isinstance(read.slice.op, ast.Add):
        into.factors.append(
            f"`{site.text(read.slice)}` goes beyond the last index when its base is the last one"
        )
    if not isinstance(read.slice, ast.Name):
        return
    for item in site.assignments(read.slice.id):
        text = site.text(item.value) if item.value is not None else ""
        if re.search(r"range\(.*len\(.*\) ?\+ ?\d", text):
            into.factors.append(f"`{text}` (line {item.line}) goes beyond the last index")


def zero_division(site: Site, match: Match) -> Explanation | None:
    kinds = (ast.Div, ast.FloorDiv, ast.Mod)
    divisors = [node.right for node in site.nodes(ast.BinOp) if isinstance(node.op, kinds)]
    divisors += [node.value for node in site.nodes(ast.AugAssign) if isinstance(node.op, kinds)]
    divisors += [
        node.args[1]
        for node in site.nodes(ast.Call)
        if site.text(node.func) == "divmod" and len(node.args) > 1
    ]
    divisors = _distinct(site, [item for item in divisors if not _nonzero(item)])
    if not divisors:
        return None
    names = " or ".join(f"`{site.text(item)}`" for item in divisors)
    first = site.text(divisors[0])
    explanation = Explanation(
        "division_by_zero",
        f"{names} is zero where it divides ({site.where})",
        f"print `{first}` before line {site.line}: 0 confirms it",
        fix=f"handle {names} being zero before line {site.line}",
        steps=[
            f"decide what the result is when {names} is zero",
            f"check it before line {site.line}, or make its origin never give zero",
        ],
        certain=len(divisors) == 1,
    )
    for item in divisors:
        _empty_length(site, item, explanation)
        trace_value(site, item, explanation)
    return explanation


def _nonzero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(node.value)


def _empty_length(site: Site, divisor: ast.expr, into: Explanation) -> None:
    if (
        isinstance(divisor, ast.Call)
        and isinstance(divisor.func, ast.Name)
        and divisor.func.id == "len"
        and divisor.args
    ):
        into.factors.append(
            f"`{site.text(divisor)}` is zero when `{site.text(divisor.args[0])}` is empty"
        )
        trace_value(site, divisor.args[0], into)


def unpacking(site: Site, match: Match) -> Explanation | None:
    values = [
        node.value for node in site.nodes(ast.Assign) if isinstance(node.targets[0], ast.Tuple)
    ]
    values += [node.iter for node in site.nodes(ast.For)]
    if not values:
        return None
    value, said = values[0], site.text(values[0])
    explanation = Explanation(
        "wrong_length",
        f"what `{said}` gives has another number of items than is unpacked: {site.message} ({site.where})",
        f"print `{said}` before line {site.line}",
        fix=f"unpack as many items as `{said}` gives, or check its length first",
    )
    trace_value(site, value, explanation)
    return explanation


def bad_literal(site: Site, match: Match) -> Explanation | None:
    """`invalid literal for int() ...: 'x'`: the text that is not a number."""
    calls = [node for node in site.nodes(ast.Call) if site.text(node.func) == match["function"]]
    if not calls or not calls[0].args:
        return None
    argument, shown = site.text(calls[0].args[0]), match["value"]
    explanation = Explanation(
        "bad_literal",
        f"`{argument}` is {shown}, which `{match['function']}` does not accept ({site.where})",
        f"print `{argument}` before line {site.line}: {shown} confirms it",
        fix=f"check or clean `{argument}` before line {site.line}, and say what a bad value means",
        certain=len(calls) == 1,
    )
    trace_value(site, calls[0].args[0], explanation)
    return explanation


def operands(site: Site, match: Match) -> Explanation | None:
    """`unsupported operand type(s) for +: 'int' and 'str'` and its relatives."""
    binary: list[tuple[ast.expr, ast.expr]] = []
    binary += [(node.target, node.value) for node in site.nodes(ast.AugAssign)]
    binary += [(node.left, node.right) for node in site.nodes(ast.BinOp)]
    binary += [(node.left, node.comparators[0]) for node in site.nodes(ast.Compare)]
    if not binary:
        return None
    left, right = binary[0]
    types = [item for item in match.groupdict().values() if item]
    kinds = f" ({' and '.join(types)})" if types else ""
    explanation = Explanation(
        "none_dereference" if "NoneType" in types else "wrong_type",
        f"`{site.text(left)}` and `{site.text(right)}` have types{kinds} that do not go together "
        f"({site.where})",
        f"print `type({site.text(left)})` and `type({site.text(right)})` before line {site.line}",
        fix=f"convert one of `{site.text(left)}` and `{site.text(right)}` where it is made",
        certain=len(binary) == 1,
    )
    for value in (left, right):
        trace_value(site, value, explanation, none="NoneType" in types)
    return explanation


def assertion(site: Site, match: Match) -> Explanation | None:
    statement = site.statement(ast.Assert)
    if statement is None:
        return None
    test = site.text(statement.test)
    explanation = Explanation(
        "failed_assertion",
        f"`{test}` does not hold ({site.where})" + (f": {site.message}" if site.message else ""),
        f"print both sides of `{test}` before line {site.line}",
        certain=False,
    )
    for node in ast.walk(statement.test):
        if isinstance(node, ast.Call):
            _called(site, node, explanation)
        elif isinstance(node, ast.Name):
            trace_value(site, node, explanation)
    return explanation


def _called(site: Site, call: ast.Call, into: Explanation) -> None:
    """A function of the affected files that a failed assertion called is where to look next."""
    known = site.definitions(site.text(call.func))
    if len(known) == 1:
        code, function = known[0]
        reason = f"`{function.name}` gives a value that the failed assertion checks"
        into.factors.append(reason)
        into.origins.append(Origin(code, function.line_start, function.line_end, reason, 0.4))
