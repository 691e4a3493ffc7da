"""The programs that look at code: where they are, the clean environment they get, and what they say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch_runner import process
from dispatch_runner.errors import AgentError

if TYPE_CHECKING:
    import anyio

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "SYSTEMROOT")
OUTPUT_LIMIT = 20_000_000
GRACE_SECONDS = 0.5

UNTRUSTING = (
    "--no-pager", "--no-optional-locks",
    "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.pager=cat",
    "-c", "core.sshCommand=false",
    "-c", "credential.helper=",
    "-c", "diff.external=",
    "-c", "log.showSignature=false",
    "-c", "gpg.program=false",
    "-c", "protocol.allow=never",
)  # fmt: skip
"""Options of git: a repository's own configuration may name programs; none of them is run."""


class ToolProblem(Exception):
    """A program could not be used. The message says why."""


def clean_environment(**more: str) -> dict[str, str]:
    """What a tool needs of the environment, and nothing that configures it."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **more}


def find(name: str) -> str | None:
    """Where a program is: the one of our own environment, else one on the path; null: nowhere."""
    import shutil
    import sys

    if name == "ruff":
        found = _ruff_of_the_package()
        if found is not None:
            return found
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


def _ruff_of_the_package() -> str | None:
    try:
        from ruff import find_ruff_bin

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError):
        return None


def missing(names: Sequence[str]) -> list[str]:
    """Those of the programs that are not installed."""
    return [name for name in names if find(name) is None]


async def output_of(
    name: str,
    arguments: Sequence[str],
    *,
    seconds: float,
    cwd: Path = Path("/"),
    env: dict[str, str] | None = None,
    stdin: bytes = b"",
    codes: Sequence[int] = (0, 1),
    hurry: anyio.Event | None = None,
) -> bytes:
    """What a program prints on stdout, in a clean environment; null for `env` is the plain one.

    Raises:
        ToolProblem: it is not installed, cannot be started, takes longer than `seconds`, ends with
            another code than these, or prints more than is read of it.
    """
    import anyio

    program = find(name)
    if program is None:
        raise ToolProblem(f"{name} is not installed")
    with anyio.move_on_after(seconds) as scope:
        try:
            done = await process.run(
                [program, *arguments],
                cwd=cwd,
                env=clean_environment() if env is None else env,
                stdin=stdin,
                output_limit=OUTPUT_LIMIT,
                grace_seconds=GRACE_SECONDS,
                hurry=hurry,
            )
        except AgentError as error:
            raise ToolProblem(f"{name} cannot be started: {error.message}") from error
    if scope.cancelled_caught:
        raise ToolProblem(f"{name} took longer than {seconds:g} s")
    if done.returncode not in codes:
        said = done.stderr.text(500).strip() or done.stdout.text(500).strip()
        raise ToolProblem(f"{name} ended with {done.returncode}: {said}")
    if done.stdout.truncated:
        raise ToolProblem(
            f"{name} printed more than the {OUTPUT_LIMIT:,} bytes that are read of it"
        )
    return done.stdout.content()
