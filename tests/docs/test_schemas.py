"""The schemas on disk are those of the code, and they judge documents as the code does."""

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from dispatch_runner.dispatching.schemas import all_schemas
from dispatch_runner.errors import RequestRejected
from dispatch_runner.models import (
    Problem,
    Rejection,
    Result,
    Summary,
    Task,
    TaskError,
    TaskResult,
    validators,
)
from dispatch_runner.models.attribute_docs import attribute_docs
from dispatch_runner.models.base import Model
from dispatch_runner.models.envelope import Envelope
from dispatch_runner.models.result import ErrorType, TaskStatus, Usage
from dispatch_runner.models.trace import Attempt, Index, IndexEntry, McpCall, Trace, TraceEvent
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.preflight.check import check
from dispatch_runner.preflight.schemas import render, schemas
from dispatch_runner.protocols import Agent
from dispatch_runner.testing import AnyInputRole, FixedAgents, ScriptedBackend, scripted_agent

FOLDER = Path(__file__).parents[2] / "schemas"
CONTRACT = all_schemas()
MINIMAL = {"task_id": "a", "agent": "echo", "input_data": {}}


@pytest.mark.parametrize("name", CONTRACT)
def test_file_is_what_the_code_generates(name: str) -> None:
    written = (FOLDER / f"{name}.schema.json").read_bytes()
    assert written == render(CONTRACT[name]), "run `make schemas`"


@pytest.mark.parametrize("name", CONTRACT)
def test_schema_is_valid_and_listed_in_the_readme(name: str) -> None:
    Draft202012Validator.check_schema(CONTRACT[name])
    assert f"`{name}.schema.json`" in (FOLDER / "README.md").read_text()


def test_same_code_gives_same_bytes() -> None:
    again = all_schemas()
    assert [render(schema) for schema in again.values()] == list(map(render, CONTRACT.values()))


@pytest.mark.parametrize("name", ["Request", "Task", "Config"])
def test_every_field_of_the_request_has_a_description(name: str) -> None:
    request = CONTRACT["request"]
    properties = (request if name == "Request" else request["$defs"][name])["properties"]
    assert [field for field, body in properties.items() if not body.get("description")] == []


def test_attribute_docs_join_lines_and_include_bases() -> None:
    assert attribute_docs(TaskResult)["status"].startswith("`success`, `error`")
    assert "\n" not in attribute_docs(Trace)["input"]


class _LintInput(Model):
    folder: str
    """Where to look."""


class _LintRole(AnyInputRole):
    input_model = _LintInput
    output_model = None


def test_agents_add_the_schemas_of_their_models() -> None:
    agent = Agent("lint", _LintRole("lint"), ScriptedBackend())
    found = schemas(FixedAgents(agent, scripted_agent("plain")))
    assert found.keys() - schemas(FixedAgents()).keys() == {"lint-input"}
    assert found["lint-input"]["required"] == ["folder"]
    assert found["lint-input"]["properties"]["folder"]["description"] == "Where to look."


ERROR = TaskError(ErrorType.CRASHED, "exit 1", details={"exit_code": 1})
FINISHED = TaskResult("a", "echo", "offline", TaskStatus.SUCCESS, {"n": 1}, usage=Usage(1))
SUMMARY = Summary(1, 1, 0, 0, 0, 0, 3.5, 1.0, 3.0, 0.2, 1, Usage())
EXAMPLES: list[tuple[str, Any]] = [
    ("result", Result("success", "id", None, [FINISHED], SUMMARY, "/i.json", "/r.json")),
    ("result", Rejection([Problem("cycle", "/tasks/0", "a -> a")])),
    ("envelope", Envelope("a", "lint", "", {}, {"b": None}, "id", 1, "/tmp")),
    (
        "trace",
        Trace(
            "a", "echo", None, "id", "", TaskStatus.ERROR, {}, None, ERROR, ("b",), 1.0,
            [Attempt(1, "t", "t", 1.0, ERROR)], [McpCall("s", "t", {}, None, False, 1.0)],
            [TraceEvent("t", "e")], None, [], None, None, "t",
        ),
    ),
    (
        "index",
        Index(
            "id", "t", "running", None, None, 1, {}, {}, None,
            [IndexEntry("a", "echo", "pending", None)], "/q", None, "/j", 1, "0.1.0",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), EXAMPLES, ids=[type(it[1]).__name__ for it in EXAMPLES])
def test_what_we_write_is_valid_and_has_every_field(name: str, value: Any) -> None:
    document = orjson.loads(orjson.dumps(value))
    validator = Draft202012Validator(CONTRACT[name])
    validator.validate(document)
    for field in dataclasses.fields(value):
        less = {key: item for key, item in document.items() if key != field.name}
        assert not validator.is_valid(less), field.name


def _with(**fields: Any) -> dict[str, Any]:
    return {"tasks": [{**MINIMAL, **fields}]}


CORPUS: list[Any] = [
    _with(),
    _with(task_id=""),
    _with(task_id="x" * 200),
    _with(task_id="x" * 201),
    _with(task_id="  "),
    _with(task_id="é \u200d 🚀 ../x"),
    _with(task_id="a\tb"),
    _with(task_id="a\u202eb"),
    _with(task_id=5),
    _with(agent=None),
    _with(description="text"),
    _with(description=1),
    _with(input_data=[]),
    _with(dependencies="a"),
    _with(dependencies=[1]),
    _with(priority=-7),
    _with(priority="1"),
    _with(priority=1.5),
    _with(priority=True),
    _with(timeout_seconds=5),
    _with(timeout_seconds=0.5),
    _with(timeout_seconds=0),
    _with(timeout_seconds="5"),
    _with(timeout_seconds=False),
    _with(timeout_seconds=None),
    _with(retries=0),
    _with(retries=10),
    _with(retries=11),
    _with(retries=-1),
    _with(estimated_seconds=-1),
    _with(resources={"units": 1}),
    _with(resources={"units": 0}),
    _with(resources={"units": True}),
    _with(resources=["units"]),
    _with(run_when="all_done"),
    _with(run_when="always"),
    _with(modifies_files=["/tmp/x"]),
    _with(modifies_files=[None]),
    _with(colour="red"),
    {"tasks": []},
    {"tasks": {}},
    {"tasks": [None]},
    {},
    [],
    {**_with(), "config": {}},
    {**_with(), "config": None},
    {**_with(), "config": {"max_workers": 10_000, "fail_fast": True, "trace_dir": "traces"}},
    {**_with(), "config": {"max_workers": 0}},
    {**_with(), "config": {"max_workers": 10_001}},
    {**_with(), "config": {"trace_dir": ""}},
    {**_with(), "config": {"fail_fast": 1}},
    {**_with(), "config": {"dispatch_timeout_seconds": 0}},
    {**_with(), "config": {"color": 1}},
    {**_with(), "correlation_id": "1F0C9A52-7c1e-4b7e-9d0a-3f5b8e2c6a41"},
    {**_with(), "correlation_id": "1f0c9a527c1e4b7e9d0a3f5b8e2c6a41"},
    {**_with(), "correlation_id": 7},
    {**_with(), "correlation_id": None},
    {**_with(), "metadata": {"any": [1]}},
    {**_with(), "metadata": None},
    {**_with(), "$schema": "request.schema.json"},
    {**_with(), "$schema": 1},
    {**_with(), "user_prompt": "do it"},
]


@pytest.mark.parametrize("document", CORPUS, ids=range(len(CORPUS)))
def test_the_request_schema_and_the_checks_agree(document: Any) -> None:
    try:
        check(
            document,
            agents=FixedAgents(scripted_agent("echo")),
            roots=AllowedRoots.of(["/tmp"]),
            limits={"units": 1},
        )
        admitted = True
    except RequestRejected:
        admitted = False
    assert Draft202012Validator(CONTRACT["request"]).is_valid(document) == admitted


def test_compiled_validators_are_those_of_the_dataclasses() -> None:
    assert validators.COMPILED.read_bytes() == validators.render(), "run `make schemas`"


def test_another_version_of_pydantic_core_only_costs_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "compiled.json"
    other.write_bytes(orjson.dumps({"pydantic_core": "0.0.1"}))
    monkeypatch.setattr(validators, "COMPILED", other)
    validators._schemas.cache_clear()
    try:
        task = validators.validator(Task).validate_python(MINIMAL)
    finally:
        validators._schemas.cache_clear()
    assert task == Task(**MINIMAL)
