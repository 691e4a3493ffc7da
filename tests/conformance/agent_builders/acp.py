"""The backend `acp` with its stand-in."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dispatch_runner.backends.acp.backend import build as build_backend
from dispatch_runner.protocols import Backend
from dispatch_runner.settings.backend_options import BackendOptions
from support import agents

PROGRAM = Path(agents.__path__[0], "acp.py")


def stand_in(scenario: str, *state: Path) -> tuple[str, ...]:
    """The command of the stand-in; with a state, its sessions can be loaded by another process."""
    return (sys.executable, "-I", "-S", str(PROGRAM), scenario, *map(str, state))


@asynccontextmanager
async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
    command = stand_in(scenario, folder / "sessions")
    yield build_backend(BackendOptions("asking", command=command, **options))
