"""Reading workflows: an orchestrator's steps, a reducer's states, transitions and intents."""

import re

from dispatch_runner.agents.coder.spec import IntentRule, Machine, Step, Transition
from dispatch_runner.agents.coder.words import base_verb, identifier, words_of

MAX_STEPS = 50
ARROW = re.compile(r"\s*(?:->|→|=>|-->)\s*")
WORD = r"[A-Za-z][\w-]*"
WORDS = rf"{WORD}(?: {WORD}){{0,2}}"
CHAIN = re.compile(rf"(?:(?:^|(?<=[:.;]))\s*{WORDS}|{WORD})(?:\s*(?:->|→|=>|-->)\s*{WORDS})+")
ALONGSIDE = re.compile(r"\b(?:parallel|same time|concurrently|simultaneously)\b", re.IGNORECASE)
TOLD = re.compile(rf"^(?P<step>{WORDS})\s*:\s+(?P<rest>\S.*)$")
STEPS = re.compile(
    r"\b(?:steps?|stages?|phases?|workflow)\s*(?:are|is|in order)?\s*:\s*(?P<what>.+)$",
    re.IGNORECASE | re.DOTALL,
)
SEQUENCE = re.compile(
    r"\b(?:coordinates?|runs?|orchestrates?|executes?|chains?|sequences?|calls?|performs?)\s+(?P<what>[^.\n]+)",
    re.IGNORECASE,
)
ORDERED = re.compile(
    r"\b(?:first|then|next|finally|afterwards|after that|lastly|(?:second|third|fourth|fifth)(?:ly)?(?=,))\b[,]?\s*",
    re.IGNORECASE,
)
NUMBERED = re.compile(r"(?:^|[\s;])(?:\d+[.)]|\(\d+\))\s+")
SPLIT = re.compile(
    r",\s*(?:and\s+)?(?:then\s+|finally\s+)?|;\s*(?:and\s+)?|\s+and\s+then\s+|\s+then\s+|\s+and\s+(?:finally\s+)?|\n\s*(?:[-*]|\d+[.)])\s*"
)
TAIL = re.compile(
    r"\b(?:under|with(?! Node[A-Z])|using(?! Node[A-Z])|while|returning|returns?|in (?:order|sequence|parallel)|before|for each|when|if|takes?|accepts?)\b.*$",
    re.IGNORECASE | re.DOTALL,
)
AFTER = re.compile(
    r"^(?P<step>.+?)\s*\(?\b(?:after|depends on|needs)\s+(?P<needs>[^()]+)\)?$", re.IGNORECASE
)
NEEDS = re.compile(r"^[\s,]*(?:after|depends on|needs)\s+(?P<needs>[^()]+)$", re.IGNORECASE)
PARTICLES = frozenset({
    "a", "an", "the", "its", "their", "this", "that", "of", "to", "into", "from", "in", "on",
    "and", "with", "it", "then", "first", "finally", "step",
})  # fmt: skip

TARGET = re.compile(
    r"\s*(?:\b(?:with|via|using|by|through|on|in|calling)\s+(?:the\s+)?)?[(`]*(?P<node>Node[A-Z]\w+)[)`]*"
)
MENTIONED = re.compile(r"\b(?P<node>Node(?P<name>[A-Z]\w+?)(?:Effect|Compute|Reducer))\b")
BULLETS = re.compile(r"\n\s*(?:[-*]|\d+[.)])\s*")
TRANSITION = re.compile(
    rf"\b(?P<source>{WORD}|\*)\s*(?:->|→|=>|-->)\s*(?P<target>{WORD})\s*(?:\(?\s*(?:on|when|upon|by|via)\s+(?:an?\s+|the\s+)?[`'\"]?(?P<trigger>{WORD})|:\s*(?P<label>{WORD}))"
)
FROM_TO = re.compile(
    rf"\b(?:moves?|goes|go|transitions?|changes?)?\s*from\s+[`'\"]?(?P<source>{WORD})[`'\"]?(?:\s+state)?\s+to\s+(?:the\s+)?[`'\"]?(?P<target>{WORD})[`'\"]?(?:\s+state)?\s+"
    rf"(?:on|when|upon|by)\s+(?:an?\s+|the\s+)?[`'\"]?(?P<trigger>{WORD})",
    re.IGNORECASE,
)
BECOMES = re.compile(
    rf"\b(?P<source>{WORD})\s+(?:becomes|turns into|goes to|moves to|changes to)\s+(?P<target>{WORD})\s+"
    rf"(?:on|when|upon|by)\s+(?:an?\s+|the\s+)?[`'\"]?(?P<trigger>{WORD})",
    re.IGNORECASE,
)
INTENT = re.compile(
    rf"\bemits?\s+(?:an?\s+|the\s+)?[`'\"]?(?:(?P<name>{WORD}(?:\s{WORD})?)[`'\"]?\s+intents?|(?P<spelled>[a-z]+_\w+)[`'\"]?(?=\s+(?:when|if|once|on)\b))(?P<rest>(?:[^.;\n]|\.(?=\d)){{0,200}})",
    re.IGNORECASE,
)
INTENT_LIST = re.compile(
    r"\bintents\s*:\s*(?P<what>[^.\n]{1,2000}(?:\n\s*[-*][^\n]+)*)", re.IGNORECASE
)
CONDITION = re.compile(
    r"\b(?:when|if|once|as soon as)\s+(?:the\s+)?[`'\"]?(?P<field>[a-z][\w ]{0,40}?)[`'\"]?\s+(?:is\s+|has\s+)?"
    r"(?P<operator>reaches|reached|exceeds|(?:rises |goes )?above|greater than|more than|over|at least|>=|>|(?:falls |drops |goes )?below|"
    r"less than|under|at most|<=|<|equals|equal to|==)\s+(?:the\s+)?[`'\"]?(?P<value>-?\d+(?:\.\d+)?|[a-z]\w*)",
    re.IGNORECASE,
)
WHEN = re.compile(
    r"\b(?:when|if|once|on|upon|after|as soon as|whenever|unless|for)\b.*$", re.IGNORECASE
)
OPERATORS = {
    "reaches": ">=", "reached": ">=", "at least": ">=", ">=": ">=", "exceeds": ">", "above": ">", "greater than": ">",
    "more than": ">", "over": ">", ">": ">", "below": "<", "less than": "<", "under": "<", "<": "<", "at most": "<=",
    "<=": "<=", "equals": "==", "equal to": "==", "==": "==",
}  # fmt: skip


def read_steps(text: str, *, sure_only: bool = False) -> list[Step]:
    """The steps of a workflow, in order, each needing the one before unless the text says otherwise.

    `sure_only`: the text describes a contract, so that only `first ..., then ...` tells steps.
    """
    if sure_only:
        told = _in_sentence(text) if len(ORDERED.findall(text)) > 1 else []
        return _linked([part for part in told if words_of(part)][:MAX_STEPS])
    text = re.sub(r"(->|→)\s*\(([\w ]+)\)", r"\1 \2", text)
    listed = STEPS.search(text)
    chain = max(CHAIN.findall(text), key=len, default="")
    if listed and not ARROW.search(listed.group("what")):
        what = _first_part(listed.group("what"))
        parts = BULLETS.split(what) if what.startswith("\n") else SPLIT.split(_joined(what))
    elif len(ARROW.split(chain)) > 1:
        parts = [TAIL.sub("", part) for part in ARROW.split(chain)]
    elif len(NUMBERED.split(text)) > 2:
        parts = [re.split(r"[.;\n]", part)[0] for part in NUMBERED.split(text)[1:]]
    else:
        parts = _in_sentence(text)
    linked = _linked([part for part in parts if words_of(part)][:MAX_STEPS])
    return linked or _of_mentions(text)


def _joined(text: str) -> str:
    """The text with what stands in brackets kept from being split: `(after a, b and c)`."""
    return re.sub(
        r"\([^()]{0,400}\)",
        lambda found: re.sub(r",\s*(?:and\s+)?|\s+and\s+", " & ", found[0]),
        text,
    )


def _of_mentions(text: str) -> list[Step]:
    """A step for each node that is mentioned, in that order; those of a clause in parallel side by side."""
    steps: dict[str, Step] = {}
    before: tuple[str, ...] = ()
    for clause in re.split(r"[.;]", text):
        group = list[str]()
        for found in MENTIONED.finditer(clause):
            name = identifier(found["name"])
            if name in steps or len(steps) == MAX_STEPS:
                continue
            beside = ALONGSIDE.search(clause) or not group
            steps[name] = Step(name, "", found["node"], before if beside else (group[-1],))
            group.append(name)
        if group:
            before = tuple(group) if ALONGSIDE.search(clause) else (group[-1],)
    return list(steps.values()) if len(steps) > 1 else []


def _first_part(text: str) -> str:
    """A list up to the end of its sentence or, with bullets, of its lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        kept = [line for line in lines if re.match(r"\s*(?:[-*]|\d+[.)])\s", line)]
        return "\n" + "\n".join(kept) if kept else lines[0]
    stripped = NUMBERED.sub("; ", " " + text)
    return re.split(r"\.(?:\s|$)", stripped)[0]


def _in_sentence(text: str) -> list[str]:
    """Steps in running text: `first a, then b, and finally c`, `runs a, b and c in order`."""
    if len(ORDERED.findall(text)) > 1:
        sentence = (
            next(s for s in re.split(r"\.\s|\n\n", text) if ORDERED.search(s))
            if ORDERED.search(text)
            else text
        )
        found = ORDERED.search(sentence)
        start = found.start() if found else 0
        return [TAIL.sub("", part) for part in SPLIT.split(ORDERED.sub(", ", sentence[start:]))]
    for found in SEQUENCE.finditer(text):
        what = found.group("what")
        colon = what.partition(":")[2]
        parts = [TAIL.sub("", part) for part in SPLIT.split(colon or TAIL.sub("", what))]
        if len(parts) > 1 or colon:
            return parts
    return []


def _linked(parts: list[str]) -> list[Step]:
    steps: list[Step] = []
    for listed in parts:
        target, part = _target(listed)
        told = TOLD.match(part.strip())
        after = AFTER.match(told["rest"] if told else part.strip()) or (
            NEEDS.match(told["rest"]) if told else None
        )
        words = told["step"] if told else after.group("step") if after else part
        name = _step_name(words)
        if not name or any(step.name == name for step in steps):
            continue
        before = [step.name for step in steps]
        stated = (
            [_step_name(need) for need in re.split(r"[,&]|\band\b", after.group("needs"))]
            if after
            else []
        )
        needs = [need for need in stated if need in before] or before[-1:]
        steps.append(
            Step(name, " ".join(listed.replace(" & ", ", ").split())[:200], target, tuple(needs))
        )
    return steps


def _target(part: str) -> tuple[str, str]:
    """The node that a step names, and the step without it: `fetches the page with NodePageFetchEffect`."""
    found = TARGET.search(part)
    return (found["node"], TARGET.sub("", part, count=1)) if found else ("", part)


def _step_name(text: str) -> str:
    """`validates the order` gives `validate_order`."""
    if re.fullmatch(r"\s*[a-z][a-z0-9]*(?:_[a-z0-9]+)+\s*", text):
        return identifier(text)
    words = [word.lower() for word in words_of(text) if word.lower() not in PARTICLES][:4]
    if not words:
        return ""
    if len(words) > 1:
        words[0] = base_verb(words[0])
    return identifier("_".join(words))


def read_machine(text: str) -> Machine | None:
    """States and transitions that a text spells, or null when it spells fewer than two states."""
    found = [*TRANSITION.finditer(text), *FROM_TO.finditer(text), *BECOMES.finditer(text)]
    transitions = tuple(
        Transition(
            "*" if match["source"] in {"*", "any", "Any"} else identifier(match["source"]),
            identifier(match["trigger"] or match.groupdict().get("label") or ""),
            identifier(match["target"]),
        )
        for match in found
    )
    named = [name for t in transitions for name in (t.source, t.target) if name != "*"]
    states = tuple(dict.fromkeys([*_listed_states(text), *named]))
    if len(states) < 2 or not transitions:
        return None
    initial = re.search(
        rf"\b(?:initial(?:ly)?(?: state)?(?: is|:)?|starts? (?:in|at|as))\s+[`'\"]?({WORD})",
        text,
        re.IGNORECASE,
    )
    first = identifier(initial.group(1)) if initial else states[0]
    sources = {t.source for t in transitions}
    final = tuple(state for state in states if state not in sources)
    return Machine(states, first if first in states else states[0], transitions, final)


def _listed_states(text: str) -> list[str]:
    found = re.search(r"\bstates?\s*(?:are|is)?\s*:\s*([^.\n;]+)", text, re.IGNORECASE)
    if not found or ARROW.search(found.group(1)):
        return []
    parts = re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s+or\s+", found.group(1))
    return [
        identifier(part) for part in parts if re.fullmatch(rf"[`'\"]?{WORD}[`'\"]?", part.strip())
    ]


def read_intents(text: str) -> list[IntentRule]:
    """The intents that a text names, with the condition where it is one comparison."""
    rules = [
        IntentRule(identifier(match["name"] or match["spelled"]), _condition(told), _when(told))
        for match in INTENT.finditer(text)
        for told in (_told(text[: match.start()], match["rest"]),)
    ]
    listed = INTENT_LIST.search(text)
    if listed and not rules:
        for part in re.split(r"\n\s*[-*]\s*|,\s*(?:and\s+)?|\s+and\s+", listed.group("what")):
            head = re.split(r"\b(?:when|if|once)\b|[:(]", part)[0]
            if 0 < len(words_of(head)) <= 4:
                rules.append(IntentRule(identifier(head), _condition(part), _when(part)))
    return list({rule.name: rule for rule in rules}.values())[:MAX_STEPS]


def _told(before: str, after: str) -> str:
    """Where the condition of an intent stands: after it, else at the start of its sentence."""
    start = re.split(r"(?:[.;]\s|\n)", before)[-1]
    return start if not WHEN.search(after) and WHEN.match(start.lstrip()) else after


def _when(text: str) -> str:
    """The words of a condition; empty when the text states none."""
    found = WHEN.search(text)
    return found.group(0).lower()[:200] if found else ""


def _condition(text: str) -> tuple[str, str, str] | None:
    found = CONDITION.search(text)
    if not found:
        return None
    operator = re.sub(r"^(?:falls|drops|goes|rises) ", "", found["operator"].lower())
    value = found["value"]
    return (
        identifier(found["field"]),
        OPERATORS[operator],
        value if value[0] in "-0123456789" else identifier(value),
    )
