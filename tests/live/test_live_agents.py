"""Real agents with your own account. They spend money, so they run only for what you name:

    TEST_LIVE_AGENTS="claude-code codex llm=anthropic:claude-haiku-4-5" make test-live

Each name is a backend, with a model behind `=` where it needs one. A task may cost at most 0.25 USD.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMED = os.environ.get("TEST_LIVE_AGENTS", "").split()
MOST_USD = 0.25
AGENT = "---\nname: clerk\ndescription: answers\ntools: Read\n---\nYou answer in one word.\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not NAMED, reason="TEST_LIVE_AGENTS names no agent"),
]


def run(folder: Path, named: str, task: dict[str, object]) -> dict[str, object]:
    """The result of one task on a backend, with the environment of the operator."""
    backend, _, model = named.partition("=")
    folder.joinpath("agents").mkdir()
    folder.joinpath("agents", "clerk.md").write_text(AGENT)
    lines = [f"[agents.{task['agent']}]", f'backend = "{backend}"', f"max_cost_usd = {MOST_USD}"]
    lines += [f'model = "{model}"'] if model else []
    folder.joinpath("agents.toml").write_text("\n".join(lines))
    command = [
        sys.executable, "-m", "dispatch_runner", "--quiet", "--allow-unknown-cost",
        "--config", str(folder / "agents.toml"), "--agents", str(folder / "agents"),
    ]  # fmt: skip
    request = json.dumps({"tasks": [{"task_id": "live", **task}]}).encode()
    ran = subprocess.run(command, input=request, capture_output=True, cwd=folder, timeout=570)
    document = json.loads(ran.stdout)
    assert ran.returncode == 0, document
    result: dict[str, object] = document["results"][0]
    return result


@pytest.mark.parametrize("named", NAMED)
def test_an_agent_file_answers_and_says_what_it_consumed(tmp_path: Path, named: str) -> None:
    task = {"agent": "clerk", "input_data": {"prompt": "Which colour has a ripe tomato?"}}
    result = run(tmp_path, named, task)
    assert "red" in json.dumps(result["output"]).lower()
    assert result["usage"] is not None


@pytest.mark.parametrize("named", NAMED)
def test_a_coder_passes_the_gates(tmp_path: Path, named: str) -> None:
    path = tmp_path / "node_add_compute.py"
    asked = {
        "contract_description": "Adds two integers, `left` and `right`, and returns their sum.",
        "node_type": "Compute",
        "output_path": str(path),
    }
    result = run(tmp_path, named, {"agent": "coder", "input_data": asked})
    assert result["status"] == "success"
    assert path.is_file()
