"""Every example runs and does what `examples/README.md` says, and what it shows is real."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GENERATED = Path("/tmp/dispatch-runner-example")
PROGRAM = [sys.executable, "-m", "dispatch_runner"]
MAIN = "mixed_workflow.json"

FAILING = {
    "debug-relevance": """
from node_relevance_compute import ModelRelevanceInput, compute_relevance

compute_relevance(ModelRelevanceInput(query="dispatch", normalized_text="a graph of tasks"))
""",
    "debug-page-fetch": """
from asyncio import run
from uuid import UUID
from node_page_fetch_effect import (
    ModelPageFetchInput,
    ModelRetryPolicy,
    NodePageFetchEffect,
    PageFetchUnavailableError,
)

class Unplugged:
    async def fetch(self, contract, idempotency_key):
        raise PageFetchUnavailableError("connection refused")

node = NodePageFetchEffect(Unplugged(), retry=ModelRetryPolicy(max_attempts=1))
asked = ModelPageFetchInput(url="https://example.org", correlation_id=UUID(int=1))
run(node.execute_effect(asked))
""",
}
"""By task of the main example: a program that fails inside the module which that task analyses."""


def promised() -> dict[str, int]:
    """Exit code of each request, from the table."""
    table = re.findall(
        r"^\| `([^`]+)` \|.*\| (\d) \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE
    )
    return {name: int(code) for name, code in table}


def run(
    request: Path, cwd: Path, *flags: str
) -> tuple[int, dict[str, Any], subprocess.CompletedProcess[bytes]]:
    """The exit code, the document on stdout, and everything."""
    done = subprocess.run(
        [*PROGRAM, *flags], input=request.read_bytes(), cwd=cwd, capture_output=True, timeout=60
    )
    return done.returncode, json.loads(done.stdout), done


@pytest.fixture(scope="module")
def main_result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the main example gives."""
    code, document, done = run(
        EXAMPLES / MAIN, tmp_path_factory.mktemp("main"), "--allow-path", "/tmp"
    )
    assert code == promised()[MAIN], done.stderr.decode()
    return document


def outputs(document: dict[str, Any]) -> dict[str, Any]:
    return {task["task_id"]: task["output"] for task in document["results"]}


def test_every_file_is_in_the_table_of_examples() -> None:
    text = (EXAMPLES / "README.md").read_text()
    names = {path.name + "/" * path.is_dir() for path in EXAMPLES.iterdir()} - {"__pycache__/"}
    assert {name for name in names if f"| `{name}` |" not in text} == {"README.md"}


def test_main_example_succeeds_with_every_task_traced(main_result: dict[str, Any]) -> None:
    assert main_result["status"] == "success"
    assert main_result["summary"]["peak_concurrency"] > 1
    index = json.loads(Path(main_result["trace_index"]).read_text())
    assert index["status"] == "success"
    assert [task["task_id"] for task in index["tasks"]] == list(outputs(main_result))
    for task in index["tasks"]:
        assert json.loads(Path(task["trace_file"]).read_text())["status"] == "success"


def test_main_example_writes_modules_that_import(main_result: dict[str, Any]) -> None:
    coder = [task["output"] for task in main_result["results"] if task["agent"] == "coder"]
    assert len(coder) == 5
    names = [Path(output["generated_file"]).stem for output in coder]
    classes = [output["class_name"] for output in coder]
    pairs = zip(names, classes, strict=True)
    program = "\n".join(f"from {name} import {cls}" for name, cls in pairs)
    done = subprocess.run([sys.executable, "-c", program], cwd=GENERATED, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_main_example_uses_the_results_of_dependencies(main_result: dict[str, Any]) -> None:
    found = outputs(main_result)
    text = (GENERATED / "node_page_indexing_orchestrator.py").read_text()
    for task in ("page-fetch", "text-normaliser", "relevance", "page-summary"):
        assert found[task]["class_name"] in text
    assert found["report"]["open_points"] == found["relevance"]["open_points"] != []
    assert found["report"]["hypotheses"] == {
        "relevance": "supported", "page-fetch": "contradicted",
    }  # fmt: skip


@pytest.mark.parametrize("task_id", FAILING)
def test_tracebacks_of_the_main_example_are_real(task_id: str, main_result: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING[task_id]], cwd=GENERATED, capture_output=True, text=True
    )
    request = json.loads((EXAMPLES / MAIN).read_text())
    (shown,) = next(
        task["input_data"]["error_traces"]
        for task in request["tasks"]
        if task["task_id"] == task_id
    )
    assert frames(shown) == frames(done.stderr), f"the real one is:\n{json.dumps(done.stderr)}"


def frames(text: str) -> list[str]:
    """The lines of a traceback that do not depend on the version of Python: our frames, and errors."""
    lines = re.findall(r'^  File "[^"]+", line \d+, in .+$|^\S.*$', text, re.MULTILINE)
    return [line for line in lines if "/asyncio/" not in line]


@pytest.mark.parametrize("task_id", FAILING)
def test_suspects_of_the_main_example_are_where_it_fails(
    task_id: str, main_result: dict[str, Any]
) -> None:
    output = outputs(main_result)[task_id]
    suspect = output["suspects"][0]
    raised = [frame for trace in output["traces"] for frame in trace["frames"]]
    assert suspect["line_start"] in [frame["affected_line"] for frame in raised]
    assert Path(suspect["file"]).parent == GENERATED.resolve()


@pytest.mark.parametrize("name", [n for n in promised() if n.endswith(".json") and n != MAIN])
def test_example_request_ends_with_its_exit_code(name: str, tmp_path: Path) -> None:
    code, document, done = run(EXAMPLES / name, tmp_path, "--allow-path", "/tmp")
    assert code == promised()[name], done.stderr.decode()
    LESSONS[name](document)


def _chain(document: dict[str, Any]) -> None:
    found = outputs(document)
    assert found["typed"]["numbers"] == found["source"]["numbers"] == [3, 1, 2]
    assert found["typed"]["everything"] == found["source"]
    assert found["text"] == {
        "greeting": "Hello Ada, here is [3,1,2]",
        "literal": "${tasks.source.output.name} stays as it is, and so does ${HOME}",
    }


def _blocked(document: dict[str, Any]) -> None:
    found = {task["task_id"]: task for task in document["results"]}
    assert found["analyse"]["error"]["type"] == "missing_file"
    assert found["announce"]["blocked_by"] == found["fix"]["blocked_by"] == ["analyse"]
    assert found["unrelated"]["status"] == "success"


def _run_when(document: dict[str, Any]) -> None:
    statuses = {task["task_id"]: task["status"] for task in document["results"]}
    assert statuses == {
        "good": "success", "bad": "error", "report": "success", "salvage": "success",
        "publish": "blocked",
    }  # fmt: skip


def _rejected(document: dict[str, Any]) -> None:
    assert document["status"] == "rejected"
    assert {error["code"] for error in document["errors"]} == {
        "out_of_range", "unknown_field", "unknown_dependency", "cycle", "unknown_agent",
        "missing_field", "path_not_absolute", "reference_not_a_dependency",
    }  # fmt: skip


LESSONS = {
    "echo_chain.json": _chain,
    "blocked.json": _blocked,
    "run_when.json": _run_when,
    "rejected.json": _rejected,
}


def test_example_of_programs_runs_in_its_folder(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / "programs", tmp_path / "programs")
    code, document, done = run(folder / "request.json", folder, "--config", "dispatch.toml")
    assert code == promised()["programs/"], done.stderr.decode()
    found = outputs(document)
    assert found["count"] == {"words": 6, "characters": 18}
    assert found["report"] == {"title": "Report of headline\n", "words": 6}
    attempts = {task["task_id"]: task["attempts"] for task in document["results"]}
    assert attempts == {"count": 1, "headline": 1, "check": 1, "flaky": 2, "report": 1}


def test_example_of_a_markdown_agent_lacks_nothing_but_a_backend(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "--allow-path", "/tmp"],
        input=(EXAMPLES / "agents/request.json").read_bytes(),
        cwd=tmp_path,
        env={"DISPATCH_RUNNER_AGENTS": str(EXAMPLES / "agents")},
        capture_output=True,
    )
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["code"], error["task_id"]) == ("agent_unavailable", "review")
    assert "choose a backend" in error["message"]


def test_example_of_mixed_agents_runs_on_the_programs_that_it_names(tmp_path: Path) -> None:
    """With stand-ins that repeat what they are asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("claude", "codex", "gemini"):
        stand_in = ROOT / f"tests/support/agents/{name}.py"
        script = f'#!/bin/sh\nexec "{sys.executable}" -I -S "{stand_in}" echo "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    keys = ("ANTHROPIC_API_KEY", "CODEX_API_KEY", "GEMINI_API_KEY")
    agents = EXAMPLES / "agents"
    done = subprocess.run(
        [*PROGRAM, "--config", str(agents / "dispatch.toml"), "--allow-path", "/tmp"],
        input=(agents / "mixed.json").read_bytes(),
        cwd=tmp_path,
        env={
            **dict.fromkeys(keys, "dummy"),
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "DISPATCH_RUNNER_AGENTS": str(agents),
        },
        capture_output=True,
        timeout=60,
    )
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr.decode()
    by = {task["task_id"]: task["backend"] for task in document["results"]}
    assert by == {
        "module": "offline", "review": "claude-code", "objections": "codex",
        "statement": "gemini", "report": "offline",
    }  # fmt: skip
    found = outputs(document)
    assert "class NodeWordCountCompute" in found["review"]["text"]
    assert "You argue against" in found["statement"]["text"]


def test_example_of_the_python_api_runs(tmp_path: Path) -> None:
    program = [sys.executable, str(EXAMPLES / "python_api.py")]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "success [{'n': 20}, {'n': 20}]",
        "[{'of': 1}, {'m': 2}]",
        "success",
        "3 success",
        "[('unknown_agent', \"did you mean 'echo'? agents are: 'coder', 'debug', 'echo'\")]",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("echo_chain.json", "all tasks succeeded"),
        ("blocked.json", "some tasks did not succeed: see result.json"),
        ("rejected.json", "rejected, nothing ran: see result.json"),
    ],
)
def test_example_for_the_shell_ends_as_its_request_does(
    name: str, said: str, path_with_us: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["sh", str(EXAMPLES / "shell.sh"), str(EXAMPLES / name), "result.json"],
        cwd=tmp_path, env={"PATH": path_with_us}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (promised()[name], said), done.stderr
    assert json.loads((tmp_path / "result.json").read_text())


def test_example_for_ci_names_files_that_exist_and_flags_that_work(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((EXAMPLES / "github-actions.yml").read_text())["jobs"]["dispatch"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs[0] == "pip install ."
    for line in runs[1:]:
        (request,) = re.findall(r"examples/\S+\.json", line)
        assert (ROOT / request).is_file()
    done = subprocess.run(
        [*PROGRAM, "validate", str(EXAMPLES / MAIN)], cwd=tmp_path, capture_output=True
    )
    assert json.loads(done.stdout)["status"] == "valid"


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.json")), ids=lambda path: path.name)
def test_examples_that_run_are_valid_for_the_request_schema(path: Path) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((ROOT / "schemas/request.schema.json").read_text())
    valid = Draft202012Validator(schema).is_valid(json.loads(path.read_text()))
    assert valid == (path.name != "rejected.json")
