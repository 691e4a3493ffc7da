"""Reading a contract in plain English.

Sections (`Inputs:`, `Outputs:`, `Steps:` ... with text or bullets) are read first; running
sentences then say what is taken and what is returned. What cannot be told is left out and said.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from dispatch_runner.agents.coder.fields import ARTICLES, parse_field
from dispatch_runner.agents.coder.machine import read_intents, read_machine, read_steps
from dispatch_runner.agents.coder.naming import (
    bare_text,
    guess_name,
    own_name,
    sentences,
    summarise,
)
from dispatch_runner.agents.coder.spec import FieldSpec, FieldType, NodeType, Reading, Retry
from dispatch_runner.agents.coder.types import type_of_name, type_of_phrase
from dispatch_runner.agents.coder.words import is_plural, printable

MAX_FIELDS = 64
MAX_PROSE = 12_000
MAX_ZONE = 4_000
MAX_ITEM = 400
MAX_DESCRIPTION = 600

SECTIONS = (
    r"(?P<name>(?:node )?(?:inputs?|request|param(?:eter)?s|arguments|event(?: fields)?|outputs?|returns|results?|"
    r"response|state(?: fields)?|steps|workflow|states|transitions|intents))"
    r"(?: (?:fields|model|parameters|schema))?"
)
SECTION = re.compile(
    rf"^[ \t]*(?:#{{1,6}}[ \t]*)?(?:\*\*)?{SECTIONS}(?:\*\*)?[ \t]*:(?:\*\*)?[ \t]*(?P<rest>.*)$",
    re.IGNORECASE,
)
LONG_WORD = re.compile(r"(\S{80})\S+")
HEADING = re.compile(rf"^[ \t]*#{{1,6}}[ \t]*{SECTIONS}[ \t]*#*$", re.IGNORECASE)
INLINE_SECTION = re.compile(
    r"(?<=[.;)\w])\s+(?=(?:Inputs?|Events?|Outputs?|Returns|Requests?|Responses?|Results?|Param(?:eter)?s|State|Steps|States|Transitions|Intents)\s*:)"
)
BULLET = re.compile(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+")
KINDS = {
    "input": "input", "request": "input", "parameter": "input", "param": "input", "argument": "input", "event": "input",
    "output": "output", "return": "output", "result": "output", "response": "output",
    "state": "state", "step": "steps", "workflow": "steps", "transition": "machine", "intent": "intents",
}  # fmt: skip

TAKES = (
    r"takes?(?: in)?|taking|(?:compare|merge|combine|join|multiply|add|subtract|divide)s?(?= (?:two|both|three)\b)|"
    r"accepts?|accepting|given|"
    r"with (?:the )?(?:inputs?|parameters|arguments|fields)|(?:the )?(?:inputs?|parameters|request|events?)(?: fields?)? "
    r"(?:is|are|has|have|carr(?:y|ies)|contains?|includes?|holds?|brings?)"
)
MAY_TAKE = r"with|supports?|supporting|receives?|receiving|requires?|expects?"
"""Words after which fields may stand; what stands there has to look like fields."""
ELSE = r"using|(?<!mapping )(?<!map )from|by|for|reports?"
"""Words that end an enumeration."""
RETURNS = (
    r"returns?|returning|(?:the )?outputs? (?:is|are|has|have|contains?|includes?)|(?<!the )outputs(?! of\b)|output(?=\s*:)|outputting|(?:answers?|repl(?:y|ies)) with|produces?|producing|yields?|yielding|responds? with|"
    r"responding with|gives(?: back)?(?! the same)|give back|(?:the )?(?:output|response|result) (?:is|are|has|"
    r"contains?|includes?)"
)
KEEPS = r"keeps?|keeping|tracks?|tracking|maintains?|maintaining|(?:the )?state (?:is|has|holds|keeps|with|contains?|of)|into"
COMPUTES = r"computes|computing|calculates?|calculating|determines?|determining"
TRIGGER = re.compile(
    rf"\b(?:(?P<takes>{TAKES})|(?P<returns>{RETURNS})|(?P<keeps>{KEEPS})|(?P<computes>{COMPUTES})|(?P<may_take>{MAY_TAKE})|(?P<else>{ELSE}))\b"
    r"(?!_)\s*:?",
    re.IGNORECASE,
)
TAIL = re.compile(
    r"\s+(?:and|then|,)\s+(?:\w+ly )?(?:emits?|emitting|stores?|sends?|writes?|retries|raises?|fails?|logs?|saves?|"
    r"must|should|when|if|while|where|so that|until|unless|publishes|validates)\b.*$|"
    r"\s(?:when|while|where|so that|until|unless|after which|before \w+ing|as soon as|in order to|via|over|through)\s.*$",
    re.IGNORECASE | re.DOTALL,
)
NOT_FIELDS = frozenset({
    "retry", "retries", "backoff", "exponential", "logging", "validation", "caching",
    "idempotency", "support", "handling", "transactions", "injection", "metrics", "observability",
    "tracing", "safety", "typing", "errors", "error", "http", "https", "rest", "sql", "it",
    "them", "that", "which", "jitter", "bounded", "async", "concurrency", "result", "results",
    "output", "input", "something", "everything", "request",
})  # fmt: skip
VERB = re.compile(
    r"^(?:then )?[a-z]+s (?:to|the|an?|it|them|its|their|each|every|all)\b|^[a-z]+s it$|"
    r"^(?:it|they|we|the (?:node|reducer|effect|orchestrator)) \w+|"
    r"^(?!status|address)[a-z]+[^s\W]s (?!\w+(?:ed|en)\b)[a-z]+"
)
"""An item that is another clause: `posts to the API`, `executes it`, `routes matching events`."""
CLAUSE = re.compile(
    r"^(?!whether)(?:(?! [-\u2013] )[^(:])*\b(?:has|have|is|are|was|were|does|shows)\b"
)
SPELLED = re.compile(r"[a-z0-9]_[a-z0-9]|`\w+`|\w \(.*\)")
"""An item with a name in code's spelling, or with notes in brackets."""
SURE = re.compile(r"tak|accept|given|(?:the )?inputs?|return|output", re.IGNORECASE)
"""Triggers that speak of fields even in the prose of a contract."""
OF_EVENT = re.compile(r"(?:the )?events? ", re.IGNORECASE)
ONE_OF = re.compile(
    r"\b(?!(?:it|this|that|which|each|state|there|what|who|node)\b)(?P<name>[a-z]\w+) (?:is|can be|may be|has to be) (?P<choice>(?:one of|either) [^.;\n]+)",
    re.IGNORECASE,
)
"""A field that is named by what it may be: `operation is one of start, stop`."""
SEVERAL = re.compile(
    r"^(?:two|three|four|both) (?P<what>(?:\w+ )??\w+s)(?::? (?P<name>\w+))?$", re.IGNORECASE
)
"""`two numbers`, `two numbers a`: the type of what is named after it."""
LOOSE_END = re.compile(r"(?:,?\s*(?:and |then )*\b[a-z]+s it\b)?(?:,|\band\b|\bthen\b|\bit\b|\s)+$")
"""What joins a zone to the next clause: `, executes it, and`."""
ZONE_KINDS = {
    "takes": "input", "may_take": "input", "returns": "output", "computes": "output", "keeps": "state",
}  # fmt: skip
"""Which fields a word in a sentence speaks of."""
ASIDE = re.compile(
    r"^(?:the )?`?(\w+)`?,\s+(?!default|optional|required|an? |one of|at |between)(.+)$"
)
"""A name and what is said of it: `confidence, the larger of the two`."""
GAP = re.compile(r",\s*(?:and |or )?|\s+(?:and|as well as|plus|along with)\s+")
RETRIES = re.compile(
    r"\b(?:retr(?:y|ies|ied|ying)[^.;]{0,30}?(?:up to|at most)?|up to|at most)\s+(\d+)\s*(?:times|retries|attempts)",
    re.IGNORECASE,
)
TIMEOUT = re.compile(
    r"\b(?:times? out (?:after|in)|timeout(?: of| is|:)?|gives? up after|(?:answers?|responds?|repl(?:y|ies)) within|no longer than|aborts? after)\s+"
    r"(?P<number>\d{1,6}(?:\.\d+)?)\s*-?(?P<unit>seconds?|s\b|minutes?|milliseconds?|ms\b)",
    re.IGNORECASE,
)
UNITS = {"s": 1.0, "se": 1.0, "mi": 60.0, "ms": 0.001}
MAX_TIMEOUT = 86_400.0
WORD_NUMBERS = {
    "once": "1 times",
    "twice": "2 times",
    "three times": "3 times",
    "five times": "5 times",
}


def read_prose(text: str, node_type: NodeType | None = None, *, sure_only: bool = False) -> Reading:
    """Everything that a text in plain English says about a node of a type.

    `sure_only`: the text describes a contract that has its own fields, so that only words which
    cannot mean anything else name some.
    """
    cut = LONG_WORD.sub(r"\1 ", text[:MAX_PROSE])
    reading = Reading(text=" ".join(cut.lower().split()), sure_only=sure_only, node_type=node_type)
    if len(text) > MAX_PROSE:
        reading.warnings.append(
            f"only the first {MAX_PROSE:,} characters of the description were read"
        )
    rest = _read_sections(INLINE_SECTION.sub("\n", cut), reading)
    for sentence in sentences(rest):
        _read_sentence(sentence, reading)
    reading.output_fields = reading.output_fields or reading.computed_fields
    _add_choices(rest, reading)
    _read_name(cut, rest, reading, node_type)
    told = bare_text(rest, reading.class_name) or bare_text(cut, "")
    reading.description, reading.summary = printable(told, MAX_DESCRIPTION), summarise(told)
    _read_policies(reading)
    reading.machine = reading.machine or read_machine(cut)
    reading.steps = reading.steps or read_steps(cut, sure_only=sure_only)
    if not sure_only:
        reading.intents = reading.intents or read_intents(cut)
    return reading


def _add_choices(text: str, reading: Reading) -> None:
    """Inputs that are named only by what they may be."""
    known = [*reading.input_fields, *reading.output_fields, *reading.state_fields]
    for found in ONE_OF.finditer(text) if not reading.sure_only else ():
        parsed = parse_field(f"{found['name']} ({found['choice']})")
        if parsed and parsed.type.base == "enum" and parsed.name not in {f.name for f in known}:
            add_field(reading.input_fields, parsed)


def _read_sections(text: str, reading: Reading) -> str:
    """Reads the sections and gives back the rest of the text."""
    rest: list[str] = []
    kind, body = "", list[str]()
    for line in [*text.splitlines(), ""]:
        found = SECTION.match(line) or HEADING.match(line)
        if found:
            _read_section(kind, body, reading)
            name = found.group("name").lower().removeprefix("node ").split()[0]
            kind = "machine" if name == "states" else KINDS[name.removesuffix("s")]
            after = found.groupdict().get("rest") or ""
            body = [after] if after.strip() else []
        elif kind and (BULLET.match(line) or (line.strip() and not body) or line.startswith("  ")):
            body.append(line)
        elif body or line.strip():
            _read_section(kind, body, reading)
            kind, body = "", []
            rest.append(line)
        elif not kind:
            rest.append(line)
    _read_section(kind, body, reading)
    return "\n".join(rest)


def _read_section(kind: str, body: list[str], reading: Reading) -> None:
    if not kind:
        return
    first, *more = body if body and not BULLET.match(body[0]) else ["", *body]
    sentence, after = _first_sentence(first)
    text = "\n".join([sentence, *more])
    if kind in {"input", "output", "state"}:
        reading.stated.add(kind)
        parts = sentence[:MAX_ZONE].split(";")
        items = (
            [ASIDE.sub(r"\1 - \2", part.strip()) for part in parts]
            if len(parts) > 1
            and all(len(list(_items(p))) == 1 or ASIDE.match(p.strip()) for p in parts)
            else _with_choices(_items(sentence[:MAX_ZONE]))
        )
        items += [BULLET.sub("", line) for line in more if line.strip()]
        _add_fields(kind, items, reading, exact=True)
    elif kind == "steps":
        reading.steps = read_steps(f"steps: {text}")
    elif kind == "machine":
        reading.machine = read_machine(f"states: {text}") or reading.machine
    elif kind == "intents":
        reading.intents = read_intents(f"intents: {text}")
    for each in sentences(after):
        _read_sentence(each, reading)


def _first_sentence(text: str) -> tuple[str, str]:
    """A section's own sentence, and what stands after it in its line."""
    found = re.search(r"\.\s+(?=[A-Z])", text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def _read_sentence(sentence: str, reading: Reading) -> None:
    """Cuts a sentence at the words that take or return, and reads what stands between."""
    marks = [
        m
        for m in TRIGGER.finditer(sentence)
        if sentence[: m.start()].count("(") == sentence[: m.start()].count(")")
    ]
    for index, mark in enumerate(marks):
        end = marks[index + 1].start() if index + 1 < len(marks) else len(sentence)
        zone = sentence[mark.end() : end]
        kind = mark.lastgroup or ""
        if index + 1 < len(marks):
            zone = LOOSE_END.sub("", zone)
        if reading.sure_only and not SURE.match(mark.group(0)):
            continue
        if OF_EVENT.match(mark.group(0)) and reading.node_type not in {None, "Reducer"}:
            continue
        _read_zone(kind, TAIL.sub("", zone), reading)


def _read_zone(kind: str, zone: str, reading: Reading) -> None:
    if ZONE_KINDS.get(kind) in reading.stated:
        return
    items = _listed(_with_choices(_items(zone[:MAX_ZONE])))
    if kind == "takes":
        _add_fields("input", items, reading, exact=True)
    elif kind == "returns":
        _add_fields("output", items, reading, exact=True)
    elif kind == "keeps":
        _add_fields("state", items, reading, exact=len(items) > 1)
    elif kind == "computes":
        _add_fields("computed", items, reading, exact=True)
    elif kind == "may_take":
        spelled = any(SPELLED.search(item) for item in items)
        short = all(len(ARTICLES.sub("", item).split()) <= 2 for item in items)
        _add_fields("input", items, reading, exact=spelled and (short or len(items) > 1))


def _listed(items: list[str]) -> list[str]:
    """The items up to the next verb, without the word that announces them (`differences: added, ...`)."""
    ends = next((i for i, item in enumerate(items) if i and VERB.match(item)), len(items))
    kept = [item for item in items[:ends] if not CLAUSE.search(item)]
    head, colon, first = kept[0].partition(": ") if len(kept) > 1 else ("", "", "")
    announced = colon and "(" not in kept[0] and type_of_phrase(first) is None
    return [first, *kept[1:]] if announced and is_plural(head.split()[-1]) else kept


def _items(zone: str) -> Iterator[str]:
    """The parts of an enumeration in words; commas and `and` inside brackets do not part."""
    depth = start = index = 0
    text = f"{zone}, "
    while index < len(text):
        char = text[index]
        depth += (char in "([{") - (char in ")]}")
        gap = GAP.match(text, index)
        if gap and depth <= 0 and not _inside_choice(text[start:index][-MAX_ITEM:]):
            if text[start:index].strip():
                yield text[start:index].strip()
            start = index = gap.end()
            depth = 0
        else:
            index += 1
    if text[start:].strip(" ,"):
        yield text[start:].strip(" ,")


def _with_choices(items: Iterator[str]) -> list[str]:
    """The items; a choice that stands alone is of the one before: `level, one of low, high`."""
    found: list[str] = []
    for item in items:
        if found and "(" not in found[-1] and re.match(r"(?:one of|either)\b", item):
            found[-1] = f"{found[-1]} ({item})"
        else:
            found.append(item)
    return found


def _inside_choice(item: str) -> bool:
    """Whether the item is an open `one of a, b or c`, or a `product of a` that waits for its `and b`."""
    if re.search(r"\b(?:sum|product|difference|quotient|ratio)\s+(?:of|between)\s+\S+$", item):
        return True
    return bool(re.search(r"\bone of\s+[^)]*$", item)) and not re.search(r"\bor\s+\S+\s*$", item)


def _add_fields(kind: str, items: list[str], reading: Reading, *, exact: bool) -> None:
    target = {
        "input": reading.input_fields, "output": reading.output_fields,
        "state": reading.state_fields, "computed": reading.computed_fields,
    }[kind]  # fmt: skip
    shared: FieldType | None = None
    for item in items:
        if not exact and not re.search(r"[a-z0-9]_[a-z0-9]|`\w+`", item):
            continue
        several = SEVERAL.match(item)
        if several:
            shared = type_of_phrase(f"list of {several.group('what')}")
        parsed = parse_field(several.group("name") or "" if several else item[:MAX_ITEM])
        if parsed is None or set(parsed.name.split("_")) <= _no_fields(kind):
            continue
        if (
            shared is not None
            and shared.item is not None
            and parsed.type == type_of_name(parsed.name)
        ):
            parsed = replace(parsed, type=shared.item)
        add_field(target, parsed)


def _no_fields(kind: str) -> frozenset[str]:
    """Words that name no field; an error may well be given back."""
    return NOT_FIELDS - {"error", "errors"} if kind in {"output", "state"} else NOT_FIELDS


def add_field(target: list[FieldSpec], parsed: FieldSpec) -> None:
    """Adds a field unless one of that name, a correlation id, or too many are there."""
    if (
        parsed.name != "correlation_id"
        and len(target) < MAX_FIELDS
        and all(f.name != parsed.name for f in target)
    ):
        target.append(parsed)


def _read_name(text: str, rest: str, reading: Reading, node_type: NodeType | None) -> None:
    reading.name, reading.class_name = own_name(text, node_type)
    reading.named = bool(reading.name)
    reading.name = reading.name or guess_name(rest if rest.strip() else text)


def _read_policies(reading: Reading) -> None:
    text = reading.text
    for word, spelled in WORD_NUMBERS.items():
        text = text.replace(word, spelled)
    limit = TIMEOUT.search(text)
    seconds = float(limit["number"]) * UNITS[limit["unit"][:2]] if limit else None
    found = RETRIES.search(text)
    if found:
        again = re.search(r"attempts", found.group(0)) is None
        reading.retry = Retry(max_attempts=min(10, int(found.group(1)[:3]) + again))
    elif re.search(r"\b(?:no|without|never) retr(?:y|ies)\b", text):
        reading.retry = Retry(max_attempts=1)
    if seconds and seconds < MAX_TIMEOUT:
        reading.retry = replace(reading.retry, timeout_seconds=seconds)
    reading.idempotent = not re.search(r"\b(?:not|non-?)\s?idempotent\b", text)
