"""Fault localisation on a local copy of QuixBugs: `python -m benchmarks.quixbugs FOLDER [NAME ...]`.

Each of the 40 programs is analysed at depth `deep` with its pytest file. The wrong lines are derived
by comparing `python_programs/X.py` with `correct_python_programs/X.py` (comments, blank lines and the
text after the code left out): the lines that were changed or removed; where the correction only adds
lines, the lines before and after the place where they are added.

What is ranked are the suspects as the agent outputs them. Suspects with equal scores are tied; a
suspect's line range counts as that many tied lines; a line counts where it first occurs. The
expected hits at k are the probability, over random orders of tied lines, that at least one wrong line
is among the first k.
"""

import argparse
import difflib
import io
import json
import sys
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

import anyio

from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.errors import AgentError
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

DEPTHS = (1, 3, 5)


def code_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of code with their numbers, without comments and without texts that are no code."""
    lines: dict[int, str] = {}
    fresh = True
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}:
            continue
        if token.type == tokenize.NEWLINE:
            fresh = True
            continue
        if not (fresh and token.type == tokenize.STRING):
            text = lines.get(token.start[0], " " * token.start[1])
            lines[token.start[0]] = text + token.string.strip() + " "
        fresh = False
    return [(number, text) for number, text in sorted(lines.items()) if text.strip()]


def wrong_lines(buggy: Path, correct: Path) -> set[int]:
    """The ground truth: see the module's text."""
    before, after = code_lines(buggy), code_lines(correct)
    matcher = difflib.SequenceMatcher(
        a=[text for _, text in before], b=[text for _, text in after], autojunk=False
    )
    wrong: set[int] = set()
    for kind, start, end, _, _ in matcher.get_opcodes():
        if kind in {"replace", "delete"}:
            wrong |= {before[index][0] for index in range(start, end)}
        elif kind == "insert":
            wrong |= {before[index][0] for index in (start - 1, start) if 0 <= index < len(before)}
    return wrong


def ranked_lines(suspects: list[dict[str, Any]], file: str) -> list[list[tuple[str, int]]]:
    """Groups of tied lines, the most suspect first; lines of other files take places, too."""
    groups: dict[float, list[tuple[str, int]]] = {}
    seen: set[tuple[str, int]] = set()
    for suspect in sorted(suspects, key=lambda item: -item["score"]):
        for line in range(suspect["line_start"], suspect["line_end"] + 1):
            place = (suspect["file"], line)
            if place not in seen:
                seen.add(place)
                groups.setdefault(suspect["score"], []).append(place)
    return list(groups.values())


def expected_hit(groups: list[list[tuple[str, int]]], wrong: set[tuple[str, int]], k: int) -> float:
    """The probability that a wrong line is among the first k lines."""
    left = k
    for group in groups:
        hits = len(wrong.intersection(group))
        if hits:
            if left >= len(group):
                return 1.0
            return 1 - comb(len(group) - hits, left) / comb(len(group), left)
        left -= len(group)
        if left <= 0:
            return 0.0
    return 0.0


def call_for(folder: Path, name: str, seconds: float) -> AgentCall:
    value: JsonObject = {
        "problem_description": "the tests fail",
        "affected_files": [str(folder / "python_programs" / f"{name}.py")],
        "analysis_depth": "deep",
        "test_paths": [str(folder / "python_testcases" / f"test_{name}.py")],
    }
    return AgentCall(
        task_id=name,
        agent="debug",
        description="",
        input=value,
        dependencies={},
        correlation_id="benchmark",
        attempt=1,
        timeout_seconds=seconds,
        workspace=folder,
        roots=AllowedRoots(("/",)),
        output_prefix=None,
        hurry=anyio.Event(),
    )


async def analyse(folder: Path, name: str, seconds: float) -> JsonObject:
    role = DebugRole()
    call = call_for(folder, name, seconds)
    answer = await role.solve(call)
    try:
        await role.verify(call, answer)
    except AgentError as error:
        print(f"{name}: {error.message}", file=sys.stderr)
    return answer.output


def measure(folder: Path, name: str, seconds: float) -> tuple[str, list[float], float, JsonObject]:
    began = time.monotonic()
    output = anyio.run(analyse, folder, name, seconds)
    taken = time.monotonic() - began
    file = str(folder / "python_programs" / f"{name}.py")
    correct = folder / "correct_python_programs" / f"{name}.py"
    wrong = {(file, line) for line in wrong_lines(Path(file), correct)}
    groups = ranked_lines(output["suspects"], file)
    return name, [expected_hit(groups, wrong, k) for k in DEPTHS], taken, output


def programs(folder: Path) -> list[str]:
    names = {path.stem for path in (folder / "python_testcases").glob("test_*.py")}
    return sorted(name.removeprefix("test_") for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=300.0, help="limit of each task")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--output", type=Path, help="folder for the whole analyses")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    names = arguments.names or programs(folder)
    totals, times = [0.0] * len(DEPTHS), []
    with ThreadPoolExecutor(arguments.parallel) as pool:
        runs = pool.map(lambda name: measure(folder, name, arguments.seconds), names)
        for name, hits, taken, output in runs:
            totals = [total + hit for total, hit in zip(totals, hits, strict=True)]
            times.append(taken)
            tests = output["tests"] or {}
            shown = "  ".join(f"{hit:.2f}" for hit in hits)
            tried = f"{tests.get('mutants_tried')}/{tests.get('mutants_planned')} mutants"
            print(f"{name:32} {shown}  {taken:6.1f} s  {tried}", flush=True)
            if arguments.output is not None:
                arguments.output.mkdir(exist_ok=True)
                (arguments.output / f"{name}.json").write_text(json.dumps(output, indent=1))
    shown = ", ".join(f"{total:.2f} at {k}" for total, k in zip(totals, DEPTHS, strict=True))
    print(
        f"expected hits of {len(times)}: {shown}; median {median(times):.1f} s, all {sum(times):.0f} s"
    )


if __name__ == "__main__":
    main()
