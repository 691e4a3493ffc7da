"""Every role on real programs, as an operator would have it: whole dispatches, from stdin to the result."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.model_server import ModelServer, Request, Turn, structured, text

BACKENDS = ["claude-code", "codex", "gemini", "opencode"]
GOOD = '''"""Counts words."""

from pydantic import BaseModel, ConfigDict


class ModelWordsInput(BaseModel):
    """What is counted."""

    model_config = ConfigDict(extra="forbid")

    text: str


class ModelWordsOutput(BaseModel):
    """How many there are."""

    model_config = ConfigDict(extra="forbid")

    word_count: int


class NodeWordsCompute:
    """Counts words."""

    async def execute_compute(self, contract: ModelWordsInput) -> ModelWordsOutput:
        """The number of words."""
        return ModelWordsOutput(word_count=len(contract.text.split()))
'''
LINTED = GOOD.replace("from pydantic", "import os\n\nfrom pydantic")
BUG = "def mean(values):\n    return sum(values) / len(values)\n"
TRACE = """Traceback (most recent call last):
  File "{}", line 2, in mean
    return sum(values) / len(values)
ZeroDivisionError: division by zero
"""
REVIEWER = """---
name: reviewer
description: Reviews code.
tools: Read
---

You review code.
"""


def judgement(file: Path) -> dict[str, Any]:
    return {
        "summary": "an empty list has no mean",
        "behaviour": {"expected": "a mean", "actual": "ZeroDivisionError", "deviation": "it raises"},
        "suspects": [
            {
                "file": str(file), "line_start": 2, "line_end": 2, "function": "mean",
                "code": "return sum(values) / len(values)",
                "evidence_for": [{"observation": "len is 0 for an empty list", "weight": 0.7}],
                "evidence_against": [], "deciding_check": "call mean([])",
            }
        ],
        "root_cause": {
            "determined": True, "kind": "zero_division", "statement": "the list is empty",
            "contributing_factors": [],
        },
        "optimal_solution": {"determined": False, "description": "decide what it is", "steps": []},
        "solution_validation": {"checks": ["call mean([])"]},
        "hypothesis": None,
    }  # fmt: skip


def script(bug: Path) -> Callable[[Request], Turn]:
    """Answers each role by what it is asked; the coder's first module fails a gate."""

    def turn(request: Request) -> Turn:
        if "Find the cause of this problem" in request.text:
            return structured(judgement(bug))
        if "Write the module" in request.text:
            code = GOOD if "Your answer did not pass" in request.text else LINTED
            return structured({"code": code, "open_points": []})
        return text("KEPT" if "NodeWordsCompute" in request.text else "I was shown nothing")

    return turn


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", BACKENDS)
def test_every_role_gets_a_verified_answer(
    name: str,
    tmp_path: Path,
    program: Callable[[str], Path],
    environment: Callable[[str, ModelServer | str], dict[str, str]],
    server: Callable[..., ModelServer],
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/reviewer.md").write_text(REVIEWER)
    bug, module = tmp_path / "mean.py", tmp_path / "node_words_compute.py"
    bug.write_text(BUG)
    variables = environment(name, server(script(bug)))
    names = json.dumps(["LANG", *variables])
    (tmp_path / "dispatch.toml").write_text(
        "".join(
            f'[agents.{agent}]\nbackend = "{name}"\ncommand = ["{program(name)}"]\nenv = {names}\n'
            for agent in ("coder", "debug", "reviewer")
        )
    )
    tasks = [
        {
            "task_id": "write", "agent": "coder",
            "input_data": {
                "contract_description": "A Compute node that counts the words of a text",
                "node_type": "Compute", "output_path": str(module),
            },
        },
        {
            "task_id": "find", "agent": "debug",
            "input_data": {
                "problem_description": "no mean", "affected_files": [str(bug)],
                "error_traces": [TRACE.format(bug)], "analysis_depth": "quick",
            },
        },
        {
            "task_id": "review", "agent": "reviewer", "dependencies": ["write"],
            "input_data": {"prompt": "Is it kept?", "files": ["${tasks.write.output.generated_file}"]},
        },
    ]  # fmt: skip
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dispatch_runner",
            "--config",
            "dispatch.toml",
            "--agents",
            "agents",
        ],
        input=json.dumps({"tasks": tasks}).encode(),
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        timeout=140,
    )
    results = {each["task_id"]: each for each in json.loads(done.stdout)["results"]}
    assert {each["status"] for each in results.values()} == {"success"}, results
    assert module.read_text() == GOOD
    assert results["review"]["output"] == {"text": "KEPT", "files_written": []}
    (suspect,) = results["find"]["output"]["suspects"]
    assert (suspect["file"], suspect["line_start"]) == (str(bug), 2)
    assert results["find"]["output"]["traces"][0]["error_type"] == "ZeroDivisionError"
    events = json.loads(Path(results["write"]["trace_file"]).read_text())["events"]
    told = [event["event"] for event in events]
    assert told.index("prompt") < told.index("repair") < told.index("file_placed")
