"""Finds the lines of a TOML document's tables and keys, which `tomllib` does not tell."""

import re
import tomllib
from collections.abc import Iterator

from dispatch_runner.settings.values import Location

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'  # strings and comments, so that nothing in them counts
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)


def lines(text: str) -> dict[Location, int]:
    """Line of each table and key of a valid document, counted from 1.

    What is inside an array or a multi-line inline table has the line where its statement starts.
    """
    found: dict[Location, int] = {}
    table: Location = ()
    for line, statement in _statements(text):
        keys = list(_keys(tomllib.loads(statement)))
        if statement.startswith("["):
            table = keys[-1]
            keys = [table[:end] for end in range(1, len(table) + 1)]
        else:
            keys = [(*table, *key) for key in keys]
        for key in keys:
            found.setdefault(key, line)
    return found


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header and each key with its value, which may be several lines long, and its line."""
    start = depth = 0
    line = first_line = 1
    for token in [*_TOKEN.finditer(text), None]:
        mark = token.group() if token else "\n"
        depth += (mark in {"[", "{"}) - (mark in {"]", "}"})
        if mark == "\n" and depth == 0:
            statement = text[start : token.start() if token else None].strip()
            if statement and not statement.startswith("#"):
                yield first_line, statement
            start, first_line = (token.end() if token else len(text)), line + 1
        line += mark.count("\n")


def _keys(value: object) -> Iterator[Location]:
    """All keys in nested tables, outer ones first."""
    if isinstance(value, list) and len(value) == 1:  # the header of an array of tables
        yield from _keys(value[0])
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (key,)
            yield from ((key, *rest) for rest in _keys(inner))
