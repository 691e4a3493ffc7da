"""How a field of a reducer's state follows from the state before and one event."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dispatch_runner.agents.coder.spec import FieldSpec
from dispatch_runner.agents.coder.words import identifier, literal, singular, words_of

COUNT_FIELDS = frozenset(
    {"count", "event_count", "sample_count", "total_count", "observations", "n", "item_count"}
)
LEAST = frozenset({"minimum", "min", "lowest", "smallest"})
MOST = frozenset({"maximum", "max", "highest", "largest"})
MEANS = frozenset({"mean", "average", "avg"})
SUMS = frozenset({"sum", "total"})
FIGURES = LEAST | MOST | MEANS | SUMS
GOOD = frozenset({"success", "successes", "successful", "succeeded", "passed", "ok"})
BAD = frozenset({"failure", "failures", "failed", "error", "errors"})
FLAGS = frozenset({"success", "succeeded", "passed", "ok", "is_success"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a field's next value may be made of."""

    state: Sequence[FieldSpec]
    event: Sequence[FieldSpec]
    counts: frozenset[str]
    """Names of fields that count the events."""


def counting_names(node_name: str) -> frozenset[str]:
    """Names of fields that count events: the usual ones, and of what the node is named for."""
    return COUNT_FIELDS | {f"{word.lower()}_count" for word in words_of(node_name)}


def fold(field: FieldSpec, facts: Facts) -> str | None:
    """The expression of the field's next value, over `state` and `event`; null when it is not told."""
    for rule in (_same, _latest, _outcome, _count, _number, _append, _tally):
        expression = rule(field, facts)
        if expression is not None:
            return expression
    return None


def _same(field: FieldSpec, facts: Facts) -> str | None:
    for given in facts.event:
        fits = given.type in {field.type, field.type.plain()}
        if given.name == field.name and fits:
            return f"event.{given.name}"
    return None


def _latest(field: FieldSpec, facts: Facts) -> str | None:
    found = re.fullmatch(r"(?:last|latest|current|previous)_(\w+)", field.name)
    for given in facts.event if found else ():
        plain = given.type.plain() == field.type.plain()
        if found and given.name in {found.group(1), f"{found.group(1)}_"} and plain:
            kept = f"event.{given.name}"
            if not given.type.optional:
                return kept
            return f"{kept} if {kept} is not None else state.{field.name}"
    return None


def _count(field: FieldSpec, facts: Facts) -> str | None:
    if field.type.base != "int":
        return None
    named = [given.name for given in facts.event if given.type.base != "bool"]
    of_event = {f"{singular(name)}_count" for name in named}
    of_event |= {f"total_{name}s" for name in named} | {
        "total_events",
        "events",
        "events_seen",
    }
    if field.name in facts.counts | of_event:
        return f"state.{field.name} + 1"
    return _count_of_value(field, facts)


def _count_of_value(field: FieldSpec, facts: Facts) -> str | None:
    """`failed_count`, where one choice of the event is `failed`."""
    value = field.name.removesuffix("_count").removeprefix("total_")
    named = [
        (given.name, choice)
        for given in facts.event
        if given.type.base == "enum" and not given.type.optional
        for choice in given.type.values
        if identifier(choice) == value and value != field.name
    ]
    if len(named) != 1:
        return None
    (name, choice), *_ = named
    return f"state.{field.name} + (1 if event.{name} == {literal(choice)} else 0)"


def _outcome(field: FieldSpec, facts: Facts) -> str | None:
    """`failure_count`, where the event says whether it was a success."""
    flags = [
        given.name
        for given in facts.event
        if given.type.base == "bool" and given.name in FLAGS and not given.type.optional
    ]
    words = set(field.name.split("_"))
    if field.type.base != "int" or len(flags) != 1 or not words <= GOOD | BAD | {"count", "total"}:
        return None
    if words & GOOD and not words & BAD:
        return f"state.{field.name} + (1 if event.{flags[0]} else 0)"
    return f"state.{field.name} + (0 if event.{flags[0]} else 1)" if words & BAD else None


def _number(field: FieldSpec, facts: Facts) -> str | None:
    """Sum, mean and extremes of a number of the event."""
    kinds, value = _kinds(field), figure_of(field, facts.event)
    if value is None or (field.type.base == "int" and value.type.base == "float"):
        return None
    x, before = f"event.{value.name}", f"state.{field.name}"
    if kinds[0] in SUMS:
        return f"{before} + {x}" if not field.type.optional else None
    if kinds[0] in MEANS:
        return _mean(field, x, facts)
    chosen = "min" if kinds[0] in LEAST else "max"
    guarded = f"{x} if {before} is None else {chosen}({before}, {x})"
    return guarded if field.type.optional else f"{chosen}({before}, {x})"


def _kinds(field: FieldSpec) -> list[str]:
    return [word for word in field.name.removesuffix("_").split("_") if word in FIGURES]


def figure_of(field: FieldSpec, event: Sequence[FieldSpec]) -> FieldSpec | None:
    """The number of the event whose sum, mean or extreme a field is; null when it is none."""
    kinds = _kinds(field)
    if not field.type.numeric or len(kinds) != 1:
        return None
    words = field.name.removesuffix("_").split("_")
    return _value([word for word in words if word not in {*kinds, "running"}], event)


def _value(words: list[str], event: Sequence[FieldSpec]) -> FieldSpec | None:
    """The number of the event that is meant: of that name, or the only one."""
    numbers = [given for given in event if given.type.numeric and not given.type.optional]
    name = "_".join(words)
    named = [given for given in numbers if name and given.name in {name, singular(name)}]
    if named or not name:
        return named[0] if named else numbers[0] if len(numbers) == 1 else None
    ending = [
        given
        for given in numbers
        if given.name.endswith(f"_{singular(name)}") or name.endswith(f"_{given.name}")
    ]
    return ending[0] if len(ending) == 1 else None


def _mean(field: FieldSpec, x: str, facts: Facts) -> str | None:
    if field.type.base != "float" or field.type.optional:
        return None
    counted = next(
        (f.name for f in facts.state if f.name in facts.counts and f.type.base == "int"),
        "event_count",
    )
    return f"state.{field.name} + ({x} - state.{field.name}) / (state.{counted} + 1)"


def _append(field: FieldSpec, facts: Facts) -> str | None:
    for given in facts.event:
        if (
            field.type.base == "list"
            and field.type.item == given.type
            and singular(re.sub(r"^(?:all|unique|distinct|seen|known)_", "", field.name))
            == given.name
        ):
            longer = f"[*state.{field.name}, event.{given.name}]"
            if not {"unique", "distinct", "seen", "known"} & set(field.name.split("_")):
                return longer
            return f"state.{field.name} if event.{given.name} in state.{field.name} else {longer}"
    return None


def _tally(field: FieldSpec, facts: Facts) -> str | None:
    """`counts_by_status`: how often each value was seen."""
    found = re.fullmatch(r"(?:\w+_)?(?:counts?|totals?)?_?(?:by|per)_(\w+)", field.name)
    whole = (
        field.type.base == "dict" and field.type.item is not None and field.type.item.base == "int"
    )
    for given in facts.event if found and whole else ():
        if (
            found
            and given.name == found.group(1)
            and given.type.base in {"str", "enum"}
            and not given.type.optional
        ):
            key = f"event.{given.name}" + (".value" if given.type.base == "enum" else "")
            return f"{{**state.{field.name}, {key}: state.{field.name}.get({key}, 0) + 1}}"
    return None
