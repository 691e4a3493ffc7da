"""What a node is called, and what it is for in one sentence: both from a text in plain English."""

import re
from collections.abc import Iterator, Sequence

from dispatch_runner.agents.coder.spec import NODE_TYPES, NodeType
from dispatch_runner.agents.coder.words import (
    base_verb,
    identifier,
    is_plural,
    pascal,
    printable,
    words_of,
)

MAX_NAME_WORDS = 4
_TYPES = "|".join(NODE_TYPES)
CLASS = re.compile(rf"\bNode[A-Z][A-Za-z0-9]*?(?P<type>{_TYPES})\b")
SNAKE = re.compile(rf"\bnode_[a-z0-9_]+_(?P<type>{_TYPES.lower()})\b")
NAMED = re.compile(
    r"\b(?:named|called|name is|name:)\s+(?P<quote>[`'\"]?)(?!(?:for|after|by|as|to|in|so|on|when|from|once|with|if|and|or|"
    r"it|the|an?|every|each)\b)(?P<name>[A-Za-z_][A-Za-z0-9_-]*)(?P<more>(?: [A-Za-z][A-Za-z0-9_-]*){0,3}(?=[`'\"]))?",
    re.IGNORECASE,
)
USED = re.compile(
    r"\b(?:with|via|through|using|from|to|into|before|after|calls?|runs?|uses?|coordinates?|orchestrates?|chains?|invokes?|"
    r"executes?|delegates?|dispatches|triggers?|then|and|like|than|hands?|steps?)\b[^.;:]*$",
    re.IGNORECASE,
)
"""Words after which a node is mentioned that the described one works with."""
ORDER = (
    r"(?:(?:please|create|generate|write|build|implement|make|design|we|i|need|want|add)\s+){0,4}"
)
PREFIXED = re.compile(r"\b(?:Model|Handler|Enum|Protocol|Service)([A-Z][A-Za-z0-9]+)\b")
START = re.compile(
    rf"^\W*{ORDER}(?:(?:an?|the)\s+)?(?:onex\s+)?(?:(?:{_TYPES}|node|class)\W*)*$", re.IGNORECASE
)
LEAD = re.compile(
    rf"^{ORDER}"
    r"(?:an? |the )?(?:onex )?(?P<before>[\w /-]{0,80}?)\b(?:(?:effect|compute|reducer|orchestrator)(?: node)?|node)\b"
    r"(?:\s*\((?:effect|compute|reducer|orchestrator)\))?"
    r"(?P<link>\s*(?:that|which|to|for|:|-|\u2013|\u2014|,)\s*|\s+)?(?P<after>.*)$",
    re.IGNORECASE,
)
HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+(?P<title>\S.*)$", re.MULTILINE)
PARTICLES = frozenset({
    "a", "an", "the", "its", "their", "this", "that", "which", "and", "or", "of", "to", "into",
    "from", "in", "on", "over", "by", "with", "for", "via", "using", "all", "each", "every",
    "any", "as", "at", "it", "is", "are", "be", "onex", "node", "new", "given", "some", "simple",
    "generic", "implementing", "performing", "two", "three", "pure", "stateless", "small",
    "declarative", "deterministic", "single", "one", "both", "here", "please",
})  # fmt: skip
MANAGING = frozenset({"orchestrate", "coordinate", "manage", "run", "execute", "perform", "handle"})
"""Verbs that say no more than the node type does."""
MOVING = frozenset({"turn", "convert", "transform", "fold", "map", "compile"})
"""Verbs whose result stands after `into`."""
SUBJECT = re.compile(r"^(?:It|This node|The node)\s+(?=[a-z]+s\b)")
GIVING = frozenset({"produce", "output", "take", "accept", "receive", "return", "give", "expect"})
STOP = re.compile(
    r"\b(?:with|using|from|into|over|via|by|and|then|in|to|for|that|which|how|whether|what|given|where|when|through|against|on)\b|[,:;(.]",
    re.IGNORECASE,
)
CALLED = re.compile(r"^\W*(?:called|named)\s+[`'\"]?[\w-]+[`'\"]?[\s,:]*", re.IGNORECASE)
NAMING = re.compile(r"\s+(?:called|named)\s+[`'\"]?[\w-]+[`'\"]?", re.IGNORECASE)
ORDERED = re.compile(rf"^{ORDER}(?:(?:an?|the)\s+)?", re.IGNORECASE)
MAX_SUMMARY = 240


def sentences(text: str) -> Iterator[str]:
    """The sentences, paragraphs and bullets of a text, each in one line without its full stop."""
    for part in re.split(
        r"(?<=[.!?])\s+(?=[A-Z`])|\n\s*\n|;\s+(?![^()]{0,200}\))|\n(?=\s*[-*]\s)", text
    ):
        if part.strip():
            yield " ".join(part.split()).rstrip(".")


def own_name(text: str, node_type: NodeType | None) -> tuple[str, str]:
    """The name that a text gives the node it describes, and the class when it spells it; or empty.

    Other nodes may be mentioned: those that the described one works with are not meant.
    """
    for found in [*CLASS.finditer(text), *SNAKE.finditer(text)]:
        before = re.split(r"[.!?]\s|\n", text[: found.start()])[-1]
        own = START.match(text[: found.start()]) or re.search(
            r"\b(?:named|called|class|name)\W{0,3}$", before, re.IGNORECASE
        )
        same = node_type is None or found["type"].lower() == node_type.lower()
        if own or (same and not USED.search(before)):
            spelled = found.group(0)
            return strip_name(spelled), spelled if spelled.startswith("Node") else ""
    named = NAMED.search(text)
    if named is None:
        return "", ""
    more = named["more"] or "" if named["quote"] else ""
    return strip_name(named["name"] + more), ""


def strip_name(text: str) -> str:
    """`node_web_page_fetch_effect`, `NodeWebPageFetchEffect` and `web-page-fetch` give `WebPageFetch`."""
    words = words_of(text)
    for leading in ("onex", "node"):
        if len(words) > 1 and words[0].lower() == leading:
            words = words[1:]
    types = {name.lower() for name in NODE_TYPES}
    for trailing in ({"node"}, {"generic"}, types):
        if len(words) > 1 and words[-1].lower() in trailing:
            words = words[:-1]
    return pascal(" ".join(words)) if words else ""


def respell(name: str, text: str) -> str:
    """The name with the capitals that the text's own class names give its words: `Llm` as in `ModelLLMRequest`."""
    spelled: dict[str, set[str]] = {}
    for found in CLASS.finditer(text):
        whole = found.group(0).removeprefix("Node").removesuffix(found["type"])
        if whole.lower() == name.lower():
            return whole
    for each in PREFIXED.findall(text):
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", each):
            spelled.setdefault(word.lower(), set()).add(word)
    words = [
        word.upper() if spelled.get(word.lower()) == {word.upper()} else word
        for word in words_of(name)
    ]
    return "".join(words)


def guess_name(text: str) -> str:
    """A name from what the first sentences say the node is or does; empty when they say nothing."""
    title = HEADING.search(text)
    body = HEADING.sub("", text)
    first = [*([title["title"].rstrip("# \t")] if title else []), *list(sentences(body))[:2]]
    return next((name for sentence in first if (name := _of_sentence(sentence))), "")


def _of_sentence(sentence: str) -> str:
    found = LEAD.match(sentence)
    if not found:
        return _of_clause(sentence)
    before = [word for word in words_of(found["before"]) if word.lower() not in PARTICLES]
    if before and not re.match(r"(?:that|which)\b", found["before"]):
        return pascal(" ".join(before[-MAX_NAME_WORDS:]))
    return _of_clause(found["after"])


def _of_clause(clause: str) -> str:
    """Verb and object of a clause: `fetches a web page over HTTP` gives `FetchWebPage`."""
    turned = re.match(r"(\w+)\b[^.;:]*?\binto (?P<what>.+)$", clause)
    if turned and base_verb(turned.group(1)) in MOVING:
        clause = turned["what"]
    parts = [part for part in STOP.split(clause) if words_of(part)]
    if not parts:
        return ""
    words = [word for word in words_of(parts[0].split(" of ")[0]) if word.lower() not in PARTICLES]
    if len(words) < 3:
        words = [word for word in words_of(parts[0]) if word.lower() not in PARTICLES]
    if words and base_verb(words[0]) in GIVING:
        return ""
    if len(words) == 1 and len(parts) > 1:
        more = [word for word in words_of(parts[1]) if word.lower() not in PARTICLES]
        another_verb = re.search(
            r"\band\s+$", clause[: clause.find(parts[1])]
        ) or clause.startswith(f"{parts[0]}and ")
        words += more[1:3] if another_verb and len(more) > 1 else more[:2]
    if words and words[0].lower().endswith("s") and is_plural(words[0].lower()) and len(words) > 1:
        words[0] = base_verb(words[0])
    if len(words) > 1 and base_verb(words[0]) in MANAGING:
        words = words[1:]
    return pascal(" ".join(words[:MAX_NAME_WORDS])) if words else ""


def name_of_fields(names: Sequence[str]) -> str:
    """A name of at most four words from those of fields: the last word that all share stands once."""
    split = [name.strip("_").split("_") for name in names[:3]]
    last = {words[-1] for words in split}
    shared = list(last) if len(split) > 1 and len(last) == 1 else []
    words = dict.fromkeys(word for each in split for word in (each[:-1] if shared else each))
    kept = [word for word in words if word not in shared][: MAX_NAME_WORDS - len(shared)]
    return pascal(" ".join([*kept, *shared])) if names else ""


def bare_text(text: str, class_name: str) -> str:
    """The text without headings and without the class name before it."""
    bare = HEADING.sub("", text).strip()
    before, found, after = bare.partition(class_name) if class_name else (bare, "", "")
    snake_first = SNAKE.match(bare)
    if snake_first:
        bare = bare[snake_first.end() :].strip(" :.-\u2013\u2014\n")
    elif found and START.match(before):
        bare = after.strip(" :.-\u2013\u2014\n")
    return bare


def summarise(description: str) -> str:
    """The first sentence that says what the node does, without the order to write it."""
    for each in sentences(description):
        sentence = re.sub(r":\s+(?:[^:]*(?:->|\u2192)|\(?1[.)]\s).*$", "", each)
        if len(words_of(sentence)) < 2:
            continue
        found = LEAD.match(sentence)
        giving = base_verb((words_of(sentence) or [""])[0]) in GIVING
        if found is None and not giving:
            return printable(SUBJECT.sub("", sentence), MAX_SUMMARY)
        if found is None or giving:
            continue
        after = CALLED.sub("", found["after"])
        clause = re.sub(r"^(?:that|which)\s+", "", after)
        linked = clause != after or (found["link"] or "").strip().lower() in {"that", "which"}
        if linked and not re.match(r"(?:that|which)\b", found["before"]):
            return printable(clause, MAX_SUMMARY)
        if after:
            return printable(ORDERED.sub("", NAMING.sub("", sentence)), MAX_SUMMARY)
    first = next(sentences(description), "")
    bare = re.sub(r":\s.*$", "", NAMING.sub("", first))
    telling = (
        {word.lower() for word in words_of(bare)} - PARTICLES - {t.lower() for t in NODE_TYPES}
    )
    return printable(bare if telling else description, MAX_SUMMARY)


def snake(name: str) -> str:
    """`WebPageFetch` as `web_page_fetch`."""
    return identifier(name).strip("_")
