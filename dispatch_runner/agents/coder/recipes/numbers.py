"""Recipes for numbers: statistics, counts, arithmetic, conversions, thresholds."""

import re

from dispatch_runner.agents.coder.recipes.question import Body, Question, is_numbers, words_match
from dispatch_runner.agents.coder.spec import FieldSpec, FieldType
from dispatch_runner.agents.coder.words import literal, singular

STATISTICS = {
    "mean": ("fmean({x})", "statistics.fmean"), "average": ("fmean({x})", "statistics.fmean"),
    "avg": ("fmean({x})", "statistics.fmean"), "median": ("float(median({x}))", "statistics.median"),
    "stdev": ("pstdev({x})", "statistics.pstdev"), "std_dev": ("pstdev({x})", "statistics.pstdev"),
    "variance": ("pvariance({x})", "statistics.pvariance"), "range": ("max({x}) - min({x})", ""),
    "minimum": ("min({x})", ""), "min": ("min({x})", ""), "lowest": ("min({x})", ""), "smallest": ("min({x})", ""),
    "maximum": ("max({x})", ""), "max": ("max({x})", ""), "highest": ("max({x})", ""), "largest": ("max({x})", ""),
    "longest": ("max({x})", ""), "shortest": ("min({x})", ""), "spread": ("max({x}) - min({x})", ""),
}  # fmt: skip


SUMS = ("sum", "total")


def statistic(question: Question) -> Body | None:
    numbers = question.only(is_numbers)
    if numbers is None or numbers.type.item is None or not question.output.type.numeric:
        return None
    kind = words_match(question.output.name, numbers)
    x = f"contract.{numbers.name}"
    if question.output.type.base == "int" and numbers.type.item.base != "int":
        return None
    if kind in SUMS:
        exact = numbers.type.item.base == "int"
        return Body(
            (f"return sum({x})" if exact else f"return fsum({x})",),
            () if exact else (("math", "fsum"),),
        )
    if kind not in STATISTICS or (question.output.type.base == "int" and STATISTICS[kind][1]):
        return None
    expression, imported = STATISTICS[kind]
    module, _, name = imported.partition(".")
    guard = (f"if not {x}:", f"    {{error}}({literal(f'{numbers.name} is empty: no {kind}')})")
    return Body((*guard, f"return {expression.format(x=x)}"), ((module, name),) if imported else ())


def count(question: Question) -> Body | None:
    """`count`, `word_count`, `item_count`: a length, where it is plain of what."""
    if question.output.type.base != "int":
        return None
    name = question.output.name
    text = question.only(lambda t: t.base == "str")
    if text is not None:
        x = f"contract.{text.name}"
        lengths = {
            "word_count": f"len({x}.split())", "line_count": f"len({x}.splitlines())",
            "character_count": f"len({x})", "char_count": f"len({x})", "length": f"len({x})",
            f"{text.name}_length": f"len({x})", "byte_count": f"len({x}.encode())",
        }  # fmt: skip
        if name in lengths:
            return Body(
                (f"return {lengths[name]}",), note=f"Counted in {text.name!r} as it is given."
            )
    sized = [f for f in question.inputs if f.type.base in {"list", "dict"} and not f.type.optional]
    of_name = [
        f
        for f in sized
        if name
        in {
            f"{singular(f.name)}_count",
            f"{f.name}_count",
            f"total_{f.name}",
            f"{singular(f.name.rpartition('_')[2])}_count",
        }
    ]
    plain = (
        sized
        if len(sized) == 1 and name in {"count", "length", "size", "n", "total_count", "item_count"}
        else []
    )
    said = [
        f
        for f in sized
        if re.search(rf"\b(?:number|count) of {f.name.replace('_', '[ _]')}\b", question.about)
    ]
    chosen = of_name or said or plain
    return Body((f"return len(contract.{chosen[0].name})",)) if len(chosen) == 1 else None


ARITHMETIC = (
    (r"sum|total|addition", "+"), (r"difference", "-"), (r"product", "*"), (r"quotient|ratio", "/"),
)  # fmt: skip


CHOICES = (
    (r"(?:maximum|max|larger|largest|greater|greatest|higher|highest|later|latest)", "max"),
    (r"(?:minimum|min|smaller|smallest|lesser|lower|lowest|earlier|earliest)", "min"),
)


TWO = r" (?:of|between) (?:the )?`?(\w+)`? and (?:the )?`?(\w+)`?"


def two_inputs(question: Question, words: str) -> tuple[FieldSpec, FieldSpec] | None:
    """The two inputs in `the product of a and b`: said of the field itself, else of one of its name."""
    found = re.search(rf"\b(?:{words}){TWO}", question.about)
    if found is None and re.fullmatch(
        rf"(?:{words}|result)", question.output.name.rpartition("_")[2]
    ):
        found = re.search(rf"\b(?:{words}){TWO}", question.text)
    if found is None:
        return None
    named = [f for name in found.groups() for f in question.inputs if f.name == name]
    if len(named) != 2 or any(f.type.optional for f in named):
        return None
    return named[0], named[1]


def arithmetic(question: Question) -> Body | None:
    """`the product of a and b`, `the larger of a and b`, where both are inputs."""
    if not question.output.type.numeric:
        return None
    for words, operator in ARITHMETIC:
        pair = two_inputs(question, words)
        if pair and pair[0].type.numeric and pair[1].type.numeric:
            return _binary(pair[0], operator, pair[1], question.output)
    return None


def choice(question: Question) -> Body | None:
    """`the larger of a and b`."""
    for words, function in CHOICES:
        pair = two_inputs(question, words)
        if pair and pair[0].type == pair[1].type == question.output.type and _ordered(pair[0].type):
            return Body((f"return {function}(contract.{pair[0].name}, contract.{pair[1].name})",))
    return None


def _ordered(type_: FieldType) -> bool:
    return type_.numeric or type_.base in {"datetime", "date"}


def _binary(left: FieldSpec, operator: str, right: FieldSpec, output: FieldSpec) -> Body | None:
    whole = left.type.base == right.type.base == "int"
    if output.type.base == "int" and (not whole or operator == "/"):
        return None
    result = f"return contract.{left.name} {operator} contract.{right.name}"
    if operator != "/":
        return Body((result,))
    guard = (
        f"if contract.{right.name} == 0:",
        f"    {{error}}({literal(f'{right.name} is zero')})",
    )
    return Body((*guard, result))


CONVERSIONS = {
    ("celsius", "fahrenheit"): "{x} * 9.0 / 5.0 + 32.0", ("fahrenheit", "celsius"): "({x} - 32.0) * 5.0 / 9.0",
    ("celsius", "kelvin"): "{x} + 273.15", ("kelvin", "celsius"): "{x} - 273.15",
    ("kilometers", "miles"): "{x} / 1.609344", ("miles", "kilometers"): "{x} * 1.609344",
    ("kilometres", "miles"): "{x} / 1.609344", ("miles", "kilometres"): "{x} * 1.609344",
    ("pounds", "kilograms"): "{x} * 0.45359237", ("kilograms", "pounds"): "{x} / 0.45359237",
    ("inches", "centimeters"): "{x} * 2.54", ("centimeters", "inches"): "{x} / 2.54",
    ("degrees", "radians"): "{x} * pi / 180.0", ("radians", "degrees"): "{x} * 180.0 / pi",
    ("seconds", "milliseconds"): "{x} * 1000.0", ("milliseconds", "seconds"): "{x} / 1000.0",
}  # fmt: skip


def conversion(question: Question) -> Body | None:
    source = question.only(lambda t: t.numeric)
    if source is None or question.output.type.base != "float":
        return None
    from_words, to_words = set(source.name.split("_")), set(question.output.name.split("_"))
    for (unit, other), expression in CONVERSIONS.items():
        stated = question.says(rf"{unit}\w* (?:to|into|in) {other}")
        if (unit in from_words or stated) and (
            other in to_words or (stated and question.output.name == "result")
        ):
            imports = (("math", "pi"),) if "pi" in expression else ()
            return Body((f"return {expression.format(x='contract.' + source.name)}",), imports)
    return None


def threshold(question: Question) -> Body | None:
    """Whether one number is beyond another: `whether score is above threshold`."""
    if question.output.type.base != "bool":
        return None
    for words, operator in COMPARISONS:
        found = re.search(
            rf"\b`?(\w+)`? (?:is |are |was )?{words} (?:the |a |an )?`?([a-z]\w*|-?\d+(?:\.\d+)?)`?",
            question.about,
        )
        if not found:
            continue
        sides = [_side(name, question) for name in found.groups()]
        if sides[0] and sides[1] and sides[0].startswith("contract."):
            return Body((f"return {sides[0]} {operator} {sides[1]}",))
    return None


def _side(word: str, question: Question) -> str:
    """A number, or an input that is one; else empty."""
    if word[0] in "-0123456789":
        return word
    known = [
        f for f in question.inputs if f.name == word and f.type.numeric and not f.type.optional
    ]
    return f"contract.{known[0].name}" if known else ""


COMPARISONS = (
    (r"(?:greater than|above|over|more than|exceed\w*)", ">"), (r"(?:at least)", ">="),
    (r"(?:less than|below|under)", "<"), (r"(?:at most)", "<="),
)  # fmt: skip
