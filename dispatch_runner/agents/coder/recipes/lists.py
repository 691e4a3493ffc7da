"""Recipes for lists and objects: order, duplicates, filters, unions, differences."""

import re

from dispatch_runner.agents.coder.recipes.numbers import COMPARISONS, two_inputs
from dispatch_runner.agents.coder.recipes.question import Body, Question, is_scalars
from dispatch_runner.agents.coder.spec import FieldSpec
from dispatch_runner.agents.coder.words import singular


def sets(question: Question) -> Body | None:
    """`the union of a and b`: every value once, in the order in which it is met."""
    output = question.output.type
    for words, template in (
        (r"union|merge", "list(dict.fromkeys([*{a}, *{b}]))"),
        (r"intersection", "[item for item in dict.fromkeys({a}) if item in {b}]"),
        (r"concatenation", "[*{a}, *{b}]"),
        (r"difference", "[item for item in dict.fromkeys({a}) if item not in {b}]"),
    ):
        pair = two_inputs(question, words)
        if pair and pair[0].type == pair[1].type == output and is_scalars(output):
            a, b = (f"contract.{f.name}" for f in pair)
            return Body((f"return {template.format(a=a, b=b)}",))
    return None


def collection(question: Question) -> Body | None:
    """Sorted, reversed, unique, filtered by a threshold: lists to lists of the same."""
    listed = question.only(lambda t: t == question.output.type and t.base == "list")
    if listed is None or listed.type.item is None:
        return None
    x = f"contract.{listed.name}"
    if not _is_of(question.output.name, listed.name):
        return None
    scalar = listed.type.item.base in {"str", "int", "float"}
    own = _own_steps(question)
    steps: list[tuple[int, str]] = []
    for kind, pattern, expression in LIST_STEPS:
        found = re.search(rf"\b(?:{pattern})", question.text)
        if found and kind in own and (scalar or "reversed" in expression):
            steps.append((found.start(), expression))
    kept = _filter(question, listed) if listed.type.item.numeric and "filter" in own else None
    if kept:
        steps.append(kept)
    if not steps:
        return None
    start, *rest = [expression for _, expression in sorted(steps)]
    expressions = [re.sub(r"\bkept\b", x, start), *rest]
    return Body((*(f"kept = {each}" for each in expressions[:-1]), f"return {expressions[-1]}"))


LIST_STEPS = (
    (
        "sort",
        r"sort(?:s|ed|ing)?\b(?!.{0,40}(?:descending|by\b))|in ascending order",
        "sorted(kept)",
    ),
    ("sort", r"sort(?:s|ed|ing)?\b.{0,40}descending", "sorted(kept, reverse=True)"),
    (
        "unique",
        r"de-?duplicate|de-?duplicating|de-?duplication|remov\w+ duplicates|unique|distinct",
        "list(dict.fromkeys(kept))",
    ),
    ("reverse", r"revers(?:es?|ed|ing)\b", "list(reversed(kept))"),
)


STEP_NAMES = {
    "sort": r"sorted|ordered|ranked", "unique": r"unique|distinct|dedup\w*", "reverse": r"reversed",
    "filter": r"filtered|kept|above|below|over\w*|under\w*|high|low|large|small|long|short|exceeding|outliers",
}  # fmt: skip


GENERIC = frozenset({
    "result", "results", "output", "values", "value", "items", "list", "kept", "sorted", "ordered", "unique",
    "distinct", "filtered", "deduplicated", "deduped", "reversed", "ranked", "remaining", "matching",
    "selected", "clean", "cleaned", "normalized", "normalised",
})  # fmt: skip


def _is_of(output: str, source: str) -> bool:
    """Whether a list is the given one, worked on: `unique_names` is of `names`, `alerts` is not."""
    words = {*output.split("_"), *map(singular, output.split("_"))}
    return bool(words & {*GENERIC, *source.split("_"), *map(singular, source.split("_"))})


def _own_steps(question: Question) -> set[str]:
    """The kinds of steps that make this list: all, unless there are more such lists and its name says which."""
    alike = [f for f in question.outputs if f.type == question.output.type]
    words = f"{question.output.name.replace('_', ' ')} {question.about}"
    named = {
        kind for kind, pattern in STEP_NAMES.items() if re.search(rf"\b(?:{pattern})\b", words)
    }
    return named if len(alike) > 1 else {*STEP_NAMES}


def _filter(question: Question, listed: FieldSpec) -> tuple[int, str] | None:
    if not question.says(r"filter|keep|only|select"):
        return None
    for words, operator in COMPARISONS:
        found = re.search(
            rf"\b{words} (?:the |a |an )?`?([a-z]\w*|-?\d+(?:\.\d+)?)`?", question.text
        )
        if not found:
            continue
        value = found.group(1)
        known = next((f for f in question.inputs if f.name == value and f.type.numeric), None)
        if known is not None or value[0] in "-0123456789":
            limit = f"contract.{known.name}" if known else value
            return found.start(), f"[item for item in kept if item {operator} {limit}]"
    return None


PAIRS = (
    ("before", "after"),
    ("old", "new"),
    ("left", "right"),
    ("expected", "actual"),
    ("first", "second"),
    ("source", "target"),
    ("original", "updated"),
    ("a", "b"),
)


def _pair(question: Question) -> tuple[str, str] | None:
    """The two objects that are compared, earlier first."""
    held = [f.name for f in question.inputs if f.type.base == "dict" and not f.type.optional]
    for old, new in PAIRS:
        first = [name for name in held if old in name.split("_")]
        second = [name for name in held if new in name.split("_")]
        if len(first) == len(second) == 1 and first != second:
            return first[0], second[0]
    return (held[0], held[1]) if len(held) == 2 else None


def equality(question: Question) -> Body | None:
    """Whether the only two inputs are equal."""
    if question.output.type.base != "bool" or len(question.inputs) != 2:
        return None
    left, right = question.inputs
    if left.type != right.type or not re.fullmatch(
        r"(?:(?:is|are)_)?(?:equal|identical|the_same)", question.output.name
    ):
        return None
    return Body((f"return contract.{left.name} == contract.{right.name}",))


def _list_difference(question: Question) -> Body | None:
    """What was added to or removed from a list, in its order."""
    kind = question.output.name.split("_")[0]
    listed = [f for f in question.inputs if f.type == question.output.type and is_scalars(f.type)]
    pairs = [
        (first.name, second.name)
        for old, new in PAIRS
        for first in listed
        for second in listed
        if old in first.name.split("_") and new in second.name.split("_")
    ]
    if len(pairs) != 1 or kind not in {"added", "removed", "unchanged", "common"}:
        return None
    old, new = (f"contract.{name}" for name in pairs[0])
    if kind == "removed":
        old, new = new, old
    keeps = "not in" if kind in {"added", "removed"} else "in"
    return Body((f"return [item for item in {new} if item {keeps} {old}]",))


def difference(question: Question) -> Body | None:
    """What was added, removed or changed between two objects, as sorted keys."""
    lists = _list_difference(question)
    if lists is not None:
        return lists
    pair = _pair(question)
    if pair is None or not question.says(r"diff|compar|chang"):
        return None
    old, new = (f"contract.{name}" for name in pair)
    name = re.sub(r"_(?:keys|fields|paths)$", "", question.output.name)
    keys = {
        "added": f"sorted(key for key in {new} if key not in {old})",
        "removed": f"sorted(key for key in {old} if key not in {new})",
        "changed": f"sorted(key for key in {old} if key in {new} and {old}[key] != {new}[key])",
        "unchanged": f"sorted(key for key in {old} if key in {new} and {old}[key] == {new}[key])",
    }
    keys["modified"] = keys["changed"]
    if name in keys and question.output.type.base == "list":
        return Body((f"return {keys[name]}",))
    if question.output.type.base == "bool" and re.search(r"equal|identical|same|match", name):
        return Body((f"return {old} == {new}",))
    if question.output.type.base == "bool" and re.search(r"changed|differ", name):
        return Body((f"return {old} != {new}",))
    return None
