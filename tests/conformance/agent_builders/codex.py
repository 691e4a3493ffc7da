"""Codex, by its stand-in."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatch_runner.backends.codex.backend import CodexBackend
from dispatch_runner.protocols import Backend
from dispatch_runner.settings.backend_options import BackendOptions

STAND_IN = Path(__file__).parents[2] / "support" / "agents" / "codex.py"


@asynccontextmanager
async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
    command = (sys.executable, "-I", "-S", str(STAND_IN), scenario)
    if scenario == "turns":  # it has no limit of its own
        options = {"max_turns": 3, **options}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CODEX_HOME", str(folder / "codex"))
        yield CodexBackend(BackendOptions("asking", command=command, **options))
