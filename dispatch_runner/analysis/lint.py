"""What ruff finds, in files or in a text, with rules that the caller chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dispatch_runner.analysis.tools import ToolProblem, output_of

if TYPE_CHECKING:
    import anyio

SECONDS = 30.0
MAX_COMPLEXITY = 10
MOST_FINDINGS = 5_000
TARGET = "py313"

NOT_PARSED = "invalid-syntax"
"""The rule of a finding that says that the text does not parse."""


class LintFinding(NamedTuple):
    """One thing that ruff says of one place."""

    file: str
    line: int
    column: int
    rule: str
    message: str
    fix: str | None
    """What would mend it, when ruff knows."""


async def lint_text(
    text: str, rules: str, *, name: str = "module.py", ignored: str = "", line_length: int = 100
) -> list[LintFinding]:
    """Findings in a text, as if it were a file of that name.

    Raises:
        ToolProblem: ruff is missing, takes too long, or answers what is not understood.
    """
    where = ["--stdin-filename", name, "-"]
    return await _lint(rules, ignored, line_length, where, text.encode("utf-8", "replace"), None)


async def lint_files(
    paths: Sequence[str],
    rules: str,
    *,
    ignored: str = "",
    line_length: int = 100,
    hurry: anyio.Event | None = None,
) -> list[LintFinding]:
    """Findings in files, given by absolute paths. Raises as `lint_text`."""
    return await _lint(rules, ignored, line_length, ["--", *paths], b"", hurry)


async def _lint(
    rules: str,
    ignored: str,
    line_length: int,
    where: Sequence[str],
    stdin: bytes,
    hurry: anyio.Event | None,
) -> list[LintFinding]:
    arguments = [
        "check", "--isolated", "--no-cache", "--exit-zero", "--quiet", "--output-format=json",
        f"--target-version={TARGET}", f"--line-length={line_length}", f"--select={rules}",
        f"--config=lint.mccabe.max-complexity={MAX_COMPLEXITY}",
        *([f"--ignore={ignored}"] if ignored else []), *where,
    ]  # fmt: skip
    answer = await output_of("ruff", arguments, seconds=SECONDS, stdin=stdin, hurry=hurry)
    try:
        return [_finding(item) for item in json.loads(answer)[:MOST_FINDINGS]]
    except (ValueError, KeyError, TypeError) as error:
        raise ToolProblem(f"ruff's answer is not understood: {error!r}") from error


def _finding(item: dict[str, Any]) -> LintFinding:
    place = item["location"]
    return LintFinding(
        str(Path(item["filename"])),
        max(int(place["row"]), 1),
        int(place["column"]),
        item["code"] or NOT_PARSED,
        item["message"],
        (item.get("fix") or {}).get("message"),
    )
