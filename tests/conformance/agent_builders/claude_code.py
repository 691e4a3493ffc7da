"""Claude Code, by its stand-in."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dispatch_runner.backends.claude_code.backend import ClaudeCodeBackend
from dispatch_runner.protocols import Backend
from dispatch_runner.settings.backend_options import BackendOptions

STAND_IN = Path(__file__).parents[2] / "support" / "agents" / "claude.py"


@asynccontextmanager
async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
    command = (sys.executable, "-I", "-S", str(STAND_IN), scenario)
    # a key that is none: where there is one, nothing of the user's own configuration is touched
    options = {"api_key_env": "PATH", **options}
    yield ClaudeCodeBackend(BackendOptions("asking", command=command, **options))
