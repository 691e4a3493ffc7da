"""The rules of `detect-secrets`, as spans in a line. Importing this costs 100 ms: do it late."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.keyword import KeywordDetector

from dispatch_runner.records.secret_names import looks_like_credential

LEFT_OUT = frozenset({"Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"})
"""They take digests, identifiers and addresses for secrets."""

AROUND = " \t\"'=:"

Span = tuple[int, int, str]


@cache
def detectors() -> tuple[Any, ...]:
    """The library's detectors, without those that guess."""
    classes: dict[str, Any] = get_mapping_from_secret_type_to_class()
    return tuple(c() for c in classes.values() if c.__name__ not in LEFT_OUT)


def find(line: str) -> Iterator[Span]:
    """Every secret in a line that a rule of the library knows."""
    for detector in detectors():
        if isinstance(detector, KeywordDetector):
            yield from _keyword(detector, line)
        elif isinstance(detector, RegexBasedDetector):
            yield from _regex(detector, line)


def _keyword(detector: Any, line: str) -> Iterator[Span]:
    """The detector reports its first finding only, so what follows it is searched again."""
    start = 0
    while values := list(detector.analyze_string(line[start:])):
        spans = [(at, at + len(v)) for v in values if (at := line.find(v, start)) >= 0]
        yield from (
            (*span, "secret") for span in spans if looks_like_credential(line[slice(*span)])
        )
        start = min(end for _, end in spans)


def _regex(detector: Any, line: str) -> Iterator[Span]:
    """The rule's own places; the detector's own second look (as for JWTs) decides which count."""
    confirmed: set[str] | None = None
    if type(detector).analyze_string is not RegexBasedDetector.analyze_string:
        confirmed = set(detector.analyze_string(line))
    for pattern in detector.denylist:
        for match in pattern.finditer(line):
            if confirmed is None or match[0] in confirmed:
                yield (*_secret_part(match), _kind(detector))


def _secret_part(match: re.Match[str]) -> tuple[int, int]:
    """The last group that reaches the end of the match, but for a quote or `@`; else all of it.

    Rules group what they capture, as in `key="(...)"`, but also what a token starts with. What
    they match around a token, to be sure that it ends there, is not part of it.
    """
    start, end = match.span()
    for group in range(match.re.groups, 0, -1):
        if match.start(group) >= 0 and match.end() - match.end(group) <= 2:
            start, end = match.span(group)
            break
    text = match.string[start:end]
    return start + len(text) - len(text.lstrip(AROUND)), end - len(text) + len(text.rstrip(AROUND))


def _kind(detector: Any) -> str:
    return str(detector.secret_type).lower()
