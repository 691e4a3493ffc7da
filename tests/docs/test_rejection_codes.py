"""Every rejection code of the source is documented, can be provoked, and says what is documented."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.errors import RequestRejected
from dispatch_runner.settings import Flags

ROOT = Path(__file__).parents[2]
PLACE_OF_CODE = {"add": 0, "_refuse": 1, "_report_reference": 0, "Problem": 0, "InputProblem": 1}
"""By the name of what is called: which argument is the code."""

CODE = re.compile("[a-z][a-z0-9_]+")

CONTRACT = {"contract_description": "adds", "node_type": "Compute", "output_path": "/tmp/a.py"}
TASK = {"task_id": "a", "agent": "echo", "input_data": {}}


def tasks(*changes: dict[str, Any]) -> bytes:
    """A request whose tasks are `TASK` with these changes."""
    return json.dumps({"tasks": [{**TASK, **change} for change in changes]}).encode()


def text(value: str) -> bytes:
    """A request with one value written as it is."""
    return tasks({"input_data": {"n": "@"}}).replace(b'"@"', value.encode())


def debug(path: str) -> bytes:
    """A request with one debug task about a file."""
    value = {"problem_description": "it stops", "affected_files": [path]}
    return tasks({"agent": "debug", "input_data": value})


def reference(written: str) -> dict[str, Any]:
    return {"input_data": {"x": written}}


PROVOCATIONS: dict[str, bytes] = {
    "empty_document": b"",
    "not_utf8": b'{"tasks": "\xff"}',
    "invalid_json": b'{"tasks": [],}',
    "not_an_object": b"[]",
    "duplicate_key": text('1, "n": 2'),
    "invalid_number": text("NaN"),
    "lone_surrogate": text('"\\ud800"'),
    "nested_too_deeply": b'{"tasks": ' + b"[" * 200 + b"]" * 200 + b"}",
    "document_too_large": b'{"tasks": [' + b"," * 5_000_000 + b"]}",
    "missing_field": b'{"tasks": [{"task_id": "a", "agent": "echo"}]}',
    "unknown_field": tasks({"timeout": 5}),
    "invalid_type": tasks({"priority": "1"}),
    "out_of_range": tasks({"retries": 11}),
    "invalid_value": tasks({"run_when": "always"}),
    "conflicting_fields": tasks({"dependencies": [], "depends_on": []}),
    "unprintable_id": tasks({"task_id": "a\tb"}),
    "duplicate_task_id": tasks({}, {}),
    "unknown_dependency": tasks({"task_id": "gen-model"}, {"dependencies": ["gen-modle"]}),
    "self_dependency": tasks({"dependencies": ["a"]}),
    "cycle": tasks({"dependencies": ["b"]}, {"task_id": "b", "dependencies": ["a"]}),
    "invalid_reference": tasks(reference("${tasks.b}")),
    "unknown_reference": tasks(reference("${tasks.b.output}")),
    "self_reference": tasks(reference("${tasks.a.output}")),
    "reference_not_a_dependency": tasks({}, {"task_id": "b", **reference("${tasks.a.output}")}),
    "unknown_agent": tasks({"agent": "ecko"}),
    "agent_unavailable": tasks({"agent": "gone"}),
    "unknown_limit": tasks({"resources": {"gpu": 1}}),
    "unknown_check": tasks({"checks": ["tests"]}),
    "check_unavailable": tasks({"checks": ["gone"]}),
    "unknown_cost": tasks({"agent": "coder", "input_data": CONTRACT, "max_cost_usd": 1}),
    "over_capacity": tasks({"resources": {"model": 5}}),
    "path_not_absolute": debug("api.py"),
    "path_outside_roots": debug("/etc/hosts"),
    "path_too_long": debug("/tmp/" + "x" * 300),
    "path_not_text": debug("/tmp/a\0b"),
    "no_worktree": tasks({"workspace": "worktree"}),
}
"""For every code of a request a document that is refused with it."""

SETTINGS = """
[agents.gone]
command = ["./there-is-no-such-program"]

[agents.coder]
backend = "acp"
command = ["true"]

[checks.gone]
command = ["there-is-no-such-program"]

[limits.model]
capacity = 4
"""


def codes_in_the_source() -> set[str]:
    """All codes: literals where one is given, assigned to `code`, or returned by the check of paths."""
    found: set[str] = set()
    for path in (ROOT / "dispatch_runner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found |= _codes_of(node, path.name == "paths.py")
    return found


def _codes_of(node: ast.AST, paths: bool) -> set[str]:
    match node:
        case ast.Call(func, arguments):
            name = ast.unparse(func).rpartition(".")[2]
            place = PLACE_OF_CODE.get(name, len(arguments))
            value = arguments[place] if place < len(arguments) else None
        case ast.Assign([ast.Name("code")], value):
            pass
        case ast.Return(ast.Tuple([value, _, _])) if paths:
            pass
        case _:
            return set()
    if not isinstance(value, ast.Constant | ast.IfExp):
        return set()
    literals = {each.value for each in ast.walk(value) if isinstance(each, ast.Constant)}
    return {each for each in literals if isinstance(each, str) and CODE.fullmatch(each)}


def documented() -> dict[str, str]:
    """Code and message of each row in the tables of rejections."""
    protocol = (ROOT / "docs/protocol.md").read_text()
    section = protocol[protocol.index("\n## Rejection\n") : protocol.index("\n## Exit codes\n")]
    return dict(re.findall(r"^\| `([a-z0-9_]+)` \| (.+?) \|", section, re.MULTILINE))


def test_every_code_is_documented_and_no_other() -> None:
    fields = {"status", "errors", "interrupted", "warnings"}
    codes = codes_in_the_source()
    assert PROVOCATIONS.keys() <= codes, "the search of the source misses some"
    assert codes - documented().keys() - IN_THE_TEXT == set()
    assert documented().keys() - codes - fields == set()


IN_THE_TEXT = {"not_json"}
"""Documented below the table."""


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """An operator who defined a limit, and an agent that cannot run."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "agents.toml").write_text(SETTINGS)
    return Operator.of(Flags(config=folder / "agents.toml"), {}, folder)


@pytest.mark.parametrize("code", PROVOCATIONS)
def test_documented_message_is_the_one_that_is_given(code: str, operator: Operator) -> None:
    with pytest.raises(RequestRejected) as rejected:
        prepare(operator, PROVOCATIONS[code])
    (problem,) = rejected.value.problems
    assert problem.code == code
    shown = documented()[code].partition(" (the place follows")[0]
    start, cut, end = shown.partition("...")
    said = problem.message.partition("\n")[0]
    assert said.startswith(start), said
    assert said.endswith(end) if cut else said == start, said
