"""The real program: bytes in, bytes and an exit code out; what must hold for every call is checked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    program = Cli(tmp_path)
    yield program
    program.end_survivors()
