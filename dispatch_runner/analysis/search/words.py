"""Words of code: identifiers taken apart, so that plain words find them."""

from __future__ import annotations

import re

MOST_WORDS = 32

_CAMEL = re.compile(r"\b[A-Za-z0-9_]*[a-z0-9][A-Z][A-Za-z0-9_]*\b|\b[A-Z]{2,}[a-z][A-Za-z0-9_]*\b")
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_WORD = re.compile(r"\w+")

STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "can",
        "do",
        "does",
        "for",
        "from",
        "has",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "its",
        "me",
        "of",
        "on",
        "or",
        "our",
        "show",
        "that",
        "the",
        "there",
        "this",
        "to",
        "us",
        "was",
        "we",
        "what",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "you",
        "your",
    ]
)


def identifier_parts(name: str) -> list[str]:
    """`parseHTTPHeader_v2` as `parse`, `HTTP`, `Header`, `v2`."""
    return [part for part in _HUMPS.split(name) if part]


def camel_words(text: str) -> str:
    """The parts of all identifiers in camel case, each identifier once. (The index takes snake case
    apart by itself.)"""
    names = dict.fromkeys(_CAMEL.findall(text))
    return " ".join(" ".join(identifier_parts(name)) for name in names)


def query_words(query: str) -> list[str]:
    """What to look for: each word and the parts of each identifier, lower case, the first 32.

    Words that say nothing are left out, unless there are no others.
    """
    words: dict[str, None] = {}
    for word in _WORD.findall(query.encode("utf-8", "replace").decode()):
        parts = identifier_parts(word)
        for each in [word, *parts] if len(parts) > 1 else [word]:
            words[each.lower()] = None
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or list(words))[:MOST_WORDS]
