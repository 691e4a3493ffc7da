"""Ends what another dispatcher left when it was killed, should its guardian have been killed, too."""

import subprocess
import sys
from pathlib import Path

from dispatch_runner.marks import MARKER, tag_offset
from dispatch_runner.process.tags import tag_prefix


def end_leftovers(marker: str, token: str) -> None:
    """Ends the programs of a dead process and all that they started. Returns when they have ended, after
    20 seconds at most. Linux only: elsewhere there is no process table to search.

    Args:
        marker: what the markers of its programs begin with.
        token: of that process.
    """
    if sys.platform != "linux":
        return
    sweep = Path(__file__).with_name("sweep.py")
    environ = {"NAME": MARKER, "PREFIX": marker, "TAG": str(tag_prefix(tag_offset(token)))}
    with sweep.open("rb") as script:
        subprocess.run(  # as the guardian runs it
            [sys.executable, "-I", "-S", "-"], stdin=script, env=environ, cwd="/", check=False
        )
