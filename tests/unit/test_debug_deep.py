"""Depth `deep` on real programs with real faults, through real test runs."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SHIPPING = '''
FREE_FROM = 50


def fee(total, express):
    """Free from 50 on; express costs 5 more in any case."""
    cost = 4
    if total > FREE_FROM:
        cost = 0
    if express:
        cost += 5
    return cost
'''
SHIPPING_TESTS = """
import pytest
from shipping import fee


@pytest.mark.parametrize(
    ("total", "express", "expected"),
    [(10, False, 4), (50, False, 0), (50, True, 5), (90, False, 0), (10, True, 9), (49, True, 9)],
)
def test_fee(total, express, expected):
    assert fee(total, express) == expected
"""


class Project:
    """A folder with a program, its tests, and an agent that analyses it."""

    def __init__(self, folder: Path, **texts: str) -> None:
        self.folder = folder
        for name, text in texts.items():
            (folder / f"{name}.py").write_text(text)
        self.files = [str(folder / f"{name}.py") for name in texts if not name.startswith("test_")]
        self.tests = [str(folder / f"{name}.py") for name in texts if name.startswith("test_")]
        self.commands: dict[str, list[str]] = {}
        self.seconds = 60.0

    async def analysis(self, **fields: Any) -> JsonObject:
        role = DebugRole(self.commands)
        value = {
            "problem_description": "it is wrong",
            "affected_files": self.files,
            "analysis_depth": "deep",
            "test_paths": self.tests,
            **fields,
        }
        roots = AllowedRoots((str(self.folder),))
        call = AgentCall(
            "t", "debug", "", value, {}, "id", 1, self.seconds, self.folder, roots, None, anyio.Event()
        )  # fmt: skip
        assert role.check_input(value, roots) == []
        return (await role.verify(call, await role.solve(call))).output

    def digest(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def shipping(tmp_path):
    return Project(tmp_path, shipping=SHIPPING, test_shipping=SHIPPING_TESTS)


async def test_the_wrong_comparison_is_first_and_a_change_is_proposed(shipping):
    before = shipping.digest()
    output = await shipping.analysis(hypothesis="the boundary is off by one in `fee`, line 8")
    first = output["suspects"][0]
    assert (first["line_start"], first["function"]) == (8, "fee")
    assert (first["function_start"], first["function_end"]) == (5, 12)
    assert output["tests"]["failed"] == 2
    assert output["tests"]["passed"] == 4
    assert output["tests"]["mutants_tried"] == output["tests"]["mutants_planned"] > 50
    solution = output["bfros"]["optimal_solution"]
    assert "found by mutation, tests passed 6/6" in solution["description"]
    assert "`if total >= FREE_FROM:` instead of `if total > FREE_FROM:`" in solution["description"]
    assert "with these the tests pass, too" in solution["steps"][1]
    assert not solution["determined"]
    assert output["hypothesis"]["verdict"] == "supported"
    assert output["confidence"]["level"] in ("medium", "high")
    assert "2 of 6 tests fail" in output["bfros"]["behaviour"]["deviation"]
    assert shipping.digest() == before


async def test_a_hypothesis_about_lines_that_no_failing_test_runs_is_contradicted(tmp_path):
    program = SHIPPING + "\n\ndef label(total):\n    return str(total)\n"
    project = Project(tmp_path, shipping=program, test_shipping=SHIPPING_TESTS)
    output = await project.analysis(hypothesis="`label` formats the total wrongly")
    assert output["hypothesis"]["verdict"] == "contradicted"
    assert "no failing test runs" in output["hypothesis"]["why"][0]


async def test_a_loop_that_never_ends_is_stopped_and_found(tmp_path):
    program = "def halve(n):\n    steps = 0\n    while n > 1:\n        n = n - n // 2 * 0\n        steps += 1\n    return steps\n"
    tests = (
        "from halve import halve\n\ndef test_one():\n    assert halve(1) == 0\n\n"
        "def test_four():\n    assert halve(4) == 2\n"
    )
    project = Project(tmp_path, halve=program, test_halve=tests)
    project.seconds = 20.0
    output = await project.analysis(hypothesis="an endless loop in `halve`")
    assert output["tests"]["hung"] == 1
    assert output["suspects"][0]["line_start"] in (3, 4)
    assert {item["line_start"] for item in output["suspects"][:3]} >= {4}
    assert output["hypothesis"]["verdict"] == "supported"


async def test_a_wrong_constant_of_the_module_is_found(tmp_path):
    program = "LIMIT = 9\n\n\ndef accepts(count):\n    return count <= LIMIT\n"
    tests = (
        "from limit import accepts, LIMIT\n\ndef test_ten():\n    assert accepts(10)\n\n"
        "def test_eleven():\n    assert not accepts(11)\n\ndef test_limit():\n    assert LIMIT == 10\n"
    )
    output = await Project(tmp_path, limit=program, test_limit=tests).analysis()
    mended = [item for item in output["suspects"] if item["line_start"] == 1]
    assert mended, output["suspects"]
    assert "LIMIT = 10" in mended[0]["evidence_for"][-1]["observation"]


async def test_a_crash_of_one_test_costs_only_that_test(tmp_path):
    program = (
        "import os\n\n\ndef end(code):\n    if code > 2:\n        os._exit(code)\n    return code\n"
    )
    tests = (
        "from end import end\n\ndef test_a():\n    assert end(1) == 1\n\n"
        "def test_b():\n    assert end(3) == 3\n\ndef test_c():\n    assert end(2) == 2\n"
    )
    output = await Project(tmp_path, end=program, test_end=tests).analysis()
    assert (output["tests"]["crashed"], output["tests"]["passed"]) == (1, 2)
    assert [item["test"] for item in output["tests"]["failures"]] == ["test_end.py::test_b"]


async def test_memory_is_limited(tmp_path):
    program = "def grow(size):\n    return bytearray(size)\n"
    tests = "from grow import grow\n\ndef test_grow():\n    assert len(grow(1 << 40)) == 1 << 40\n"
    output = await Project(tmp_path, grow=program, test_grow=tests).analysis()
    assert output["tests"]["failures"][0]["message"].startswith("MemoryError")


async def test_tracebacks_of_tests_are_evidence_without_frames_of_the_tests(tmp_path):
    program = "def head(items):\n    first = None\n    for item in items[:0]:\n        first = item\n    return first.strip()\n"
    tests = "from head import head\n\ndef test_head():\n    assert head([' a']) == 'a'\n"
    output = await Project(tmp_path, head=program, test_head=tests).analysis()
    assert output["traces"][0]["error_type"] == "AttributeError"
    assert output["traces"][0]["source"] is None
    assert {item["file"] for item in output["suspects"]} == {str(tmp_path / "head.py")}


async def test_tests_that_cannot_be_imported_are_told(tmp_path):
    program = "import jsonn\n\n\ndef load(text):\n    return jsonn.loads(text)\n"
    tests = "from load import load\n\ndef test_load():\n    assert load('1') == 1\n"
    output = await Project(tmp_path, load=program, test_load=tests).analysis()
    assert "jsonn" in output["tests"]["not_imported"][0]
    assert output["suspects"][0]["line_start"] == 1


async def test_when_every_test_passes_nothing_is_claimed(tmp_path):
    program = "def one():\n    return 1\n"
    tests = "from one import one\n\ndef test_one():\n    assert one() == 1\n"
    with pytest.raises(AgentError) as caught:
        await Project(tmp_path, one=program, test_one=tests).analysis()
    assert caught.value.type == ErrorType.UNVERIFIED
    analysis = caught.value.details["analysis"]
    assert analysis["tests"]["passed"] == 1
    assert any(item["what"] == "mutants" for item in analysis["not_assessed"])


async def test_a_test_that_only_fails_after_another_is_no_measure_of_changes(tmp_path):
    program = "seen = []\n\n\ndef once(x):\n    seen.append(x)\n    return len(seen) == 1\n"
    tests = (
        "from once import once\n\ndef test_first():\n    assert once(1)\n\n"
        "def test_second():\n    assert once(2)\n"
    )
    output = await Project(tmp_path, once=program, test_once=tests).analysis(
        hypothesis="flaky: the order of the tests decides"
    )
    assert any("pass when they are run alone" in item["why"] for item in output["not_assessed"])
    assert output["hypothesis"]["verdict"] == "supported"


async def test_an_operators_command_runs_the_tests(shipping):
    shipping.commands = {"unit": [sys.executable, "-m", "pytest", "-q", *shipping.tests]}
    output = await shipping.analysis(test_command="unit", test_paths=[])
    assert output["suspects"][0]["line_start"] == 8
    assert output["tests"]["command"] == shipping.commands["unit"]


async def test_a_command_that_runs_no_pytest_still_gives_its_traceback(shipping):
    program = "import shipping\n\nshipping.fee(None, False)\n"
    (shipping.folder / "run.py").write_text(program)
    shipping.commands = {"script": [sys.executable, str(shipping.folder / "run.py")]}
    output = await shipping.analysis(test_command="script", test_paths=[])
    assert output["traces"][0]["error_type"] == "TypeError"
    assert any(item["what"] == "coverage of the tests" for item in output["not_assessed"])


async def test_a_command_that_cannot_be_started_is_not_assessed(shipping):
    shipping.commands = {"gone": [str(shipping.folder / "no-such-program")]}
    with pytest.raises(AgentError) as caught:
        await shipping.analysis(test_command="gone")
    told = caught.value.details["analysis"]["not_assessed"]
    assert any("cannot be started" in item["why"] for item in told)


async def test_when_time_is_short_what_was_seen_is_used(tmp_path):
    tests = SHIPPING_TESTS + "\n\ndef test_slow():\n    import time\n    time.sleep(3)\n"
    project = Project(tmp_path, shipping=SHIPPING, test_shipping=tests)
    project.seconds = 4.0
    output = await project.analysis()
    assert output["tests"]["failed"] == 2
    assert any("the time for" in item["why"] for item in output["not_assessed"])


@pytest.mark.parametrize("depth", ["quick", "standard"])
async def test_only_deep_runs_tests(tmp_path, depth):
    marker = tmp_path / "ran"
    program = "def f(x=[]):\n    return undefined\n"
    tests = f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    project = Project(tmp_path, f=program, test_f=tests)
    output = await project.analysis(analysis_depth=depth)
    assert output["tests"] is None
    assert any(item["what"] == "running tests" for item in output["not_assessed"])
    assert not marker.exists()


async def test_a_named_test_that_does_not_exist_is_an_error(shipping):
    with pytest.raises(AgentError) as caught:
        await shipping.analysis(test_paths=[str(shipping.folder / "test_gone.py")])
    assert caught.value.type == ErrorType.MISSING_FILE


def test_paths_outside_and_unknown_commands_are_rejected_before_anything_runs(tmp_path):
    value = {
        "problem_description": "p",
        "affected_files": [str(tmp_path / "a.py")],
        "test_paths": ["/etc/test_a.py", "tests"],
        "test_command": "rm -rf /",
    }
    role = DebugRole({"unit": ["pytest"]})
    problems = role.check_input(value, AllowedRoots((str(tmp_path),)))
    assert [item.location for item in problems] == [
        ("test_paths", 0),
        ("test_paths", 1),
        ("test_command",),
    ]
    assert "unit" in (problems[-1].hint or "")


async def test_a_module_that_never_ends_its_import_is_stopped(tmp_path):
    program = "names = ['a']\nwhile names:\n    names.append('b')\n    names.pop()\n\n\ndef f():\n    return 1\n"
    tests = "from never import f\n\ndef test_f():\n    assert f() == 1\n"
    project = Project(tmp_path, never=program, test_never=tests)
    project.seconds = 10.0
    output = await project.analysis()
    assert "Stopped" in output["tests"]["not_imported"][0]
    assert output["suspects"][0]["line_start"] in (2, 3, 4)
