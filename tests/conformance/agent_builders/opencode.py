"""opencode, by its stand-in."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dispatch_runner.backends.opencode.backend import OpencodeBackend
from dispatch_runner.protocols import Backend
from dispatch_runner.settings.backend_options import BackendOptions

STAND_IN = Path(__file__).parents[2] / "support" / "agents" / "opencode.py"
UNCOUNTED = "it tells what a request consumed only when the tools of its answer have ended"
LACKS = {"working": UNCOUNTED, "deaf": UNCOUNTED}


@asynccontextmanager
async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
    command = (sys.executable, "-I", "-S", str(STAND_IN), scenario)
    if scenario == "turns":  # it has no limit of its own
        options = {"max_turns": 3, **options}
    yield OpencodeBackend(BackendOptions("asking", command=command, **options))
