"""Who last changed the suspects' lines, asked of git without trusting the repository."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio

from dispatch_runner import process
from dispatch_runner.agents.debug.models import Change
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.analysis.tools import UNTRUSTING, ToolProblem, clean_environment, find
from dispatch_runner.errors import AgentError

SECONDS = 5.0
OUTPUT_LIMIT = 4_000_000
GRACE_SECONDS = 0.5


async def last_changes(
    source: Source, line_start: int, line_end: int, hurry: anyio.Event | None
) -> list[Change]:
    """The commits that last changed the lines, newest first, or one without a commit when they
    differ from what was committed.

    Only committed content is asked for: reading the working tree would run the repository's
    filters.

    Raises:
        ToolProblem: git is missing, the file is in no repository or unknown to it, or it takes
            longer than 5 s.
    """
    git = find("git")
    if git is None:
        raise ToolProblem("git is not installed")
    base = [git, *UNTRUSTING]
    name, folder = Path(source.path).name, Path(source.path).parent
    blob = await _git([*base, "cat-file", "blob", f"HEAD:./{name}"], folder, hurry)
    lines = committed_lines(source.lines, blob.splitlines(), line_start, line_end)
    if lines is None:
        return [_uncommitted(source.path, line_start, line_end)]
    wanted = ["-L", f"{lines[0]},{lines[1]}", "HEAD", "--", name]
    text = await _git([*base, "blame", "--porcelain", "--no-textconv", *wanted], folder, hurry)
    return _changes(source.path, line_start, line_end, text)


def committed_lines(
    now: Sequence[str], before: Sequence[str], line_start: int, line_end: int
) -> tuple[int, int] | None:
    """Where lines stood in the committed file; null when they were changed since."""
    if list(now) == list(before):
        return line_start, line_end
    head = _common_start(now, before)
    tail = _common_start(now[::-1], before[::-1])
    if line_end <= head:
        return line_start, line_end
    if line_start > len(now) - tail:
        moved = len(before) - len(now)
        return line_start + moved, line_end + moved
    return None


def _common_start(first: Sequence[str], second: Sequence[str]) -> int:
    pairs = zip(first, second, strict=False)
    return next(
        (index for index, (left, right) in enumerate(pairs) if left.rstrip() != right.rstrip()),
        min(len(first), len(second)),
    )


def _uncommitted(file: str, line_start: int, line_end: int) -> Change:
    return Change(
        file=file,
        line_start=line_start,
        line_end=line_end,
        commit="",
        date="",
        summary="changed, or near a change, since the last commit",
    )


async def _git(command: list[str], folder: Path, hurry: anyio.Event | None) -> str:
    env = clean_environment(
        GIT_CONFIG_NOSYSTEM="1",
        GIT_CONFIG_GLOBAL="/dev/null",
        GIT_OPTIONAL_LOCKS="0",
        GIT_TERMINAL_PROMPT="0",
        GIT_PAGER="cat",
        GIT_NO_LAZY_FETCH="1",
        GIT_ATTR_NOSYSTEM="1",
    )
    with anyio.move_on_after(SECONDS) as scope:
        try:
            done = await process.run(
                command,
                cwd=folder,
                env=env,
                output_limit=OUTPUT_LIMIT,
                grace_seconds=GRACE_SECONDS,
                hurry=hurry,
            )
        except AgentError as error:
            raise ToolProblem(f"git cannot be started: {error.message}") from error
    if scope.cancelled_caught:
        raise ToolProblem(f"git took longer than {SECONDS:g} s")
    if done.returncode != 0:
        said = done.stderr.text(300).strip().splitlines() or [f"exit {done.returncode}"]
        raise ToolProblem(said[0])
    return done.stdout.text()


def _changes(file: str, line_start: int, line_end: int, text: str) -> list[Change]:
    """Reads `git blame --porcelain`: a commit's headers are printed once."""
    found: dict[str, dict[str, str]] = {}
    commit = ""
    for line in text.split("\n"):
        first, _, rest = line.partition(" ")
        if line.startswith("\t"):
            continue
        if len(first) in (40, 64) and all(letter in "0123456789abcdef" for letter in first):
            commit = first
            found.setdefault(commit, {})
        elif commit:
            found[commit].setdefault(first, rest)
    committed = {name: fields for name, fields in found.items() if set(name) != {"0"}}
    changes = [
        Change(
            file=file,
            line_start=line_start,
            line_end=line_end,
            commit=name,
            date=_date(fields.get("committer-time", "")),
            summary=fields.get("summary", "")[:200],
        )
        for name, fields in committed.items()
    ]
    return sorted(changes, key=lambda change: change.date, reverse=True)


def _date(seconds: str) -> str:
    moment = int(seconds) if seconds.isdigit() and len(seconds) < 12 else 0
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
