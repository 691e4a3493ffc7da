"""Dispatchers in which something goes wrong; how many faults a test injected is noted in its report."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Cli
from support.faults import Bench


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    program = Cli(tmp_path)
    yield program
    program.end_survivors()


@pytest.fixture
def bench(cli: Cli, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Faults that its dispatchers survive are counted one by one; see tests/faults/run.py."""
    bench = Bench(cli)
    yield bench
    request.node.user_properties.append(("faults", (bench.injected, bench.survived)))


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that can be had again: the seed is FAULTS_SEED, else always the same."""
    seed = os.environ.get("FAULTS_SEED", "1")
    return random.Random(f"{seed} {request.node.name}")
