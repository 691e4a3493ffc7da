"""What the probe is to do, and where it writes what it saw."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the characters from `start` to `end` become `text`."""

    number: int
    file: str
    start: int
    end: int
    text: str
    import_time: bool
    """Whether the changed code runs when its module is imported."""
    passing: list[int]
    """Which of the job's passing tests are to be run when a failing one passes with the change."""


@dataclass(frozen=True)
class Job:
    """Either a run of every test (no mutants), or runs of some tests on every mutant."""

    results: str
    sources: dict[str, str]
    """Text of each file under suspicion, by its real path."""
    seconds: float
    """For everything, from the start of the process."""
    test_seconds: float
    """For one test."""
    memory_bytes: int
    workers: int
    most_tests: int
    failing: list[str]
    """Tests that failed unchanged, those that say most first."""
    passing: list[str]
    mutants: list[Mutant]
    began: float

    @property
    def left(self) -> float:
        """Seconds left for everything."""
        return self.began + self.seconds - time.monotonic()

    def write(self, record: dict[str, Any]) -> None:
        """Appends a record, whole or not at all when the process is killed."""
        data = json.dumps(record).encode() + b"\n"
        descriptor = os.open(self.results, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def read_job(path: str) -> Job:
    """The job in a file; its time begins now."""
    fields = json.loads(Path(path).read_text(encoding="utf-8"))
    fields["mutants"] = [Mutant(**item) for item in fields["mutants"]]
    return Job(**fields, began=time.monotonic())
