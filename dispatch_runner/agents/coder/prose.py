"""Reading a contract in plain English.

Sections (`Inputs:`, `Outputs:`, `Steps:` ... with text or bullets) are read first; running
sentences then say what is taken and what is returned. What cannot be told is left out and said.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from dispatch_runner.agents.coder.fields import ARTICLES, parse_field
from dispatch_runner.agents.coder.machine import read_intents, read_machine, read_steps
from dispatch_runner.agents.coder.spec import NODE_TYPES, FieldSpec, FieldType, Reading, Retry
from dispatch_runner.agents.coder.types import type_of_name, type_of_phrase
from dispatch_runner.agents.coder.words import base_verb, is_plural, pascal, printable, words_of

MAX_FIELDS = 64
MAX_PROSE = 12_000
MAX_ZONE = 4_000
MAX_ITEM = 400

SECTIONS = (
    r"(?P<name>(?:node )?(?:inputs?|request|parameters|arguments|event(?: fields)?|outputs?|returns|results?|"
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
    r"(?<=[.;)\w])\s+(?=(?:Inputs?|Events?|Outputs?|Returns|Parameters|State|Steps|States|Transitions|Intents)\s*:)"
)
BULLET = re.compile(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+")
KINDS = {
    "input": "input", "request": "input", "parameter": "input", "argument": "input", "event": "input",
    "output": "output", "return": "output", "result": "output", "response": "output",
    "state": "state", "step": "steps", "workflow": "steps", "transition": "machine", "intent": "intents",
}  # fmt: skip

TAKES = (
    r"takes?(?: in)?|taking|(?:compare|merge|combine|join|multiply|add|subtract|divide)s?(?= (?:two|both|three)\b)|"
    r"accepts?|accepting|given|"
    r"with (?:the )?(?:inputs?|parameters|arguments|fields)|(?:the )?(?:inputs?|parameters|request|events?) "
    r"(?:is|are|has|have|carr(?:y|ies)|contains?|includes?)"
)
MAY_TAKE = r"with|supports?|supporting|receives?|receiving|requires?|expects?"
"""Words after which fields may stand; what stands there has to look like fields."""
ELSE = r"using|from|by|for|reports?"
"""Words that end an enumeration."""
RETURNS = (
    r"returns?|returning|outputs?|outputting|produces?|producing|yields?|yielding|responds? with|"
    r"responding with|gives?(?: back)?|(?:the )?(?:output|response|result) (?:is|are|has|"
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
    r"^(?!status|address)[a-z]+[^s\W]s (?!\w+(?:ed|en)\b)[a-z]+"
)
"""An item that is another clause: `posts to the API`, `executes it`, `routes matching events`."""
CLAUSE = re.compile(r"^(?!whether)[^(:]*\b(?:has|have|is|are|was|were|does|shows)\b")
SPELLED = re.compile(r"[a-z0-9]_[a-z0-9]|`\w+`|\w \(.*\)")
"""An item with a name in code's spelling, or with notes in brackets."""
SURE = re.compile(r"tak|accept|given|(?:the )?inputs?|return|output", re.IGNORECASE)
"""Triggers that speak of fields even in the prose of a contract."""
SEVERAL = re.compile(
    r"^(?:two|three|four|both) (?P<what>(?:\w+ )??\w+s)(?::? (?P<name>\w+))?$", re.IGNORECASE
)
"""`two numbers`, `two numbers a`: the type of what is named after it."""
LOOSE_END = re.compile(r"(?:,?\s*(?:and |then )*\b[a-z]+s it\b)?(?:,|\band\b|\bthen\b|\bit\b|\s)+$")
"""What joins a zone to the next clause: `, executes it, and`."""
NAMED = re.compile(
    r"\b(?:named|called|name is|name:)\s+[`'\"]?([A-Za-z_][A-Za-z0-9_-]*)", re.IGNORECASE
)
CLASS = re.compile(r"\bNode[A-Z][A-Za-z0-9]+(?:" + "|".join(NODE_TYPES) + r")\b")
SNAKE = re.compile(r"\bnode_[a-z0-9_]+_(?:effect|compute|reducer|orchestrator)\b")
GAP = re.compile(r",\s*(?:and |or )?|\s+(?:and|as well as|plus|along with)\s+")
RETRIES = re.compile(
    r"\b(?:retr(?:y|ies|ied|ying)[^.;]{0,30}?(?:up to|at most)?|up to|at most)\s+(\d+)\s*(?:times|retries|attempts)",
    re.IGNORECASE,
)
WORD_NUMBERS = {
    "once": "1 times",
    "twice": "2 times",
    "three times": "3 times",
    "five times": "5 times",
}


def read_prose(text: str, *, sure_only: bool = False) -> Reading:
    """Everything that a text in plain English says about a node.

    `sure_only`: the text describes a contract that has its own fields, so that only words which
    cannot mean anything else name some.
    """
    cut = LONG_WORD.sub(r"\1 ", text[:MAX_PROSE])
    reading = Reading(text=" ".join(cut.lower().split()), sure_only=sure_only)
    if len(text) > MAX_PROSE:
        reading.warnings.append(
            f"only the first {MAX_PROSE:,} characters of the description were read"
        )
    rest = _read_sections(INLINE_SECTION.sub("\n", cut), reading)
    for sentence in _sentences(rest):
        _read_sentence(sentence, reading)
    reading.description = printable(CLASS.sub("", rest.strip(), count=1).strip(" :.-") or cut, 600)
    reading.output_fields = reading.output_fields or reading.computed_fields
    _read_name(cut, rest, reading)
    _read_policies(reading)
    reading.machine = reading.machine or read_machine(cut)
    reading.steps = reading.steps or read_steps(cut)
    reading.intents = reading.intents or read_intents(cut)
    return reading


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
        items = list(_items(sentence[:MAX_ZONE]))
        items += [BULLET.sub("", line) for line in more if line.strip()]
        _add_fields(kind, items, reading, exact=True)
    elif kind == "steps":
        reading.steps = read_steps(f"steps: {text}")
    elif kind == "machine":
        reading.machine = read_machine(f"states: {text}") or reading.machine
    elif kind == "intents":
        reading.intents = read_intents(f"intents: {text}")
    for each in _sentences(after):
        _read_sentence(each, reading)


def _first_sentence(text: str) -> tuple[str, str]:
    """A section's own sentence, and what stands after it in its line."""
    found = re.search(r"\.\s+(?=[A-Z])", text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def _sentences(text: str) -> Iterator[str]:
    for part in re.split(r"(?<=[.!?])\s+(?=[A-Z`])|\n\s*\n|;\s+|\n(?=\s*[-*]\s)", text):
        if part.strip():
            yield " ".join(part.split()).rstrip(".")


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
        _read_zone(kind, TAIL.sub("", zone), reading)


def _read_zone(kind: str, zone: str, reading: Reading) -> None:
    items = _listed(list(_items(zone[:MAX_ZONE])))
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
        if parsed is None or set(parsed.name.split("_")) <= NOT_FIELDS:
            continue
        if (
            shared is not None
            and shared.item is not None
            and parsed.type == type_of_name(parsed.name)
        ):
            parsed = replace(parsed, type=shared.item)
        add_field(target, parsed)


def add_field(target: list[FieldSpec], parsed: FieldSpec) -> None:
    """Adds a field unless one of that name, a correlation id, or too many are there."""
    if (
        parsed.name != "correlation_id"
        and len(target) < MAX_FIELDS
        and all(f.name != parsed.name for f in target)
    ):
        target.append(parsed)


def _read_name(text: str, rest: str, reading: Reading) -> None:
    found = CLASS.search(text) or SNAKE.search(text)
    named = NAMED.search(text)
    reading.named = bool(found or named)
    if found:
        reading.class_name = found.group(0) if found.group(0).startswith("Node") else ""
        reading.name = strip_name(found.group(0))
    elif named:
        reading.name = strip_name(named.group(1))
    else:
        reading.name = guess_name(next(iter(_sentences(rest)), text))


def strip_name(text: str) -> str:
    """`node_web_page_fetch_effect`, `NodeWebPageFetchEffect` and `web-page-fetch` give `WebPageFetch`."""
    words = words_of(text)
    while len(words) > 1 and words[0].lower() in {"node", "onex"}:
        words = words[1:]
    types = {name.lower() for name in NODE_TYPES}
    while len(words) > 1 and words[-1].lower() in {*types, "node", "generic"}:
        words = words[:-1]
    return pascal(" ".join(words)) if words else ""


LEAD = re.compile(
    r"^(?:(?:please|create|generate|write|build|implement|make|we|i|need|add)\s+){0,4}"
    r"(?:an? |the )?(?:onex )?(?P<before>[\w /-]{0,80}?)\b(?:(?:effect|compute|reducer|orchestrator)(?: node)?|node)\b"
    r"(?:\s*(?:that|which|to|for|:|-|\u2013|\u2014|,)\s*|\s+)?(?P<after>.*)$",
    re.IGNORECASE,
)
PARTICLES = frozenset({
    "a", "an", "the", "its", "their", "this", "that", "which", "and", "or", "of", "to", "into",
    "from", "in", "on", "over", "by", "with", "for", "via", "using", "all", "each", "every",
    "any", "as", "at", "it", "is", "are", "be", "onex", "node", "new", "given", "some", "simple",
    "generic", "implementing", "performing", "two", "three",
})  # fmt: skip
MANAGING = frozenset({"orchestrate", "coordinate", "manage", "run", "execute", "perform", "handle"})
"""Verbs that say no more than the node type does."""
STOP = re.compile(
    r"\b(?:with|using|from|into|over|via|by|and|then|in|to|for|that|which|given|where|when|through|against|on)\b|[,:;(.]",
    re.IGNORECASE,
)


def guess_name(sentence: str) -> str:
    """A name from what the sentence says the node is or does; empty when it says nothing."""
    found = LEAD.match(sentence)
    if not found:
        return _name_of(sentence)
    before = [word for word in words_of(found.group("before")) if word.lower() not in PARTICLES]
    if before and not re.match(r"(?:that|which)\b", found.group("before")):
        return pascal(" ".join(before[-4:]))
    return _name_of(found.group("after"))


def _name_of(clause: str) -> str:
    """Verb and object of a clause: `fetches a web page over HTTP` gives `FetchWebPage`."""
    parts = [part for part in STOP.split(clause) if words_of(part)]
    if not parts:
        return ""
    words = [word for word in words_of(parts[0]) if word.lower() not in PARTICLES]
    if words and base_verb(words[0]) in {"take", "accept", "receive", "return", "give", "expect"}:
        return ""
    if len(words) == 1 and len(parts) > 1:
        words += [word for word in words_of(parts[1]) if word.lower() not in PARTICLES][:2]
    if words and words[0].lower().endswith("s") and is_plural(words[0].lower()) and len(words) > 1:
        words[0] = base_verb(words[0])
    if len(words) > 1 and base_verb(words[0]) in MANAGING:
        words = words[1:]
    return pascal(" ".join(words[:4])) if words else ""


def _read_policies(reading: Reading) -> None:
    text = reading.text
    for word, spelled in WORD_NUMBERS.items():
        text = text.replace(word, spelled)
    found = RETRIES.search(text)
    if found:
        again = re.search(r"attempts", found.group(0)) is None
        reading.retry = Retry(max_attempts=min(10, int(found.group(1)[:3]) + again))
    elif re.search(r"\b(?:no|without|never) retr(?:y|ies)\b", text):
        reading.retry = Retry(max_attempts=1)
    reading.idempotent = not re.search(r"\b(?:not|non-?)\s?idempotent\b", text)
