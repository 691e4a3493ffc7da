"""Recipes for texts: normal forms, hashes, slugs, JSON, validity."""

import re

from dispatch_runner.agents.coder.recipes.question import Body, Question
from dispatch_runner.agents.coder.words import literal

HASHES = ("sha256", "sha512", "sha1", "md5", "blake2b", "sha3_256")


def digest(question: Question) -> Body | None:
    texts = [f for f in question.inputs if f.type.base in {"str", "bytes"} and not f.type.optional]
    words = [f for f in texts if f.name.replace("_", " ") in question.about.replace("_", " ")]
    source = words[0] if len(words) == 1 else question.only(lambda t: t.base in {"str", "bytes"})
    if (
        source is None
        or question.output.type.base != "str"
        or not question.says(r"hash|digest|checksum|sha|md5|blake")
    ):
        return None
    if not re.search(
        r"hash|digest|checksum|sha|md5|blake|hex", f"{question.output.name} {question.about}"
    ):
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


TEXT_WORDS = frozenset({
    "normalized", "normalised", "clean", "cleaned", "trimmed", "stripped", "lower", "lowercase", "lowercased",
    "upper", "uppercase", "uppercased", "reversed", "collapsed", "canonical", "plain", "result", "output", "text",
    "string", "value", "title", "titled",
})  # fmt: skip
"""Words of a name that say no more than that the text was worked on."""


def text_steps(question: Question) -> Body | None:
    """Text to text, by the steps that are named, in their order; a flag of a step's name guards it."""
    source = question.only(lambda t: t.base == "str")
    if source is None or question.output.type.base != "str":
        return None
    if not set(question.output.name.split("_")) <= {*TEXT_WORDS, *source.name.split("_")}:
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


def slug(question: Question) -> Body | None:
    source = question.only(lambda t: t.base == "str")
    if source is None or not re.search(r"slug", question.output.name):
        return None
    lines = (
        f'folded = normalize("NFKD", contract.{source.name}).encode("ascii", "ignore").decode()',
        'return sub(r"[^a-z0-9]+", "-", folded.lower()).strip("-")',
    )
    return Body(lines, (("re", "sub"), ("unicodedata", "normalize")))


def split_join(question: Question) -> Body | None:
    words = question.output.name in {"words", "tokens"} and question.says(r"split|tokeni[sz]|words")
    lines = question.output.name == "lines" and question.says(r"split|lines")
    source = question.only(lambda t: t.base == "str")
    if source is None or question.output.type.base != "list" or not (words or lines):
        return None
    return Body((f"return contract.{source.name}.{'split' if words else 'splitlines'}()",))


def json_text(question: Question) -> Body | None:
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


def validity(question: Question) -> Body | None:
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
