"""Depth `quick`: what is parsed, and that the event loop is not kept waiting."""

import threading
import traceback
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.agents.debug.threads import each_in_thread
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

pytestmark = pytest.mark.anyio

FAILING = "from lookup import find\n\n\ndef name(users):\n    user = find(users)\n    return user['name']\n"
LOOKUP = "def find(users):\n    for user in users:\n        return user\n"
OTHER = "def other(items):\n    return len(items)\n"
WRONG = "def wrong():\n    return undefined_thing\n"


async def solved(folder: Path, texts: dict[str, str], **fields: Any) -> JsonObject:
    for name, text in texts.items():
        (folder / name).write_text(text)
    value: JsonObject = {
        "problem_description": "it fails",
        "affected_files": [str(folder / name) for name in texts],
        "analysis_depth": "quick",
        **fields,
    }
    roots = AllowedRoots((str(folder),))
    call = AgentCall("t", "debug", "", value, {}, "id", 1, 60.0, folder, roots, None, anyio.Event())
    return (await DebugRole().solve(call)).output


def trace_of(path: Path) -> str:
    """The traceback of `name([])` in the program at that path."""
    names: dict[str, Any] = {"find": lambda users: None}
    text = FAILING.replace("from lookup import find", "")
    try:
        exec(compile(text, str(path), "exec"), names)
        names["name"]([])
    except TypeError:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


async def test_only_files_that_matter_are_parsed(tmp_path):
    texts = {"page.py": FAILING, "lookup.py": LOOKUP, "other.py": OTHER, "wrong.py": WRONG}
    output = await solved(tmp_path, texts, error_traces=[trace_of(tmp_path / "page.py")])
    functions = {Path(item["file"]).name: item["functions"] for item in output["files"]}
    assert functions == {"page.py": 1, "lookup.py": 1, "other.py": None, "wrong.py": 1}
    assert any(item["what"] == "the structure of 1 files" for item in output["not_assessed"])
    found = {item["rule"]: item["function"] for item in output["findings"]}
    assert found["F821"] == "wrong"


async def test_without_traces_all_files_are_parsed(tmp_path):
    output = await solved(tmp_path, {"other.py": OTHER, "wrong.py": WRONG})
    assert [item["functions"] for item in output["files"]] == [1, 1]


async def test_a_file_that_the_description_names_a_function_of_is_parsed(tmp_path):
    output = await solved(
        tmp_path,
        {"page.py": FAILING, "other.py": OTHER},
        error_traces=[trace_of(tmp_path / "page.py")],
        problem_description="`other` counts wrongly",
    )
    assert [item["functions"] for item in output["files"]] == [1, 1]


async def test_work_in_threads_keeps_its_order_and_never_runs_at_once():
    running, most = 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        result = number * sum(range(2_000)) // sum(range(2_000))
        with lock:
            running -= 1
        return result

    results: list[list[int]] = []

    async def run() -> None:
        results.append(await each_in_thread(work, range(50)))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(run)
    assert results == [list(range(50))] * 5
    assert most == 1
