"""Gemini CLI, by its stand-in."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dispatch_runner.backends.gemini.backend import GeminiBackend
from dispatch_runner.protocols import Backend
from dispatch_runner.settings.backend_options import BackendOptions

STAND_IN = Path(__file__).parents[2] / "support" / "agents" / "gemini.py"


@asynccontextmanager
async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
    command = (sys.executable, "-I", "-S", str(STAND_IN), scenario)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GEMINI_API_KEY", "a-key-that-is-none")
        yield GeminiBackend(BackendOptions("asking", command=command, **options))
