"""The Claude Code plugin: its files are well-formed, and what its texts say of us is true."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from dispatch_runner import __version__
from dispatch_runner.cli.app import app
from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.models import ErrorType, TaskStatus
from dispatch_runner.settings import Flags

ROOT = Path(__file__).parents[2]
MARKETPLACE = json.loads((ROOT / ".claude-plugin/marketplace.json").read_text())
(ENTRY,) = MARKETPLACE["plugins"]
PLUGIN = ROOT / ENTRY["source"]
AGENT = PLUGIN / "agents/parallel-dispatcher.md"
SKILL = PLUGIN / "skills/dispatch/SKILL.md"
SHIM = PLUGIN / "bin/dispatch-runner"
TEXTS = pytest.mark.parametrize("path", [AGENT, SKILL], ids=["agent", "skill"])
DESCRIPTION_LIMIT = 1_536
"""Characters of a skill's description that are shown."""


def parts(path):
    """Front matter and body."""
    _, front, body = path.read_text().split("---\n", 2)
    return yaml.safe_load(front), body


def commands_in(text):
    """Every command line of ours in a code block or between backquotes."""
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
    lines = [line.partition("#")[0] for block in code for line in block.splitlines()]
    return [line.split()[1:] for line in lines if line.split()[:1] == ["dispatch-runner"]]


def test_marketplace_and_plugin_agree_and_have_the_version_of_the_package():
    manifest = json.loads((PLUGIN / ".claude-plugin/plugin.json").read_text())
    assert ENTRY["name"] == manifest["name"] == "dispatch-runner"
    assert manifest["version"] == __version__


@TEXTS
def test_front_matter_names_the_file_and_says_when_to_use_it(path):
    front, body = parts(path)
    assert front["name"] == (path.parent.name if path.name == "SKILL.md" else path.stem)
    assert "Use it when" in front["description"]
    assert len(front["description"]) < DESCRIPTION_LIMIT
    assert body.strip()


def test_the_agent_brings_the_skill_of_this_plugin():
    front, _ = parts(AGENT)
    assert front["skills"] == f"{ENTRY['name']}:{SKILL.parent.name}"


def test_the_example_of_the_skill_is_a_request_that_we_accept(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", SKILL.read_text(), re.DOTALL)
    prepared = prepare(Operator.of(Flags(), {}, tmp_path), example.encode())
    assert prepared.warnings == []
    assert len(prepared.request.tasks) >= 4


@TEXTS
def test_commands_and_flags_that_are_named_exist(path):
    known = get_command(app).commands
    found = commands_in(path.read_text())
    assert found
    for words in found:
        name = words[0] if words[0] in known else "run"
        command = known[name]
        if words[1:] and words[1] in getattr(command, "commands", {}):
            command = command.commands[words[1]]
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert words[0] in known or words[0].startswith("-"), words
        assert {word for word in words if word.startswith("-")} <= flags, words


@TEXTS
def test_no_suggested_command_holds_the_word_git(path):
    # a shell tool stops such a command at its time limit instead of leaving it in the background
    assert not [words for words in commands_in(path.read_text()) if "git" in " ".join(words)]


def test_statuses_and_error_types_that_the_skill_explains_exist():
    text = SKILL.read_text().partition("## 4.")[2]
    named = set(re.findall(r"`([a-z_]+)`", text))
    known = {*TaskStatus, *ErrorType, "partial", "failure", "running", "crashed"}
    fields = {"status", "interrupted", "blocked_by", "timeout_seconds"}
    assert named - known - fields == set()
    assert set(TaskStatus) <= named


@pytest.fixture
def shim(tmp_path):
    """Calls the shim of a copy of the plugin, far from any clone, with this search path."""
    copy = tmp_path / "cache/bin"
    copy.mkdir(parents=True)
    shutil.copy(SHIM, copy)

    def call(*folders, **environ):
        path = os.pathsep.join(map(str, (copy, *folders, "/usr/bin", "/bin")))
        return subprocess.run(
            [copy / SHIM.name, "--version"],
            env={"PATH": path, **environ}, capture_output=True, text=True,
        )  # fmt: skip

    return call


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho {text} "$@"\n')
    path.chmod(0o755)
    return path.parent


def test_shim_prefers_an_installed_program_and_never_finds_itself(shim, tmp_path):
    assert (
        shim(program(tmp_path / "in/dispatch-runner", "installed")).stdout
        == "installed --version\n"
    )


def clone(folder):
    folder.joinpath("dispatch_runner").mkdir(parents=True)
    folder.joinpath("dispatch_runner/__main__.py").touch()
    return folder


def test_shim_uses_the_clone_from_which_the_plugin_was_installed(shim, tmp_path):
    place = clone(tmp_path / "a clone")
    known = tmp_path / "claude/plugins/known_marketplaces.json"
    known.parent.mkdir(parents=True)
    others = {"other": {"installLocation": "/nowhere"}}
    known.write_text(
        json.dumps(others | {"dispatch-runner": {"installLocation": str(place)}}, indent=2)
    )
    configured = {"CLAUDE_CONFIG_DIR": str(known.parents[1])}
    uvx = program(tmp_path / "uv/uvx", "uvx")
    assert (
        shim(uvx, **configured).stdout == f"uvx --quiet --from {place} dispatch-runner --version\n"
    )
    program(place / ".venv/bin/dispatch-runner", "of the clone")
    assert shim(uvx, **configured).stdout == "of the clone --version\n"


def test_shim_uses_the_clone_in_which_the_plugin_lies():
    if not (ROOT / ".venv/bin/dispatch-runner").exists():
        pytest.skip("this clone has no .venv")
    done = subprocess.run(
        [SHIM, "--version"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.stdout == f"dispatch-runner {__version__}\n", done.stderr


def test_shim_says_what_to_do_when_there_is_nothing(shim):
    done = shim()
    assert (done.returncode, done.stdout) == (127, "")
    assert "pip install ." in done.stderr


def test_the_loop_that_the_skill_teaches_works(tmp_path):
    text = SKILL.read_text()
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "tasks.json").write_text(example)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def call(*words):
        done = subprocess.run(
            [sys.executable, "-m", "dispatch_runner", *words],
            cwd=tmp_path, env=environ, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    (loop,) = re.findall(r"## 3\..*?```sh\n(.*?)```", text, re.DOTALL)
    validate, start, wait, result = (line.split()[1:] for line in loop.splitlines())
    assert call(*validate)["plan"]["widest_point"] == 2
    name = call(*start)["dispatch"]
    assert call(*(name if word == "DISPATCH" else word for word in wait))["status"] == "success"
    answer = call(*(name if word == "DISPATCH" else word for word in result))
    assert json.loads(Path(answer["result_file"]).read_bytes())["status"] == "success"
