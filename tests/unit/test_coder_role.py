"""The role as the engine sees it: a file in place, or a cause and no file."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.agents.coder.models import CoderOutput
from dispatch_runner.agents.coder.role import CoderRole
from dispatch_runner.analysis import tools
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, OfflineRole

pytestmark = pytest.mark.anyio

ROLE = CoderRole()
DATA = Path(__file__).parents[1] / "data" / "coder"
CONTRACTS = sorted(DATA.iterdir())


@pytest.fixture(autouse=True)
def type_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy learns of pydantic once a session, not in the home of who runs the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "coder-cache"))


def call(folder: Path, **changes: Any) -> AgentCall:
    value = {
        "contract_description": "Compute node called words that takes text and returns word_count",
        "node_type": "Compute",
        "output_path": str(folder / "node_words_compute.py"),
        "validation_level": "lenient",
        **changes,
    }
    (folder / "records").mkdir(exist_ok=True)
    return AgentCall(
        task_id="t", agent="coder", description="", input=value, dependencies={}, correlation_id="c", attempt=1,
        timeout_seconds=60, workspace=folder, roots=AllowedRoots((str(folder.resolve()),)),
        output_prefix=folder / "records" / "t", hurry=anyio.Event(),
    )  # fmt: skip


def text(path: str | Path) -> str:
    return Path(path).read_text()


def put(path: str | Path, content: str) -> None:
    Path(path).write_text(content)


def mode(path: str | Path) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def is_there(path: str | Path) -> bool:
    return Path(path).exists()


async def run(made: AgentCall) -> Answer:
    assert ROLE.check_input(made.input, made.roots) == []
    return await ROLE.verify(made, await ROLE.solve(made))


async def refused(made: AgentCall, answer: Answer | None = None) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await (run(made) if answer is None else ROLE.verify(made, answer))
    return caught.value


def test_it_is_a_role_with_an_offline_answer():
    assert isinstance(ROLE, OfflineRole)


async def test_the_file_is_where_it_was_asked_for_and_the_output_describes_it(tmp_path):
    made = call(tmp_path, validation_level="moderate")
    answer = await run(made)
    output = CoderOutput.model_validate(answer.output, strict=False)
    data = text(made.input["output_path"]).encode()

    assert output.generated_file == made.input["output_path"]
    assert output.sha256 == hashlib.sha256(data).hexdigest()
    assert output.lines == data.count(b"\n")
    assert (output.class_name, output.node_type) == ("NodeWordsCompute", "Compute")
    assert output.models == ["ModelWordsInput", "ModelWordsOutput"]
    assert output.validation_passed
    assert {gate.status for gate in output.gates} == {"passed"}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda path: path.stem)
async def test_every_contract_of_the_corpus_passes_moderate(tmp_path, contract):
    await check_contract(tmp_path, contract, "moderate")


@pytest.mark.slow
@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda path: path.stem)
async def test_every_contract_of_the_corpus_passes_strict(tmp_path, contract):
    await check_contract(tmp_path, contract, "strict")


async def check_contract(folder: Path, contract: Path, level: str) -> None:
    node_type = contract.stem.rsplit("_", 1)[1].capitalize()
    made = call(
        folder, contract_description=text(contract), node_type=node_type,
        output_path=str(folder / f"node_{contract.stem}.py"), validation_level=level,
    )  # fmt: skip
    output = (await run(made)).output

    assert output["class_name"] == "Node" + "".join(
        word.capitalize() for word in contract.stem.split("_")
    )
    assert {gate["status"] for gate in output["gates"]} == {"passed"}
    assert output["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["standalone", "standalone-process"])
@pytest.mark.parametrize("contract", CONTRACTS[::3], ids=lambda path: path.stem)
async def test_profiles_without_a_base_library_pass_strict(tmp_path, contract, profile):
    node_type = contract.stem.rsplit("_", 1)[1].capitalize()
    made = call(
        tmp_path,
        contract_description=text(contract),
        node_type=node_type,
        profile=profile,
        validation_level="strict",
    )

    assert (await run(made)).output["validation_passed"]


async def test_a_profile_whose_base_library_is_missing_is_unverified_beyond_lenient(tmp_path):
    assert (await run(call(tmp_path, profile="omnibase-core"))).output["validation_passed"]

    error = await refused(
        call(tmp_path, profile="omnibase-core", validation_level="moderate", overwrite=True)
    )

    assert error.type is ErrorType.UNVERIFIED
    assert "'omnibase_core' is not installed" in error.message


async def test_folders_on_the_way_are_made(tmp_path):
    made = call(tmp_path, output_path=str(tmp_path / "a" / "b" / "node_words_compute.py"))

    assert is_there((await run(made)).output["generated_file"])


async def test_the_file_has_the_usual_mode_and_nothing_else_is_left_beside_it(tmp_path):
    made = call(tmp_path)
    await run(made)

    assert mode(made.input["output_path"]) & 0o600 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node_words_compute.py", "records"]


async def test_a_file_that_exists_is_kept_without_overwrite_and_replaced_with_it(tmp_path):
    made = call(tmp_path)
    path = Path(made.input["output_path"])
    put(path, "precious")

    error = await refused(made)
    assert (error.type, error.details["code"]) == (ErrorType.INVALID_INPUT, "output_exists")
    assert text(path) == "precious"

    await run(call(tmp_path, overwrite=True))
    assert "class NodeWordsCompute" in text(path)


async def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    made = call(tmp_path)
    answer = await ROLE.solve(made)
    path = Path(made.input["output_path"])
    put(path, "precious")

    assert (await refused(made, answer)).details["code"] == "output_exists"
    assert text(path) == "precious"


async def test_a_folder_that_becomes_a_link_out_is_not_followed(tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (tmp_path / "sub").mkdir()
    made = call(tmp_path, output_path=str(tmp_path / "sub" / "node_words_compute.py"))
    answer = await ROLE.solve(made)
    (tmp_path / "sub").rmdir()
    (tmp_path / "sub").symlink_to(outside)

    error = await refused(made, answer)

    assert (error.type, error.details["code"]) == (
        ErrorType.PERMISSION_DENIED,
        "path_outside_roots",
    )
    assert list(outside.iterdir()) == []


async def test_a_file_where_a_folder_should_be_is_an_invalid_input(tmp_path):
    (tmp_path / "sub").write_text("")

    error = await refused(
        call(tmp_path, output_path=str(tmp_path / "sub" / "node_words_compute.py"))
    )

    assert error.type is ErrorType.INVALID_INPUT


async def test_a_context_file_that_is_missing_is_named(tmp_path):
    error = await refused(call(tmp_path, context_files=[str(tmp_path / "gone.yaml")]))

    assert error.type is ErrorType.MISSING_FILE
    assert "gone.yaml" in error.message


async def test_a_contract_in_a_context_file_is_used(tmp_path):
    contract = tmp_path / "contract.yaml"
    contract.write_text(
        "name: node_tea_compute\nnode_type: COMPUTE\ninputs: {leaves: int}\noutputs: {leaves: int}\n"
    )

    output = (
        await run(call(tmp_path, contract_description="the node", context_files=[str(contract)]))
    ).output

    assert output["class_name"] == "NodeTeaCompute"


async def test_a_pipe_among_the_context_files_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with anyio.fail_after(5):
        error = await refused(call(tmp_path, context_files=[str(tmp_path / "pipe")]))

    assert error.type is ErrorType.INVALID_INPUT


BROKEN = "def broken(:\n"


async def test_a_file_that_fails_a_gate_is_kept_beside_the_trace_only(tmp_path):
    made = call(tmp_path)
    error = await refused(made, Answer({"code": BROKEN}))

    assert error.type is ErrorType.CHECK_FAILED
    assert error.message.startswith("failed at level lenient: 'syntax'")
    assert error.details["gates"][0]["findings"][0]["line"] == 1
    kept = Path(error.details["rejected_file"])
    assert (kept.name, text(kept)) == ("t.rejected.py", BROKEN)
    assert mode(kept) == 0o600
    assert not is_there(made.input["output_path"])


async def test_what_another_backend_wrote_itself_is_judged_and_taken_away_when_it_fails(tmp_path):
    made = call(tmp_path)
    path = Path(made.input["output_path"])
    put(path, "X = 1\n")
    assert (await ROLE.verify(made, Answer({"text": "done"}))).output["generated_file"] == str(path)

    put(path, BROKEN)
    error = await refused(made, Answer({"text": "done"}))

    assert error.type is ErrorType.CHECK_FAILED
    assert not is_there(path)
    assert text(error.details["rejected_file"]) == BROKEN


async def test_an_agent_that_wrote_nothing_did_not_succeed(tmp_path):
    error = await refused(call(tmp_path), Answer({"text": "I have created the file!"}))

    assert error.type is ErrorType.UNVERIFIED


async def test_a_gate_that_could_not_judge_is_not_a_success(tmp_path, monkeypatch):
    find = tools.find
    monkeypatch.setattr(tools, "find", lambda name: None if name == "ruff" else find(name))
    error = await refused(call(tmp_path))

    assert error.type is ErrorType.UNVERIFIED
    assert "'lint': ruff is not installed" in error.message
    assert ROLE.missing_tools() == ["ruff"]


async def test_the_same_input_gives_the_same_bytes(tmp_path):
    first = (await run(call(tmp_path))).output["sha256"]

    assert (await run(call(tmp_path, overwrite=True))).output["sha256"] == first


async def test_hostile_text_gives_a_module_that_imports(tmp_path):
    evil = 'Takes note (default """), `x` and é\\N{X} \x00 \u202e; returns "result" \'\'\' # {x}\nimport os\n$(id) %s'
    output = (
        await run(call(tmp_path, contract_description=evil, validation_level="moderate"))
    ).output

    assert output["validation_passed"]
