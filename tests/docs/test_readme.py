"""What the documents show is what happens: commands run, output is real, code works."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatch_runner.agents.registry import Registry
from dispatch_runner.settings import Settings

ROOT = Path(__file__).parents[2]


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a language, in order."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


class Shell:
    """Runs scripts in one folder, with `dispatch-runner` on the path."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCH_RUNNER_")}
        self._environment = {**kept, "PATH": path, "LC_ALL": "C.UTF-8"}

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-eu", "-c", script],
            cwd=self.folder, env=self._environment, capture_output=True, text=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, path_with_us: str) -> Shell:
    """One folder for the whole module, in which the first request of the README was run."""
    shell = Shell(tmp_path_factory.mktemp("readme"), path_with_us)
    (first,) = [block for block in blocks("README.md", "sh") if "cat > tasks.json" in block]
    done = shell.run(first)
    assert done.returncode == 0, done.stderr
    (shell.folder / "progress.txt").write_text(done.stderr)
    return shell


VOLATILE = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"/\S*/traces/dispatch-\d{8}_\d{6}-[0-9a-f]{8}", "RUN"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
    (r" +\d+(\.\d+)?m?s\b", " DURATION"),
    (r"speed-up \d+\.\d", "SPEED-UP"),
    (r"\d+% busy", "BUSY"),
]


def normalised(text: str) -> str:
    """The text with what differs from run to run replaced."""
    for pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return text


def shape(value: Any) -> Any:
    """A document with its measurements replaced; counts, names and texts stay."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, float):
        return 0.0
    return normalised(value) if isinstance(value, str) else value


def test_first_result_of_the_readme_is_real(shell: Shell) -> None:
    (progress,) = blocks("README.md", "text")
    assert normalised((shell.folder / "progress.txt").read_text()) == normalised(progress)
    (document,) = map(json.loads, blocks("README.md", "json"))
    result = json.loads((shell.folder / "result.json").read_text())
    assert shape(result) == shape(document)


def test_other_commands_of_the_readme_run(shell: Shell) -> None:
    (others,) = [block for block in blocks("README.md", "sh") if "validate tasks.json" in block]
    done = shell.run(others)
    assert done.returncode == 0, done.stderr
    assert '"status":"valid"' in done.stdout


def test_python_of_the_readme_runs(shell: Shell) -> None:
    (program,) = blocks("README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=shell.folder, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["success {'n': 1}", "{'n': 2}"], done.stderr


def test_command_for_a_coding_agent_prints_the_summary(shell: Shell) -> None:
    (command,) = [block for block in blocks("docs/operations.md", "sh") if "--quiet" in block]
    done = shell.run(command)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["unsuccessful"] == []
    assert "results" not in document


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_commands_for_what_takes_longer_follow_a_dispatch_to_its_end(
    shell: Shell, document: str
) -> None:
    (loop,) = [block for block in blocks(document, "sh") if "wait --timeout" in block]
    done = shell.run(loop)
    assert done.returncode == 0, done.stderr
    started, *others = map(json.loads, done.stdout.splitlines())
    assert started["status"] == "running"
    assert {each["status"] for each in others} == {"success"}
    assert {each["correlation_id"] for each in others} == {started["correlation_id"]}


def test_programs_of_the_documents_are_agents(shell: Shell) -> None:
    definition = next(block for block in blocks("docs/agents.md", "toml") if "wordcount" in block)
    python = next(block for block in blocks("docs/agents.md", "python") if "json.load" in block)
    (script,) = blocks("docs/agents.md", "sh")
    for name, text in (("d.toml", definition), ("wordcount.py", python), ("greet.sh", script)):
        (shell.folder / name).write_text(text)
    tasks = [
        {"task_id": "w", "agent": "wordcount", "input_data": {"text": "two words"}},
        {"task_id": "g", "agent": "greet", "input_data": {}},
        {"task_id": "wrong", "agent": "wordcount", "input_data": {"text": 1}},
    ]
    (shell.folder / "programs.json").write_text(json.dumps({"tasks": tasks}))
    done = shell.run("dispatch-runner --quiet --exit-zero --config d.toml < programs.json")
    words, greeting, wrong = json.loads(done.stdout)["results"]
    assert words["output"] == {"words": 2}
    assert greeting["output"]["text"] == "hello from g\n"
    assert wrong["error"]["type"] == "invalid_input"


def test_class_of_the_documents_is_an_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = next(block for block in blocks("docs/agents.md", "python") if "ShoutRole" in block)
    (tmp_path / "documented_roles.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    point = importlib.metadata.EntryPoint(
        "shout", "documented_roles:ShoutRole", "dispatch_runner.agents"
    )
    agent = Registry(Settings(cwd=tmp_path), scan=lambda: [point]).get("shout")
    assert agent is not None
    (problem,) = agent.role.check_input({}, None)  # type: ignore[arg-type]
    assert problem.code == "missing_field"
    assert agent.backend.unavailable(agent.role) is None


@pytest.mark.parametrize("document", ["docs/configuration.md", "docs/agents.md"])
def test_every_settings_file_of_the_documents_can_be_read(document: str) -> None:
    from dispatch_runner.settings.file import parse

    for block in blocks(document, "toml"):
        if "[agents." in block:
            parse(block.encode(), document)


def test_numbers_of_the_readme_name_their_command() -> None:
    text = (ROOT / "README.md").read_text()
    numbers = text[text.index("## Numbers") :]
    assert "`make bench`" in numbers[: numbers.index("|")]


def test_no_document_names_a_place_of_one_machine() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*")]:
        if path.is_file() and path.suffix != ".pyc":
            assert not re.search(r"/root/|/work/|/home/(?!ada/)|pypi|npmjs", path.read_text()), path
