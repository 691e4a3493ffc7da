"""Each gate passes what is right, finds what is wrong, and says when it cannot judge."""

import os
from pathlib import Path

import anyio
import pytest

from dispatch_runner.agents.coder.gates import Candidate, Verdict, run_gates
from dispatch_runner.agents.coder.models import Gate, Level, NodeType
from dispatch_runner.analysis import tools

pytestmark = pytest.mark.anyio

GOOD = '''"""A node."""

from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field


class ModelEchoInput(BaseModel):
    """Input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    correlation_id: UUID = Field(default_factory=uuid4)


class ModelEchoOutput(BaseModel):
    """Output."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str


class NodeEchoCompute:
    """Gives the text back."""

    async def execute_compute(self, contract: ModelEchoInput) -> ModelEchoOutput:
        """The same text."""
        return ModelEchoOutput(text=contract.text)
'''
BODY = "        return ModelEchoOutput(text=contract.text)\n"


@pytest.fixture(autouse=True)
def type_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy learns of pydantic once a session, not in the home of who runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "coder-cache"))


def candidate(
    source: str | bytes,
    level: Level = "moderate",
    *,
    open_declared: bool = False,
    node_type: NodeType = "Compute",
) -> Candidate:
    return Candidate(
        source=source if isinstance(source, bytes) else source.encode(),
        node_type=node_type,
        level=level,
        stem="node_echo_compute",
        methods=["execute_compute", "process_compute", "process"],
        open_declared=open_declared,
    )


def gate(verdict: Verdict, name: str) -> Gate:
    return next(gate for gate in verdict.gates if gate.name == name)


def bad(verdict: Verdict) -> list[str]:
    return [gate.name for gate in verdict.gates if gate.status != "passed"]


async def test_lenient_parses_and_lints_and_nothing_is_run():
    verdict = await run_gates(candidate(GOOD + "\nraise SystemExit(3)\n", "lenient"))

    assert [(g.name, g.status, g.blocking) for g in verdict.gates] == [
        ("syntax", "passed", True), ("lint", "passed", True), ("format", "failed", False),
    ]  # fmt: skip


async def test_moderate_imports_builds_the_models_and_looks_at_names():
    verdict = await run_gates(candidate(GOOD))

    assert [g.name for g in verdict.gates] == [
        "syntax",
        "lint",
        "format",
        "naming",
        "import",
        "models",
    ]
    assert bad(verdict) == []
    assert all(g.duration_ms > 0 for g in verdict.gates if g.name in {"lint", "import"})


@pytest.mark.slow
async def test_strict_checks_types_and_tries_the_node():
    verdict = await run_gates(candidate(GOOD, "strict"))

    assert [g.name for g in verdict.gates][-2:] == ["types", "self_test"]
    assert bad(verdict) == []


@pytest.mark.parametrize("source", ["def broken(:\n", b"\xff\xfe", "x = 1\x00", "(" * 5000])
async def test_a_file_that_does_not_parse_fails_and_the_rest_is_not_assessed(source):
    verdict = await run_gates(candidate(source))

    assert gate(verdict, "syntax").status == "failed"
    assert gate(verdict, "syntax").findings[0].message
    assert {g.status for g in verdict.gates if g.name != "syntax"} == {"not_assessed"}


async def test_a_lint_finding_has_rule_and_line():
    verdict = await run_gates(candidate("import os\n" + GOOD, "lenient"))

    findings = {(f.code, f.line) for f in gate(verdict, "lint").findings}
    assert ("F401", 1) in findings


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (
            ("NodeEchoCompute", "EchoNode"),
            "exactly one class has to be named Node<Name>Compute; found: none",
        ),
        (
            ("NodeEchoCompute", "NodeEchoEffect"),
            "exactly one class has to be named Node<Name>Compute; found: 'NodeEchoEffect'",
        ),
        (
            ("ModelEchoOutput", "EchoOutput"),
            "class 'EchoOutput' derives from BaseModel: its name starts with 'Model'",
        ),
    ],
)
async def test_a_name_against_the_rules_is_found(change, finding):
    verdict = await run_gates(candidate(GOOD.replace(*change)))

    assert finding in [f.message for f in gate(verdict, "naming").findings]


async def test_a_module_that_fails_at_import_fails_that_gate_only():
    verdict = await run_gates(candidate(GOOD + "\nraise RuntimeError('not today')\n"))

    assert gate(verdict, "import").findings[0].message == "RuntimeError: not today"
    assert gate(verdict, "models").status == "not_assessed"
    assert gate(verdict, "naming").status == "passed"


async def test_a_module_that_ends_the_interpreter_fails_the_import():
    verdict = await run_gates(candidate("import os\n" + GOOD + "\nos._exit(7)\n"))

    assert "exit code 7" in gate(verdict, "import").findings[0].message


async def test_a_module_that_prints_does_not_disturb_the_report():
    verdict = await run_gates(candidate(GOOD + "\nimport sys\n\nsys.stdout.write('{}')\n"))

    assert gate(verdict, "import").status == "passed"


async def test_a_package_that_is_not_installed_is_not_assessed_rather_than_failed():
    verdict = await run_gates(candidate("import a_package_that_is_not_there\n" + GOOD))

    assert gate(verdict, "import").status == "not_assessed"
    assert (
        "'a_package_that_is_not_there' is not installed"
        in gate(verdict, "import").findings[0].message
    )


async def test_a_model_that_cannot_be_made_or_takes_unknown_fields_is_found():
    loose = GOOD.replace(
        '    model_config = ConfigDict(extra="forbid", frozen=True)\n\n    text: str\n\n\n',
        "    text: str\n\n\n",
    )
    verdict = await run_gates(candidate(loose))

    assert [f.message for f in gate(verdict, "models").findings] == [
        "ModelEchoOutput: an unknown field is not refused (set extra='forbid')"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "name", "finding"),
    [
        ((BODY, "        return ModelEchoOutput(text=3)\n"), "types", "incompatible type"),
        (
            ("text: str\n    correlation_id", "text: Any\n    correlation_id"),
            "types",
            "spell the type",
        ),
        (
            (BODY, "        raise ZeroDivisionError(contract.text)\n"),
            "self_test",
            "raised ZeroDivisionError",
        ),
        (
            (BODY, "        return ModelEchoOutput(text=str(uuid4()))\n"),
            "self_test",
            "not deterministic",
        ),
        (("execute_compute", "work"), "self_test", "none of the work methods"),
        ((BODY, "        raise NotImplementedError\n"), "self_test", "open:"),
    ],
)
async def test_strict_finds_wrong_types_and_wrong_behaviour(change, name, finding):
    source = GOOD.replace(*change).replace(
        "from uuid", "from typing import Any\nfrom uuid" if "Any" in change[1] else "from uuid"
    )
    verdict = await run_gates(candidate(source, "strict"))

    assert gate(verdict, name).status == "failed"
    assert finding in gate(verdict, name).findings[0].message


@pytest.mark.slow
async def test_a_declared_open_point_passes_and_is_told():
    source = GOOD.replace(BODY, '        raise NotImplementedError("not stated")\n')
    verdict = await run_gates(candidate(source, "strict", open_declared=True))

    assert gate(verdict, "self_test").status == "passed"
    assert [f.code for f in gate(verdict, "self_test").findings] == ["open_point"]


async def test_a_missing_tool_is_not_assessed(monkeypatch):
    monkeypatch.setattr(tools, "find", lambda name: None)
    verdict = await run_gates(candidate(GOOD, "strict"))

    assert bad(verdict) == ["lint", "format", "types"]
    assert {gate(verdict, name).status for name in bad(verdict)} == {"not_assessed"}
    assert gate(verdict, "types").findings[0].message == "mypy is not installed"


async def test_a_module_that_never_ends_is_ended_when_the_task_is_cancelled(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = f"from pathlib import Path\n{GOOD}\nPath({str(pipe)!r}).write_text('here')\nwhile True:\n    pass\n"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(run_gates, candidate(source))
            assert await anyio.to_thread.run_sync(pipe.read_text) == "here"
            group.cancel_scope.cancel()
