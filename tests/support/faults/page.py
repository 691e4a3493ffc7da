"""The page of faults, and the table of what became of them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/faults.md"
REFERENCE = re.compile(r"`(\w+(?:/\w+)*\.py)::(\w+)`")
HEADER = "| faults | injected | survived | lost |"


@dataclass
class Tally:
    """What became of the faults of one class."""

    injected: int = 0
    survived: int = 0

    @property
    def lost(self) -> int:
        return self.injected - self.survived

    def add(self, other: "Tally") -> None:
        self.injected += other.injected
        self.survived += other.survived

    def row(self, name: str) -> str:
        return f"| {name} | {self.injected:,} | {self.survived:,} | {self.lost:,} |"


@dataclass
class Class:
    """One section of the page: a class of faults, and the tests that prove it is survived."""

    name: str
    tests: set[str] = field(default_factory=set)
    """`file::function`, below the folder of the tests."""


def classes(page: str) -> list[Class]:
    """The sections that name tests, in the order of the page."""
    found = []
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        tests = {f"{file}::{name}" for file, name in REFERENCE.findall(section)}
        if tests:
            found.append(Class(section.partition("\n")[0], tests))
    return found


def table(tallies: Sequence[tuple[str, Tally]]) -> list[str]:
    """The lines of the table that the README shows."""
    rows = [tally.row(name) for name, tally in tallies]
    return [HEADER, "|---|---|---|---|", *rows, total(each for _, each in tallies).row("all")]


def total(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for each in tallies:
        whole.add(each)
    return whole
