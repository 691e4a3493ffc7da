"""Bodies that a text determines: how one output field of a pure node follows from its inputs.

A recipe answers only where names, types and words leave one reading; everything else stays open.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dispatch_runner.agents.coder.spec import FieldSpec, FieldType
from dispatch_runner.agents.coder.words import literal, singular


@dataclass(frozen=True, slots=True)
class Body:
    """The lines of a function `(contract) -> type`, and what they import.

    `{error}` stands for raising the node's error: `{error}(text)` becomes a raise statement.
    """

    lines: tuple[str, ...]
    imports: tuple[tuple[str, str], ...] = ()
    note: str = ""
    """What was chosen where the words leave more than one reading."""


@dataclass(frozen=True, slots=True)
class Question:
    """One output field and all that may determine it."""

    output: FieldSpec
    inputs: Sequence[FieldSpec]
    text: str

    def only(self, test: Callable[[FieldType], bool]) -> FieldSpec | None:
        """The one input whose type passes the test; null when none or several do."""
        found = [f for f in self.inputs if not f.type.optional and test(f.type)]
        return found[0] if len(found) == 1 else None

    def says(self, pattern: str) -> bool:
        return re.search(rf"\b(?:{pattern})", self.text) is not None


def answer(question: Question) -> Body | None:
    """The body of the first recipe that fits, or null: the text does not determine the field."""
    for recipe in RECIPES:
        body = recipe(question)
        if body is not None:
            return body
    return None


def is_numbers(type_: FieldType) -> bool:
    return type_.base == "list" and type_.item is not None and type_.item.numeric


def _same_name(question: Question) -> Body | None:
    """An output of an input's name and type is passed through."""
    for field in question.inputs:
        if field.name == question.output.name and field.type == question.output.type:
            return Body((f"return contract.{field.name}",))
    return None


STATISTICS = {
    "mean": ("fmean({x})", "statistics.fmean"), "average": ("fmean({x})", "statistics.fmean"),
    "avg": ("fmean({x})", "statistics.fmean"), "median": ("float(median({x}))", "statistics.median"),
    "stdev": ("pstdev({x})", "statistics.pstdev"), "std_dev": ("pstdev({x})", "statistics.pstdev"),
    "variance": ("pvariance({x})", "statistics.pvariance"), "range": ("max({x}) - min({x})", ""),
    "minimum": ("min({x})", ""), "min": ("min({x})", ""), "lowest": ("min({x})", ""), "smallest": ("min({x})", ""),
    "maximum": ("max({x})", ""), "max": ("max({x})", ""), "highest": ("max({x})", ""), "largest": ("max({x})", ""),
}  # fmt: skip
SUMS = ("sum", "total")


def _words_match(name: str, field: FieldSpec) -> str:
    """`mean` from `mean`, `mean_score` or `score_mean` where the field is `scores`; else the name."""
    name = name.removesuffix("_")
    one = singular(field.name)
    for other in (field.name, one, singular(field.name.rpartition("_")[2]), "value", "number"):
        if name.endswith(f"_{other}"):
            return name.removesuffix(f"_{other}")
        if name.startswith(f"{other}_"):
            return name.removeprefix(f"{other}_")
    return name


def _statistics(question: Question) -> Body | None:
    numbers = question.only(is_numbers)
    if numbers is None or numbers.type.item is None or not question.output.type.numeric:
        return None
    kind = _words_match(question.output.name, numbers)
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


def _count(question: Question) -> Body | None:
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
        if name in {f"{singular(f.name)}_count", f"{f.name}_count", f"total_{f.name}"}
    ]
    plain = (
        sized
        if len(sized) == 1 and name in {"count", "length", "size", "n", "total_count", "item_count"}
        else []
    )
    chosen = of_name or plain
    return Body((f"return len(contract.{chosen[0].name})",)) if len(chosen) == 1 else None


ARITHMETIC = (
    (r"sum|total|addition", "+"), (r"difference", "-"), (r"product", "*"), (r"quotient|ratio", "/"),
)  # fmt: skip


def _arithmetic(question: Question) -> Body | None:
    """`the product of a and b`, where both are inputs."""
    if not question.output.type.numeric:
        return None
    for words, operator in ARITHMETIC:
        found = re.search(
            rf"\b(?:{words}) of (?:the )?`?(\w+)`? and (?:the )?`?(\w+)`?", question.text
        )
        if not found or not re.fullmatch(
            rf"(?:{words}|result)", question.output.name.rpartition("_")[2]
        ):
            continue
        fields = [
            f
            for name in found.groups()
            for f in question.inputs
            if f.name == name and f.type.numeric
        ]
        if len(fields) == 2 and not any(f.type.optional for f in fields):
            return _binary(fields[0], operator, fields[1], question.output)
    return None


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


def _conversion(question: Question) -> Body | None:
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


HASHES = ("sha256", "sha512", "sha1", "md5", "blake2b", "sha3_256")


def _digest(question: Question) -> Body | None:
    source = question.only(lambda t: t.base in {"str", "bytes"})
    if (
        source is None
        or question.output.type.base != "str"
        or not question.says(r"hash|digest|checksum|sha|md5|blake")
    ):
        return None
    if not re.search(r"hash|digest|checksum|sha|md5|blake|hex", question.output.name):
        return None
    text = question.text.replace("sha-", "sha")
    named = [
        name
        for name in HASHES
        if re.search(rf"\b{name}\b", f"{question.output.name.replace('_', ' ')} {text}")
    ]
    if len(named) != 1 or named[0] in {"sha1", "md5"}:
        return None
    x = f"contract.{source.name}" + (".encode()" if source.type.base == "str" else "")
    return Body((f"return {named[0]}({x}).hexdigest()",), (("hashlib", named[0]),))


def _collection(question: Question) -> Body | None:
    """Sorted, reversed, unique, filtered by a threshold: lists to lists of the same."""
    listed = question.only(lambda t: t == question.output.type and t.base == "list")
    if listed is None or listed.type.item is None:
        return None
    x = f"contract.{listed.name}"
    scalar = listed.type.item.base in {"str", "int", "float"}
    steps: list[tuple[int, str]] = []
    for pattern, expression in LIST_STEPS:
        found = re.search(rf"\b(?:{pattern})", question.text)
        if found and (scalar or "reversed" in expression):
            steps.append((found.start(), expression))
    kept = _filter(question, listed) if listed.type.item.numeric else None
    if kept:
        steps.append(kept)
    if not steps:
        return None
    *first, last = [expression for _, expression in sorted(steps)]
    return Body(
        (f"kept = list({x})", *(f"kept = {expression}" for expression in first), f"return {last}")
    )


LIST_STEPS = (
    (r"sort(?:s|ed|ing)?\b(?!.{0,40}(?:descending|by\b))|in ascending order", "sorted(kept)"),
    (r"sort(?:s|ed|ing)?\b.{0,40}descending", "sorted(kept, reverse=True)"),
    (
        r"de-?duplicate|de-?duplicating|de-?duplication|remov\w+ duplicates|unique|distinct",
        "list(dict.fromkeys(kept))",
    ),
    (r"revers(?:es?|ed|ing)\b", "list(reversed(kept))"),
)
COMPARISONS = (
    (r"(?:greater than|above|over|more than|exceed\w*)", ">"), (r"(?:at least)", ">="),
    (r"(?:less than|below|under)", "<"), (r"(?:at most)", "<="),
)  # fmt: skip


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


TEXT_STEPS = (
    (r"(?:strip|remov)\w* (?:all |any )?html(?: tags)?", 'sub(r"<[^<>]*>", "", text)', ("re", "sub"), ("strip_html", "remove_html")),
    (r"(?:remov|strip)\w* (?:all |any )?(?:accents|diacritics)", '"".join(c for c in normalize("NFKD", text) if not combining(c))', ("unicodedata", "combining, normalize"), ("remove_accents", "strip_accents")),
    (r"(?:remov|strip)\w* (?:all |any )?punctuation", 'sub(r"[^\\w\\s]", "", text)', ("re", "sub"), ("remove_punctuation", "strip_punctuation")),
    (r"(?:unicode|nfkc)[ -]?normali[sz]|normali[sz]\w* (?:the )?unicode|\bnfkc\b", 'normalize("NFKC", text)', ("unicodedata", "normalize"), ("unicode_normalize", "nfkc")),
    (r"(?:collapse\w*|collapsing) (?:all |multiple |repeated |consecutive )?(?:whitespace|spaces)|normali[sz]\w* (?:the )?whitespace", '" ".join(text.split())', ("", ""), ("collapse_whitespace", "normalize_whitespace")),
    (r"lower-?\s?cas\w+|(?:to|in) lower\b", "text.lower()", ("", ""), ("lowercase", "to_lower", "lower")),
    (r"upper-?\s?cas\w+|(?:to|in) upper\b", "text.upper()", ("", ""), ("uppercase", "to_upper", "upper")),
    (r"title-?\s?cas\w+", "text.title()", ("", ""), ("title_case",)),
    (r"trim\w*|strip\w*(?: (?:leading|trailing|surrounding|whitespace))?", "text.strip()", ("", ""), ("trim", "strip", "strip_whitespace")),
    (r"revers(?:es?|ed|ing) (?:the )?(?:text|string)", "text[::-1]", ("", ""), ("reverse",)),
)  # fmt: skip


def _text(question: Question) -> Body | None:
    """Text to text, by the steps that are named, in their order; a flag of a step's name guards it."""
    source = question.only(lambda t: t.base == "str")
    if source is None or question.output.type.base != "str":
        return None
    if not re.search(
        r"normali[sz]ed|clean|trimmed|lower|upper|stripped|result|output|text|title|reversed|collapsed",
        question.output.name,
    ):
        return None
    rest, found = question.text, list[tuple[int, str, tuple[str, str]]]()
    for pattern, expression, imported, flags in TEXT_STEPS:
        match = re.search(rf"\b(?:{pattern})", rest)
        if match is None:
            continue
        rest = rest[: match.start()] + " " * (match.end() - match.start()) + rest[match.end() :]
        flag = next(
            (f.name for f in question.inputs if f.name in flags and f.type.base == "bool"), None
        )
        line = (
            f"text = {expression} if contract.{flag} else text" if flag else f"text = {expression}"
        )
        found.append((match.start(), line, imported))
    if not found:
        return None
    imports = tuple(
        (module, name) for _, _, (module, names) in found if module for name in names.split(", ")
    )
    *first, last = [line for _, line, _ in sorted(found)]
    final = "return " + last.removeprefix("text = ")
    return Body((f"text = contract.{source.name}", *first, final), imports)


def _slug(question: Question) -> Body | None:
    source = question.only(lambda t: t.base == "str")
    if source is None or not re.search(r"slug", question.output.name):
        return None
    lines = (
        f'folded = normalize("NFKD", contract.{source.name}).encode("ascii", "ignore").decode()',
        'return sub(r"[^a-z0-9]+", "-", folded.lower()).strip("-")',
    )
    return Body(lines, (("re", "sub"), ("unicodedata", "normalize")))


def _split_join(question: Question) -> Body | None:
    words = question.output.name in {"words", "tokens"} and question.says(r"split|tokeni[sz]|words")
    lines = question.output.name == "lines" and question.says(r"split|lines")
    source = question.only(lambda t: t.base == "str")
    if source is None or question.output.type.base != "list" or not (words or lines):
        return None
    return Body((f"return contract.{source.name}.{'split' if words else 'splitlines'}()",))


def _json(question: Question) -> Body | None:
    """JSON text to a value, and back."""
    if not question.says(r"json"):
        return None
    text = question.only(lambda t: t.base == "str")
    output = question.output
    if (
        text is not None
        and output.type.base == "json"
        and question.says(r"pars|decod|load|deserial")
    ):
        lines = (
            "try:",
            f"    return _JSON.validate_json(contract.{text.name})",
            "except ValueError:",
            f"    {{error}}({literal(f'{text.name} is not JSON')})",
        )
        return Body(lines, (("pydantic", "JsonValue"), ("pydantic", "TypeAdapter")))
    held = question.only(lambda t: t.base in {"json", "dict"})
    if (
        held is not None
        and output.type.base == "str"
        and question.says(r"seriali[sz]|encod|dump|to (?:a )?json|render")
    ):
        return Body(
            (f"return dumps(contract.{held.name}, sort_keys=True, ensure_ascii=False)",),
            (("json", "dumps"),),
        )
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


def _difference(question: Question) -> Body | None:
    """What was added, removed or changed between two objects, as sorted keys."""
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


def _validity(question: Question) -> Body | None:
    """`is_valid`, where the text says what valid means: an address of e-mail, not empty, a maximum."""
    text = question.only(lambda t: t.base == "str")
    if (
        text is None
        or question.output.type.base != "bool"
        or not re.search(r"valid", question.output.name)
    ):
        return None
    x = f"contract.{text.name}"
    if question.says(r"e-?mail"):
        pattern = r'r"[^@\s]+@[^@\s]+\.[^@\s.]+"'
        return Body((f"return fullmatch({pattern}, {x}) is not None",), (("re", "fullmatch"),))
    if question.says(r"non-?empty|not empty"):
        return Body((f"return bool({x}.strip())",))
    return None


RECIPES: tuple[Callable[[Question], Body | None], ...] = (
    _same_name, _statistics, _count, _arithmetic, _conversion, _digest, _slug, _split_join, _difference,
    _validity, _json, _collection, _text,
)  # fmt: skip
