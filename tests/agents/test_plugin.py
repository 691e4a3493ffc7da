"""The plugin in the real Claude Code: valid, installable from a clone, loaded, and of use."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.model_server import ModelServer, text, tool

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / ".claude-plugin/dispatch-runner"
OFFLINE = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
REQUEST = '{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"n": 41}}]}'

Claude = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def claude(
    program: Callable[[str], Path],
    environment: Callable[[str, ModelServer | str], dict[str, str]],
    tmp_path: Path,
) -> Claude:
    """Runs it in an empty folder, with nothing of ours on its search path."""
    work = tmp_path / "work"
    work.mkdir()

    def run(
        *arguments: str | Path, server: ModelServer | str = "http://127.0.0.1:9", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("claude-code"), *arguments],
            env=environment("claude-code", server) | OFFLINE | environ,
            cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    "place", [ROOT, PLUGIN, PLUGIN / "agents"], ids=["marketplace", "plugin", "agents"]
)
def test_it_is_valid(claude: Claude, place: Path) -> None:
    done = claude("plugin", "validate", place, "--strict")
    assert done.returncode == 0, done
    assert "Validation passed" in done.stdout


def test_it_is_installed_from_a_clone_in_two_commands(
    claude: Claude, home: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / ".claude-plugin", clone / ".claude-plugin")
    assert claude("plugin", "marketplace", "add", clone).returncode == 0
    assert claude("plugin", "install", "dispatch-runner@dispatch-runner").returncode == 0
    (shim,) = home.glob(".claude/plugins/cache/**/bin/dispatch-runner")
    assert shim.read_bytes() == (PLUGIN / "bin/dispatch-runner").read_bytes()


def test_a_session_has_its_agent_and_its_skill_and_its_command_works(
    claude: Claude, server: Callable[..., ModelServer], tmp_path: Path
) -> None:
    installed = tmp_path / "installed/dispatch-runner"
    installed.parent.mkdir()
    installed.write_text(f'#!/bin/sh\nexec {sys.executable} -m dispatch_runner "$@"\n')
    installed.chmod(0o755)
    command = f"echo '{REQUEST}' | dispatch-runner --quiet"
    model = server([tool("Bash", {"command": command, "description": "dispatch"}), text("done")])
    done = claude(
        "-p", "run it", "--plugin-dir", PLUGIN, "--output-format", "stream-json", "--verbose",
        "--no-session-persistence", "--allowedTools", "Bash(dispatch-runner *),Bash(echo *)",
        server=model, PATH=f"/usr/bin:/bin:{installed.parent}",
    )  # fmt: skip
    assert done.returncode == 0, done
    events = [json.loads(line) for line in done.stdout.splitlines()]
    begun = next(e for e in events if e.get("subtype") == "init")
    assert "dispatch-runner:parallel-dispatcher" in begun["agents"]
    assert "dispatch-runner:dispatch" in begun["skills"]
    (answer,) = (
        block
        for event in events
        if event["type"] == "user"
        for block in event["message"]["content"]
    )
    result = json.loads(answer["content"])
    assert (result["status"], result["results"][0]["output"]) == ("success", {"n": 41})


def test_its_agent_is_given_the_skill_and_may_call_the_command(
    claude: Claude, server: Callable[..., ModelServer]
) -> None:
    name = "dispatch-runner:parallel-dispatcher"
    work = {
        "subagent_type": name,
        "prompt": "plan it",
        "description": "plan",
        "run_in_background": False,
    }
    model = server([tool("Agent", work), text("understood")])
    done = claude(
        "-p", "go", "--plugin-dir", PLUGIN, "--no-session-persistence", "--allowedTools", "Agent",
        server=model,
    )  # fmt: skip
    assert done.returncode == 0, done
    asked = model.requests[1].text
    assert "You plan, run and report dispatches." in asked
    assert "tasks.facts.output.service" in asked  # the example of the skill
    assert '"Bash"' in asked
