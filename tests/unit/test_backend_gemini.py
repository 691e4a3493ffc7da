"""What is particular to Gemini CLI; the rest is in the suite of `tests/conformance/`."""

from pathlib import Path
from typing import Any

import pytest

from conformance.agent_builders import gemini
from dispatch_runner.backends.gemini.backend import GeminiBackend, has_settings
from dispatch_runner.models import ErrorType
from dispatch_runner.protocols import Question
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import SCHEMA, Agent, agent_call, role_of
from support.stand_ins import asked, given

pytestmark = pytest.mark.anyio


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(gemini, tmp_path)


@pytest.mark.parametrize(
    ("access", "mode", "policy"),
    [
        ("read", "default", None),
        ("edit", "auto_edit", None),
        ("execute", "auto_edit", "run_shell_command"),
    ],
)
async def test_modes_and_a_policy_keep_the_access(
    agent: Agent, access: Any, mode: str, policy: str | None
) -> None:
    await asked(agent, Question("x", access=access))
    flags = given(agent)["flags"]
    assert flags["approval_mode"] == mode
    assert (policy or "") in (flags["policy"] or "")
    assert (flags["policy"] is None) is (policy is None)


async def test_the_policy_names_the_commands_that_the_role_names(agent: Agent) -> None:
    tools = ("Read", "Bash(git *)", "Bash(make:*)")
    await asked(agent, Question("x", access="execute", tools=tools))
    policy = given(agent)["flags"]["policy"]
    assert policy.count("[[rule]]") == 2
    assert 'commandPrefix = "git"' in policy
    assert 'commandPrefix = "make"' in policy


async def test_a_model_is_always_named(agent: Agent) -> None:
    await asked(agent, Question("x"))
    assert given(agent)["flags"]["model"] == "pro"
    await asked(agent, Question("x"), model="gemini-2.5-flash")
    assert given(agent)["flags"]["model"] == "gemini-2.5-flash"


async def test_with_a_key_its_home_and_settings_are_private(agent: Agent) -> None:
    await asked(agent, Question("x"), max_turns=7, base_url="http://127.0.0.1:1")
    settings, environment = given(agent)["settings"], given(agent)["environment"]
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert settings["general"]["maxAttempts"] == 1
    assert settings["model"]["maxSessionTurns"] == 7
    assert environment["GOOGLE_GEMINI_BASE_URL"] == "http://127.0.0.1:1"
    assert not Path(environment["GEMINI_CLI_HOME"]).exists()


async def test_without_a_key_the_users_login_is_used(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(agent.folder))
    async with agent.backend("success") as backend:
        monkeypatch.delenv("GEMINI_API_KEY")
        await backend.answer(role_of(), agent_call(agent.folder))
    assert "GEMINI_CLI_HOME" not in given(agent)["environment"]


@pytest.mark.parametrize("name", [".gemini/settings.json", ".env", "../.env"])
def test_settings_that_a_repository_brings_are_seen(tmp_path: Path, name: str) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    assert not has_settings(workspace)
    file = workspace / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert has_settings(workspace)


async def test_a_repository_with_settings_is_not_trusted_by_us(agent: Agent) -> None:
    (agent.folder / "workspace/.gemini").mkdir(parents=True)
    error, _ = await agent.fails("success")
    assert error.type is ErrorType.PERMISSION_DENIED
    assert "trust" in str(error.hint)
    assert given(agent)["flags"]["skip_trust"] is False


async def test_a_prompt_is_never_a_command_of_the_program(agent: Agent) -> None:
    answer, _ = await agent.ask("echo", Question("/quit now"))
    assert answer.output["text"] == "Your task:\n\n/quit now"


async def test_an_at_sign_is_never_the_name_of_a_file_to_the_program(agent: Agent) -> None:
    answer, _ = await agent.ask("echo", Question("@dataclass(frozen=True)\nfor a@b.c, \\@d and @"))
    note, _, text = answer.output["text"].partition("\n\n")
    assert "stands for an at sign" in note
    assert text == "\\@dataclass(frozen=True)\nfor a\\@b.c, \\@d and \\@"


async def test_the_schema_is_put_into_words(agent: Agent) -> None:
    answer, _ = await agent.ask("echo", Question("an object please", schema=SCHEMA))
    assert answer.output == SCHEMA


async def test_a_file_outside_the_workspace_is_a_denial(agent: Agent) -> None:
    error, _ = await agent.fails("outside")
    assert error.type is ErrorType.PERMISSION_DENIED


async def test_a_tool_that_never_existed_is_none(agent: Agent) -> None:
    answer, _ = await agent.ask("misnamed")
    assert answer.output == {"text": "hello"}


async def test_no_login_is_refused_access(agent: Agent) -> None:
    error, _ = await agent.fails("unlogged")
    assert error.type is ErrorType.AUTH
    assert "Auth method" in error.message


async def test_the_time_to_wait_is_read_from_its_words(agent: Agent) -> None:
    error, _ = await agent.fails("429")
    assert error.retry_after == 7.0
    assert not error.exhausted


async def test_without_a_record_the_sum_at_the_end_counts(agent: Agent) -> None:
    _, call = await agent.ask("unrecorded")
    assert call.meter.usage is not None
    assert (call.meter.usage.input_tokens, call.meter.usage.requests) == (100, None)


async def test_its_words_before_the_last_tool_are_not_the_answer(agent: Agent) -> None:
    answer, _ = await agent.ask("tool")
    assert answer.output == {"text": "hello"}


def test_a_program_that_is_not_there_is_named_with_its_installation() -> None:
    reason = GeminiBackend(BackendOptions("a", command=("no-such-gemini",))).unavailable(role_of())
    assert reason is not None
    assert "npm install" in reason


def test_the_cost_is_known_for_a_model_with_a_price_only() -> None:
    assert (
        GeminiBackend(BackendOptions("a", model="gemini-2.5-pro")).unknown_cost(role_of()) is None
    )
    assert GeminiBackend(BackendOptions("a")).unknown_cost(role_of())
