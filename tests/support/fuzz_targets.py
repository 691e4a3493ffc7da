"""What is fuzzed: each target takes any bytes, and raises only when something is wrong with us.

Shared by the coverage-guided fuzzer (`fuzz.py`) and by the test that replays its corpus.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import orjson

from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.errors import AgentError, RecordError, RequestRejected
from dispatch_runner.models import Problem
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.records import journal
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.references import find, resolve
from dispatch_runner.settings import Flags

FOLDER = Path(tempfile.gettempdir()).resolve()
PLAIN = Redactor({"FUZZ_PASSWORD": "correct horse 77"})
PATHS = ("output_path", "context_files", "affected_files", "test_paths")
"""Inputs of the built-in agents that name files."""


@cache
def operator() -> Operator:
    """Nobody has set anything."""
    return Operator.of(Flags(), {}, FOLDER)


def request(data: bytes) -> None:
    """A request is admitted with paths inside the allowed folders, or rejected in words."""
    try:
        prepared = prepare(operator(), data)
    except RequestRejected as rejected:
        assert_in_words(rejected.problems)
        return
    prepared.jobs()
    for task in prepared.request.tasks:
        if task.agent in {"coder", "debug"}:
            assert_inside(task.input_data, operator().roots)


def assert_in_words(problems: list[Problem]) -> None:
    """Every problem has a code and a sentence, and can be printed."""
    assert problems
    for problem in problems:
        assert problem.message
        assert problem.code.isidentifier(), problem
    orjson.dumps(problems)


def assert_inside(given: dict[str, object], roots: AllowedRoots) -> None:
    """Every path that is no reference resolves to a place inside."""
    for name in PATHS:
        value = given.get(name, [])
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, str) and path and "${" not in path:
                real = os.path.realpath(path)
                assert any(real == r or real.startswith(f"{r}/") for r in roots.roots), path


def text(data: bytes) -> None:
    """Redaction and references take any text; a secret that is known is gone, and JSON stays valid."""
    given = data.decode("utf-8", "surrogateescape")
    once = PLAIN.redact_text(given)
    assert "correct horse 77" not in once
    readable = data.decode("utf-8", "replace")
    value, encoded = PLAIN.redact_encoded({"a": [readable], readable: 1})
    assert orjson.loads(encoded) == value
    for reference in find([readable]):
        try:
            reference.target({"a"})
        except ValueError:
            continue
    with suppress(AgentError):
        resolve([readable], {"a": {"x": 1}})


def journal_file(data: bytes) -> None:
    """Whatever a journal holds, a prefix of it is read, and reading that again gives the same."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            loaded = journal.load(Path(file.name))
        except RecordError:
            return
        assert loaded.good_bytes + loaded.torn_bytes == len(data)
        os.truncate(file.name, loaded.good_bytes)
        assert journal.load(Path(file.name)).records == loaded.records


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "text": text,
    "journal": journal_file,
}
SEEDS = Path(__file__).parents[1] / "data" / "fuzz"
