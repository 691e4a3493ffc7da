"""Bugs that ruff and mypy find, each with one child process for all files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from dispatch_runner import process
from dispatch_runner.agents.debug.models import Depth, Finding
from dispatch_runner.agents.debug.threads import in_thread
from dispatch_runner.analysis.tools import ToolProblem, clean_environment, find
from dispatch_runner.errors import AgentError

QUICK_RULES = "E9,F,B,PLE,PLW,ASYNC,RUF006,RUF008,RUF009,RUF013,RUF016,RUF018,RUF034,RUF059"
STANDARD_RULES = "C901,S102,S103,S105,S106,S108,S110,S112,S113,S301,S302,S306,S307,S324,S501,S506,S602,S604,S605,S608,S701"
MAX_COMPLEXITY = 10
OUTPUT_LIMIT = 20_000_000
GRACE_SECONDS = 1.0
RUFF_SECONDS = 30.0
MYPY_SECONDS = 60.0
MOST_BATCHES = 3
MOST_FINDINGS = 5_000

WEIGHTS: tuple[tuple[str, float], ...] = (
    ("invalid-syntax", 0.9),
    ("E9", 0.9),
    ("F821", 0.6),
    ("F822", 0.3),
    ("F823", 0.6),
    ("F811", 0.25),
    ("F401", 0.0),
    ("F403", 0.0),
    ("F405", 0.0),
    ("F541", 0.0),
    ("F841", 0.15),
    ("F5", 0.5),
    ("F6", 0.4),
    ("F7", 0.6),
    ("F", 0.2),
    ("B006", 0.35),
    ("B008", 0.2),
    ("B023", 0.35),
    ("B007", 0.05),
    ("B904", 0.0),
    ("B905", 0.1),
    ("B028", 0.0),
    ("B9", 0.05),
    ("B", 0.2),
    ("PLE", 0.5),
    ("PLW2901", 0.1),
    ("PLW0603", 0.05),
    ("PLW", 0.1),
    ("ASYNC", 0.15),
    ("RUF006", 0.25),
    ("RUF016", 0.5),
    ("RUF", 0.1),
    ("C901", 0.0),
    ("S", 0.0),
)
"""By the beginning of the rule's name: how strongly it speaks for a fault. Style, security and
complexity are reported but accuse nothing."""

MYPY_WEIGHTS = {
    "union-attr": 0.4,
    "attr-defined": 0.35,
    "call-arg": 0.4,
    "index": 0.35,
    "operator": 0.35,
    "arg-type": 0.25,
    "return-value": 0.3,
    "name-defined": 0.05,
    "syntax": 0.9,
}

ScopeOf = Callable[[str, int], str]


async def run_ruff(paths: Sequence[str], depth: Depth, hurry: anyio.Event | None) -> list[Finding]:
    """What ruff finds with a fixed choice of rules, whatever the project configured; without
    the functions around it.

    Raises:
        ToolProblem: ruff is missing, takes too long, or answers what is not understood.
    """
    ruff = find("ruff")
    if ruff is None:
        raise ToolProblem("ruff is not installed")
    rules = QUICK_RULES if depth == "quick" else f"{QUICK_RULES},{STANDARD_RULES}"
    command = [
        ruff, "check", "--isolated", "--no-cache", "--exit-zero", "--output-format=json",
        "--target-version=py313", f"--select={rules}",
        f"--config=lint.mccabe.max-complexity={MAX_COMPLEXITY}", "--", *paths,
    ]  # fmt: skip
    text = await _output(command, RUFF_SECONDS, hurry, clean_environment())
    return await in_thread(_ruff_findings, text)


def _ruff_findings(text: str) -> list[Finding]:
    try:
        return [_ruff_finding(item) for item in json.loads(text)[:MOST_FINDINGS]]
    except (ValueError, KeyError, TypeError) as error:
        raise ToolProblem(f"ruff's answer is not understood: {error!r}") from error


def _ruff_finding(item: dict[str, Any]) -> Finding:
    rule, line = item["code"] or "invalid-syntax", max(item["location"]["row"], 1)
    fix = item.get("fix") or {}
    return Finding(
        file=item["filename"],
        line=line,
        column=item["location"]["column"],
        source="ruff",
        rule=rule,
        message=item["message"],
        function="",
        weight=weight_of(rule),
        fix=fix.get("message"),
    )


def weight_of(rule: str) -> float:
    """The weight of the longest known beginning of the rule's name."""
    fitting = [(len(start), weight) for start, weight in WEIGHTS if rule.startswith(start)]
    return max(fitting, default=(0, 0.1))[1]


async def run_mypy(
    paths: Sequence[str], scope_of: ScopeOf, hurry: anyio.Event | None
) -> list[Finding]:
    """Type errors inside the given files, which must parse; nothing of the project configures it.

    Imports inside the same packages are followed, installed libraries are not.

    Raises:
        ToolProblem: mypy is missing, takes too long, or answers what is not understood.
    """
    mypy = find("mypy")
    if mypy is None:
        raise ToolProblem("mypy is not installed")
    found: list[Finding] = []
    for roots, batch in await in_thread(mypy_batches, paths):
        command = [
            mypy, "--config-file=", "--output=json", "--no-incremental", "--cache-dir=/dev/null",
            "--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent",
            "--check-untyped-defs", "--no-error-summary", "--no-color-output", "--", *batch,
        ]  # fmt: skip
        env = clean_environment(MYPYPATH=":".join(roots))
        text = await _output(command, MYPY_SECONDS, hurry, env)
        found += await in_thread(_mypy_findings, text, frozenset(batch), scope_of)
    return found


def mypy_batches(paths: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """The package roots and files of each run: no module name may occur twice in one."""
    batches: list[tuple[list[str], list[str], set[str]]] = []
    for path in paths:
        root, module = module_of(Path(path))
        batch = next((item for item in batches if module not in item[2]), None)
        if batch is None:
            batch = ([], [], set())
            batches.append(batch)
        roots, files, modules = batch
        if root not in roots:
            roots.append(root)
        files.append(path)
        modules.add(module)
    return [(roots, files) for roots, files, _ in batches[:MOST_BATCHES]]


def module_of(path: Path) -> tuple[str, str]:
    """The folder that a module is imported from, and its dotted name there."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while folder.name.isidentifier() and (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return str(folder), ".".join(parts)


def _mypy_findings(text: str, wanted: frozenset[str], scope_of: ScopeOf) -> list[Finding]:
    try:
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [
            _mypy_finding(item, scope_of)
            for item in found[:MOST_FINDINGS]
            if item["severity"] == "error" and str(Path("/", item["file"])) in wanted
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ToolProblem(f"mypy's answer is not understood: {error!r}") from error


def _mypy_finding(item: dict[str, Any], scope_of: ScopeOf) -> Finding:
    file, line = str(Path("/", item["file"])), max(int(item["line"]), 1)
    return Finding(
        file=file,
        line=line,
        column=max(int(item["column"]), 0) + 1,
        source="mypy",
        rule=item["code"] or "error",
        message=item["message"],
        function=scope_of(file, line),
        weight=MYPY_WEIGHTS.get(item["code"], 0.15),
    )


async def _output(
    command: Sequence[str], seconds: float, hurry: anyio.Event | None, env: dict[str, str]
) -> str:
    name = Path(command[0]).name
    with anyio.move_on_after(seconds) as scope:
        try:
            done = await process.run(
                command,
                cwd=Path("/"),
                env=env,
                output_limit=OUTPUT_LIMIT,
                grace_seconds=GRACE_SECONDS,
                hurry=hurry,
            )
        except AgentError as error:
            raise ToolProblem(f"{name} cannot be started: {error.message}") from error
    if scope.cancelled_caught:
        raise ToolProblem(f"{name} took longer than {seconds:g} s")
    if done.returncode not in (0, 1):
        said = done.stderr.text(500).strip() or done.stdout.text(500).strip()
        raise ToolProblem(f"{name} ended with {done.returncode}: {said}")
    if done.stdout.truncated:
        raise ToolProblem(f"{name} found more than the {OUTPUT_LIMIT:,} bytes that are read of it")
    return done.stdout.text()
