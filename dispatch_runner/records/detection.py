"""Where in a text secrets stand. Loaded only for texts that the cheap test did not clear."""

import re
from collections.abc import Iterator

from dispatch_runner.records import formats, secret_names
from dispatch_runner.records.cheap_test import STARTS, WORDS

NEAR_WORDS = (
    r"(?:ke(?:y|n(?<=token))|pw|pass)(?:[^\n]{0,24}?[\"'][\w+/]{40}|(?:word|d)?[\"'\]]{0,3}[ :=>]+[\"']?[\w-]{24})"
    r"|uthorization[\"']?\s*[:=]|bearer\s|\.slack|ftlayer"
    r"|(?P<quoted>key(?:(?<=[ihetbv]key)|(?<=[ihetbv]_key))|pwd|c(?:ret(?<=secret)|ontrase)"
    r"|pass(?:w(?:or)?d|(?<=[bey]pass)|(?<=[bey]_pass)))"
)
"""`WORDS`, with what must stand near the word; `quoted` needs a quote in its line besides."""

QUOTE = re.compile("[\"'`]")

PIECE = 2_048
OVERLAP = 512
"""Long lines are searched in overlapping pieces, so that the time grows with their length only."""

TOKEN_END = re.compile(r"[\w+/=.~-]*")
AUTHORIZATION = re.compile(
    r"(?i)(?:\bbearer\s+|authorization[\"']?\s*[:=]\s*[\"']?(?:[\w-]+\s+)?)([\w+/=.~-]{8,})"
)
PEM_BEGIN = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d"
)
PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|Private-MAC: *[0-9a-f]+")
PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s\\]*")
LONGEST_PEM = 32 * 1024

Span = tuple[int, int, str]
"""Start, end, and the kind of secret between them."""


_STARTS = re.compile(STARTS)
_WORDS = re.compile(WORDS)
_NEAR_WORDS = re.compile(NEAR_WORDS)


def redacted(text: str) -> str:
    """The text with every secret replaced; the text itself when there is none."""
    if "PRIVATE KEY" in text or "PuTTY-User-Key" in text:
        text = replace(text, list(_private_keys(text)))
    text = replace(text, list(formats.find(text)))
    return replace(text, list(_secrets(text)))


def may_hold_secret(text: str) -> bool:
    """Whether a rule of the library could match. False is certain, true is a guess."""
    return next(_suspicious_lines(text), None) is not None


def _suspicious_lines(text: str) -> Iterator[tuple[int, int]]:
    """Bounds of the lines that may hold a secret."""
    return formats.lines_at(text, _hits(text))


def _hits(text: str) -> Iterator[int]:
    for match in _STARTS.finditer(text):
        yield match.start()
    lower = formats.lowered(text)
    if not _WORDS.search(lower):
        return
    unquoted = -1
    for match in _NEAR_WORDS.finditer(lower):
        position = match.start()
        if match["quoted"] is None:
            yield position
        elif position > unquoted:
            end = formats.line_end(text, position)
            if QUOTE.search(text, text.rfind("\n", 0, position) + 1, end):
                yield position
            unquoted = end


def mark(kind: str) -> str:
    """What stands in the place of a secret."""
    return f"[redacted:{re.sub(r'[^A-Za-z0-9_]+', '-', kind).strip('-')}]"


def replace(text: str, spans: list[Span]) -> str:
    """The text with every span replaced by its mark; of spans that overlap, one mark remains."""
    if not spans:
        return text
    parts: list[str] = []
    done = 0
    for start, end, kind in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= done:
            parts += (text[done:start], mark(kind))
        done = max(done, end)
    parts.append(text[done:])
    return "".join(parts)


def _private_keys(text: str) -> Iterator[Span]:
    """Whole private keys: to their end line, or, when they are cut, as far as the key's text goes.

    Of one whose beginning was cut off the rest is at the beginning of the text.
    """
    end = PEM_END.search(text)
    done = 0
    first = PEM_BEGIN.search(text)
    if end and not (first and first.start() < end.start()):
        body = PEM_BODY.match(text[max(0, end.start() - LONGEST_PEM) : end.start()][::-1])
        yield end.start() - (body.end() if body else 0), end.end(), "private-key"
    for begin in PEM_BEGIN.finditer(text):
        if begin.start() < done:
            continue
        while end and end.start() < begin.end():
            end = PEM_END.search(text, end.end())
        following = PEM_BEGIN.search(text, begin.end(), begin.end() + LONGEST_PEM)
        limit = following.start() if following else begin.end() + LONGEST_PEM
        if end and end.end() <= limit:
            done = end.end()
        else:
            body = PEM_BODY.match(text, begin.end())
            done = body.end() if body else begin.end()
        yield begin.start(), done, "private-key"


def _secrets(text: str) -> Iterator[Span]:
    """What the library's rules and the authorization headers find, line by line."""
    for line in _suspicious_lines(text):
        for start, end in _pieces(*line):
            piece = text[start:end]
            if end - start == PIECE and not may_hold_secret(piece):
                continue
            for found, stop, kind in _secrets_in_line(piece):
                whole = TOKEN_END.match(text, start + stop)
                yield start + found, whole.end() if whole else start + stop, kind


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    """A line, or, when it is long, parts of it that overlap."""
    while end - start > PIECE:
        yield start, start + PIECE
        start += PIECE - OVERLAP
    yield start, end


def _secrets_in_line(line: str) -> Iterator[Span]:
    from dispatch_runner.records import rules  # imports the library: 100 ms

    for match in AUTHORIZATION.finditer(line):
        if secret_names.is_mixed(match[1]):
            yield match.start(1), match.end(1), "authorization"
    yield from rules.find(line)
