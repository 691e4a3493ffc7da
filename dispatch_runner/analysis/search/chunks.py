"""A text in pieces that are worth showing: definitions and sections, by their lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

MOST_LINES = 60
FEWEST_LINES = 8
"""A definition at the margin begins a new piece after so many lines."""
INNER_LINES = 25
"""And one that is indented after so many."""
MOST_CHARACTERS = 400
"""Of one line; what is longer is cut."""

_DEFINITION = re.compile(
    r"""^(?P<indent>[ \t]*)
    (?:(?:export|default|pub(?:\([\w ]+\))?|public|private|protected|internal|static|abstract|final
        |sealed|data|async|override|virtual|inline|unsafe|extern|const|open|suspend)\s+)*
    (?:def|class|func|fun|fn|function\*?|interface|struct|enum|trait|impl|type|module|object|protocol
        |record|namespace)
    \s+(?:\([^)\n]*\)\s*)?(?P<name>[A-Za-z_$][\w$]*)""",
    re.MULTILINE | re.VERBOSE,
)
_HEADING = re.compile(r"^(?P<indent>)#{1,6}\s+(?P<name>\S.*)$", re.MULTILINE)
_LINE_END = re.compile(r"\n")


class Chunk(NamedTuple):
    """Lines of a file, from 1, both included."""

    line_start: int
    line_end: int
    symbols: tuple[str, ...]
    """The names that are defined in it, or its headings."""
    body: str


def chunks(text: str, *, is_prose: bool) -> Iterator[Chunk]:
    """All of a text, in order, without empty pieces. `is_prose`: cut at Markdown headings."""
    starts = [0, *(match.end() for match in _LINE_END.finditer(text))]
    lines = text.split("\n")
    found = [
        (bisect_right(starts, match.start()) - 1, not match["indent"], match["name"])
        for match in (_HEADING if is_prose else _DEFINITION).finditer(text)
    ]
    names: dict[int, str] = {line: name for line, _, name in found}
    begins = _begins(found, len(lines))
    for start, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        piece = _trimmed(lines, start, end)
        if piece is not None:
            symbols = tuple(names[line] for line in range(*piece) if line in names)
            body = "\n".join(line[:MOST_CHARACTERS] for line in lines[piece[0] : piece[1]])
            yield Chunk(piece[0] + 1, piece[1], symbols, body)


def _begins(found: list[tuple[int, bool, str]], count: int) -> list[int]:
    """The lines, from 0, where pieces begin."""
    begins = [0]
    for line, at_margin, _ in [*found, (count, True, "")]:
        while line - begins[-1] > MOST_LINES:
            begins.append(begins[-1] + MOST_LINES)
        if line < count and line - begins[-1] >= (FEWEST_LINES if at_margin else INNER_LINES):
            begins.append(line)
    return begins


def _trimmed(lines: list[str], start: int, end: int) -> tuple[int, int] | None:
    """Without blank lines at both ends; null when there is nothing else."""
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return (start, end) if start < end else None
