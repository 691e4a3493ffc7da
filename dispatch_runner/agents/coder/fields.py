"""One field, from a phrase such as `an optional limit (1 to 100, default 10)`."""

import operator
import re

from dispatch_runner.agents.coder.spec import FieldSpec, FieldType, Scalar, list_of
from dispatch_runner.agents.coder.types import enum_values, type_of_name, type_of_phrase
from dispatch_runner.agents.coder.words import identifier, is_plural, printable, singular

NUMBER = r"-?\d+(?:\.\d+)?"
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
AS_NAME = re.compile(
    rf"^(?P<what>\S+ .+?) as (?:an? |the )?`?(?P<name>{NAME})`?(?P<notes>\s*\(.*\))?$"
)
EACH = re.compile(r"\beach (?:is |being |of them )?(?P<what>an? \w+)")
ARTICLES = re.compile(
    r"^(?:and |or |then |also |plus )?(?:(?:an?|the|its|their|this|that|each|some|all|any|required|mandatory|"
    r"resulting|given|input|output|corresponding|new|overall|final|matching|running|cumulative)\s+(?![(:,]|$))*",
    re.IGNORECASE,
)
COLLECTION_OF = re.compile(
    r"^(?:list|array|sequence|set|batch|collection)s? of (?P<what>.+)$", re.IGNORECASE
)
MAPPING_OF = re.compile(
    r"^(?:dict|dictionary|map|mapping)s?(?: (?:of|from) (?P<key>.+?) to (?P<value>.+))$",
    re.IGNORECASE,
)
COUNT_OF = re.compile(r"^(?:number|count) of (?P<what>.+)$", re.IGNORECASE)
WHETHER = re.compile(
    r"^(?:whether|if|flag (?:for|whether|if|that says whether)) (?:(?:it|the \w+|they) )?(?P<what>.+)$",
    re.IGNORECASE,
)
BOUND_WORDS: tuple[tuple[str, str], ...] = (
    (rf"(?:at least|min(?:imum)?(?: of)?|>=|from)\s*=?\s*({NUMBER})", "ge"),
    (rf"(?:at most|max(?:imum)?(?: of)?|up to|no more than|<=)\s*=?\s*({NUMBER})", "le"),
    (rf"(?:greater than|more than|above|over|>(?!=))\s*({NUMBER})", "gt"),
    (rf"(?:less than|below|under|<(?!=))\s*({NUMBER})", "lt"),
)
RANGE = re.compile(
    rf"(?:between|from|in|range)?\s*({NUMBER})\s*(?:to|and|-|\.\.\.?|\u2013|through)\s*({NUMBER})"
)
DEFAULT = re.compile(
    r"(?:\bdefaults?(?: value)?(?: is| of| to)?\s*[:=]?|(?<![<>])=)\s*(?P<value>'[^']*'|\"[^\"]*\"|`[^`]*`|[^\s,;)]+)",
    re.IGNORECASE,
)
TESTS = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt}
MAX_NAME_WORDS = 4
MAX_CLAUSE_WORDS = 8


def parse_field(phrase: str) -> FieldSpec | None:
    """The field that a phrase names, or null when it names none that can be told."""
    text = phrase.strip().strip(".;:").strip()
    text = ARTICLES.sub("", re.sub(r"\*\*|__(?=\w+__)", "", text), count=1)
    optional = bool(re.match(r"optional(?:ly)?\s", text, re.IGNORECASE))
    text = ARTICLES.sub("", re.sub(r"^optional(?:ly)?\s+", "", text, flags=re.IGNORECASE), count=1)
    called = AS_NAME.match(text)
    if called and type_of_phrase(called["name"]) is None:
        notes = f", {called['notes'].strip(' ()')}" if called["notes"] else ""
        text = f"{called['name']} - {called['what']}{notes}"
    head, notes = (text, "") if WHETHER.match(text) and "(" not in text else _split(text)
    optional = optional or bool(re.search(r"\boptional\b", notes, re.IGNORECASE))
    named = _name_and_type(head)
    if named is None:
        return None
    name, inferred, spelled = named
    type_ = _stated_type(EACH.sub("", notes)) or _bounded(inferred, notes)
    held = EACH.search(notes)
    of_each = type_of_phrase(held["what"]) if held and type_.base == "list" else None
    if of_each is not None:
        type_ = list_of(of_each.plain())
    return _build(name, type_, optional, notes, _described(head, notes, name), spelled)


def _described(head: str, notes: str, name: str) -> str:
    """What the phrase says of the field beside its type: after a dash, else the words that name it."""
    explained = re.search(r"(?:^|\s)[-\u2013]\s+([^,;].+)$", notes, re.DOTALL)
    if explained:
        return printable(explained.group(1), 200)
    said = [part.strip() for part in re.split(r"[,;]", notes) if _is_said(part)]
    if said:
        return printable(said[0], 200)
    words = printable(head, 200)
    return words if " " in words else name.strip("_").replace("_", " ")


def _is_said(part: str) -> bool:
    """Whether a part of the notes tells what the field is, not its type, limits or default."""
    lower = part.strip().lower()
    if not re.match(r"(?:the|how|what|which|where|when|sum|ratio|number) ", lower):
        return False
    return type_of_phrase(lower) is None and not DEFAULT.search(lower) and not _number_bounds(lower)


def _split(text: str) -> tuple[str, str]:
    """The words that name the field, and the notes on it: in brackets, or after a colon or dash."""
    tick = re.match(r"`([^`]+)`\s*(.*)$", text, re.DOTALL)
    if tick:
        return tick.group(1), tick.group(2).strip(" :-()")
    found = re.match(r"([^(:]+?)\s*(?:\((.*)\)?|:\s*(.*)|\s([-\u2013]\s.*))$", text, re.DOTALL)
    if found:
        notes = next((group for group in found.groups()[1:] if group), "")
        return found.group(1).strip(), notes.replace(")", " ").replace("(", ", ").strip()
    assigned = re.match(rf"({NAME})\s*=\s*(\S+)$", text)
    if assigned:
        return assigned.group(1), f"default {assigned.group(2)}"
    typed = re.match(
        r"(.+?)\s+(?:as|being|which is|that is)\s+(an?\s.+|list\s.+|one of\s.+)$", text
    )
    if typed:
        return typed.group(1), typed.group(2)
    of = re.match(r"(.+?)\s+(one of\s.+|of either\s.+)$", text)
    if of:
        return of.group(1), of.group(2).replace("of either", "one of")
    cut = re.match(
        r"(.+?)\s+(default(?:s|ing)?\b.*|between\b.*|at least\b.*|at most\b.*|up to \d.*)$", text
    )
    return (cut.group(1), cut.group(2)) if cut else (text, "")


def _name_and_type(head: str) -> tuple[str, FieldType, str] | None:
    """Name, its usual type, and the words it came from."""
    for pattern, reader in (
        (COLLECTION_OF, _collection),
        (MAPPING_OF, _mapping),
        (COUNT_OF, _count),
    ):
        found = pattern.match(head)
        if found:
            return reader(found)
    found = WHETHER.match(head)
    if found:
        return _whether(found.group("what"))
    exact = re.search(rf"\b({NAME}_{NAME})\b", head)
    if exact or re.fullmatch(NAME, head):
        spelled = exact.group(1) if exact else head
        name = identifier(spelled)
        return name, type_of_name(name), spelled
    words = re.findall(
        r"[A-Za-z0-9]+", re.split(r"\b(?:of|for|in|from|to|by|on|at|that|which|with)\b", head)[0]
    )
    clause = len(head.split()) > MAX_CLAUSE_WORDS
    if clause or not 0 < len(words) <= MAX_NAME_WORDS or words[0].isdigit():
        return None
    spelled_type = type_of_phrase(words[-1]) if len(words) > 1 else None
    name = identifier(" ".join(words[:-1] if spelled_type else words))
    return name, spelled_type or type_of_name(name), head


def _collection(found: re.Match[str]) -> tuple[str, FieldType, str] | None:
    what = re.split(r"\b(?:that|which|to|for|from|with|in)\b", found.group("what"))[0].strip(" `")
    name = identifier(" ".join(re.findall(r"[A-Za-z0-9_]+", what)[-3:]), "items")
    last = name.rpartition("_")[2]
    plural = name if is_plural(last) else f"{name}s"
    named = type_of_phrase(f"list of {what}")
    usual = type_of_name(plural)
    plain = named is not None and named.item is not None and named.item.base != "str"
    type_ = (
        named
        if plain and named is not None
        else usual
        if usual.base == "list"
        else list_of(type_of_name(singular(name)))
    )
    return plural, type_, what


def _mapping(found: re.Match[str]) -> tuple[str, FieldType, str]:
    key, value = found.group("key"), found.group("value")
    held_in_words = re.sub(r"^(?:list|array|set|sequence)s? of ", "", value)
    name = identifier(f"{held_in_words} by {singular(key)}")
    held = type_of_phrase(value) or type_of_name(identifier(singular(value)))
    return name, FieldType("dict", held.plain()), value


def _count(found: re.Match[str]) -> tuple[str, FieldType, str]:
    words = re.findall(
        r"[A-Za-z0-9]+", re.split(r"\b(?:that|which|in|from|to)\b", found.group("what"))[0]
    )
    name = identifier(f"{singular(' '.join(words[-2:]).lower())} count")
    return name, FieldType("int"), found.group(0)


def _whether(what: str) -> tuple[str, FieldType, str] | None:
    words = re.findall(r"[A-Za-z0-9_]+", what)[: MAX_NAME_WORDS + 1]
    if not words:
        return None
    if len(words) > 2 and words[1] in {"is", "are", "was", "were", "has", "have"}:
        words = words[1:]
    if words[0] in {"was", "were", "are"}:
        words[0] = "is"
    if words[0] in {"all", "any", "every", "each"}:
        kept = [word for word in words if word not in {"of", "the", "ones", "them"}]
        return identifier(" ".join(kept)), FieldType("bool"), what
    name = identifier(
        " ".join(
            words[:MAX_NAME_WORDS]
            if words[0] in {"is", "has", "can", "should"}
            else ["is", *words[:2]]
        )
    )
    return name, FieldType("bool"), what


def _stated_type(notes: str) -> FieldType | None:
    """The type that the notes spell: the first comma-separated part that is one."""
    if not notes:
        return None
    notes = notes.lstrip("-\u2013 ")
    either = re.match(r"(\w+(?:, \w+)* or \w+)(?=[,;]|$)", notes)
    if either and not any(type_of_phrase(word) for word in re.findall(r"\w+", either.group(1))):
        values = enum_values(either.group(1))
        if not {"none", "null", "empty"} & {value.lower() for value in values}:
            return FieldType("enum", values=values)
    choice = re.search(
        r"\b(?:one of|either|enum:?)\s+(.+?)(?:[;)]|,?\s*defaults?\b|$)", notes, re.IGNORECASE
    )
    if choice:
        values = enum_values(choice.group(1))
        if len(values) > 1:
            return FieldType("enum", values=values)
    whole = type_of_phrase(notes.split(":")[0])
    if whole is not None:
        return whole
    for part in re.split(r"[,;:]\s*|\s[-\u2013]\s|\.\s", notes):
        found = type_of_phrase(
            re.split(r"\b(?:default|between|from|at least|at most)\b|[<>]?=|[<>]", part)[0]
        )
        if found is not None:
            return found
    bar = re.match(r"^['\"]?\w+['\"]?(?:\s*\|\s*['\"]?\w+['\"]?)+", notes)
    return FieldType("enum", values=enum_values(bar.group(0))) if bar else None


def _build(
    name: str, type_: FieldType, optional: bool, notes: str, description: str, spelled: str
) -> FieldSpec:
    default, has_default = _default(notes, type_)
    if (optional or type_.optional) and not has_default:
        type_ = FieldType(type_.base, type_.item, type_.values, optional=True)
        default, has_default = None, True
    bounds = _bounds(DEFAULT.sub("", notes).lower(), type_)
    if has_default and isinstance(default, int | float) and not _within(default, bounds):
        bounds = ()
    original = spelled if spelled != name and re.fullmatch(NAME, spelled) else ""
    return FieldSpec(name, type_, description, default, has_default, bounds, original)


def _bounded(inferred: FieldType, notes: str) -> FieldType:
    """A number, where only the limits in the notes say so."""
    lower = DEFAULT.sub("", notes).lower()
    if inferred.base != "str" or re.search(r"\b(?:characters|long|items|entries)\b", lower):
        return inferred
    return FieldType("float") if _number_bounds(lower) else inferred


def _default(notes: str, type_: FieldType) -> tuple[Scalar | tuple[()], bool]:
    found = DEFAULT.search(notes)
    if not found:
        return None, False
    return convert_default(found.group("value").strip("`'\".,"), type_)


def convert_default(value: str, type_: FieldType) -> tuple[Scalar | tuple[()], bool]:
    """A default as a value of the type, and whether there is one: what does not fit is none."""
    lower = value.lower()
    if lower in {"none", "null"}:
        return None, type_.optional
    if type_.base == "bool":
        return lower in {"true", "yes", "on", "1"}, True
    if type_.base in {"int", "float"}:
        return _number(lower, type_.base)
    if type_.base in {"list", "dict"}:
        return (), lower in {"empty", "[]", "{}"}
    if type_.base == "enum":
        return value, value in type_.values
    return value[:200], type_.base == "str"


def _number(text: str, base: str) -> tuple[Scalar, bool]:
    found = re.match(rf"{NUMBER}(?=$|[^\w.])", text) or re.match(rf"{NUMBER}(?=[a-z%]*$)", text)
    if not found:
        return None, False
    number = float(found.group(0))
    if base == "float":
        return number, True
    return (int(number), True) if number == int(number) else (None, False)


def _bounds(notes: str, type_: FieldType) -> tuple[tuple[str, float], ...]:
    """Limits that the notes state: on the value of a number, on the length of a text or list."""
    if type_.base == "str" or type_.base == "list":
        found: dict[str, float] = (
            {"min_length": 1} if re.search(r"non-?\s?empty|not empty", notes) else {}
        )
        longest = re.search(
            r"(?:at most|up to|max(?:imum)?(?: of)?) (\d+) (?:characters|items|entries)", notes
        )
        return tuple(
            {**found, **({"max_length": int(longest.group(1))} if longest else {})}.items()
        )
    return _number_bounds(notes) if type_.numeric else ()


def _number_bounds(notes: str) -> tuple[tuple[str, float], ...]:
    span = RANGE.search(notes)
    if span and float(span.group(1)) < float(span.group(2)):
        return ("ge", float(span.group(1))), ("le", float(span.group(2)))
    found = {
        keyword: float(match.group(1))
        for pattern, keyword in BOUND_WORDS
        if (match := re.search(pattern, notes))
    }
    if re.search(r"non-?\s?negative", notes):
        found.setdefault("ge", 0.0)
    elif re.search(r"\bpositive\b", notes):
        found.setdefault("gt", 0.0)
    low, high = (
        max(found.get("ge", -1e308), found.get("gt", -1e308)),
        min(found.get("le", 1e308), found.get("lt", 1e308)),
    )
    return tuple(found.items()) if low < high else ()


def _within(value: float, bounds: tuple[tuple[str, float], ...]) -> bool:
    return all(TESTS[key](value, limit) for key, limit in bounds if key in TESTS)
