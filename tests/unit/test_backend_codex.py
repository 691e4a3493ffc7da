"""What is particular to Codex; the rest is in the suite of `tests/conformance/`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance.agent_builders import codex
from dispatch_runner.backends.codex.backend import CodexBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import MARKER
from dispatch_runner.protocols import Question, Repair
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import SCHEMA, Agent, agent_call, role_of
from support.stand_ins import asked, given

pytestmark = pytest.mark.anyio


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(codex, tmp_path)


@pytest.mark.parametrize(
    ("access", "sandbox", "network"),
    [
        ("read", "read-only", None),
        ("edit", "workspace-write", False),
        ("execute", "workspace-write", True),
    ],
)
async def test_the_sandbox_keeps_the_access(
    agent: Agent, access: Any, sandbox: str, network: bool | None
) -> None:
    await asked(agent, Question("x", access=access))
    assert given(agent)["flags"]["sandbox"] == sandbox
    assert given(agent)["config"].get("sandbox_workspace_write.network_access") is network


async def test_the_operators_access_goes_before_the_roles(agent: Agent) -> None:
    await asked(agent, Question("x", access="execute"), access="read")
    assert given(agent)["flags"]["sandbox"] == "read-only"


async def test_some_commands_only_means_no_network(agent: Agent) -> None:
    await asked(agent, Question("x", access="execute", tools=("Bash(git *)",)))
    assert given(agent)["config"]["sandbox_workspace_write.network_access"] is False


async def test_commands_of_the_agent_see_no_key_but_our_marker(agent: Agent) -> None:
    await asked(agent, Question("x"))
    seen = given(agent)["config"]["shell_environment_policy.include_only"]
    assert MARKER in seen
    assert not [name for name in seen if "KEY" in name]


async def test_a_server_of_the_operators_is_named_with_few_retries(agent: Agent) -> None:
    await asked(agent, Question("x"), base_url="http://127.0.0.1:1/v1", api_key_env="MY_KEY")
    config = given(agent)["config"]
    provider = f"model_providers.{config['model_provider']}"
    assert config[f"{provider}.base_url"] == "http://127.0.0.1:1/v1"
    assert config[f"{provider}.env_key"] == "MY_KEY"
    assert config[f"{provider}.request_max_retries"] == 0


async def test_the_key_of_the_operator_has_the_name_that_codex_looks_for(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "of a test")
    await asked(agent, Question("x"), api_key_env="MY_KEY")
    assert given(agent)["environment"]["CODEX_API_KEY"] == "of a test"


async def test_the_model_is_the_operators_else_the_wish_of_the_role(agent: Agent) -> None:
    await asked(agent, Question("x", model="gpt-wished"))
    assert given(agent)["flags"]["model"] == "gpt-wished"
    await asked(agent, Question("x", model="gpt-wished"), model="gpt-chosen")
    assert given(agent)["flags"]["model"] == "gpt-chosen"


@pytest.mark.parametrize("wish", ["sonnet", "inherit", "claude-opus-5", "opusplan"])
async def test_a_model_of_claudes_is_not_asked_for(agent: Agent, wish: str) -> None:
    await asked(agent, Question("x", model=wish))
    assert given(agent)["flags"]["model"] is None


async def test_a_strict_schema_is_handed_over(agent: Agent) -> None:
    await asked(agent, Question("x", schema=SCHEMA), "structured")
    assert given(agent)["flags"]["output_schema"] == SCHEMA


async def test_a_schema_that_is_not_strict_is_put_into_words(agent: Agent) -> None:
    schema: JsonObject = {"type": "object", "properties": {"maybe": {"type": "string"}}}
    answer, _ = await agent.ask("echo", Question("x", schema=schema))
    assert given(agent)["flags"]["output_schema"] is None
    assert answer.output == schema


async def test_who_it_is_comes_before_the_prompt(agent: Agent) -> None:
    answer, _ = await agent.ask("echo", Question("do it", system="you are careful"))
    assert answer.output["text"] == "you are careful\n\ndo it"


async def test_the_tokens_of_a_resumed_session_are_not_counted_twice(agent: Agent) -> None:
    call = agent_call(agent.folder)
    async with agent.backend("repair") as backend:
        first = await backend.answer(role_of(), call)
        call.repair = Repair(1, "wrong", first.output, first.session)
        await backend.answer(role_of(), call)
    assert call.meter.usage is not None
    assert (call.meter.usage.input_tokens, call.meter.usage.requests) == (200, 2)


async def test_a_session_that_was_not_kept_is_asked_anew(agent: Agent) -> None:
    lost = Repair(1, "it is wrong", None, "01a20e9b-8c19-7d02-b041-8fc5957b0999")
    answer, _ = await agent.ask("echo", Question("the question"), repair=lost)
    assert "the question" in answer.output["text"]
    assert "it is wrong" in answer.output["text"]


async def test_without_a_record_the_sum_at_the_end_counts(agent: Agent) -> None:
    _, call = await agent.ask("unrecorded")
    assert call.meter.usage is not None
    assert (call.meter.usage.input_tokens, call.meter.usage.requests) == (100, None)


async def test_without_a_record_tools_are_known_by_the_events(agent: Agent) -> None:
    _, call = await agent.ask("tool-unrecorded")
    assert [event.event for event in call.log.events].count("tool") == 1


async def test_a_request_that_was_cut_off_has_no_known_cost(agent: Agent) -> None:
    _, call = await agent.fails("crash")
    assert call.meter.usage is not None
    assert (call.meter.usage.requests, call.meter.usage.cost_usd) == (1, None)


async def test_an_error_item_of_a_successful_run_is_a_warning(agent: Agent) -> None:
    answer, _ = await agent.ask("noted")
    assert answer.output == {"text": "hello"}
    assert "Model metadata" in answer.warnings[0]


async def test_a_patch_that_was_rejected_is_a_denial(agent: Agent) -> None:
    error, _ = await agent.fails("rejected")
    assert error.type is ErrorType.PERMISSION_DENIED


async def test_an_answer_that_is_too_long_is_no_answer(agent: Agent) -> None:
    error, _ = await agent.fails("long")
    assert error.type is ErrorType.BUDGET_EXCEEDED


async def test_its_own_retries_for_429_slow_the_provider_down(agent: Agent) -> None:
    _, call = await agent.ask("retries")
    assert call.meter.throttles == [None]  # type: ignore[attr-defined]


async def test_a_refused_key_is_not_tried_five_times_more(agent: Agent) -> None:
    error, _ = await agent.fails("refused")
    assert (error.type, error.exhausted) == (ErrorType.AUTH, True)


async def test_the_reset_of_a_quota_is_the_next_time_the_clock_shows_it(agent: Agent) -> None:
    error, _ = await agent.fails("quota")
    assert error.resets_at is not None
    assert 0 <= error.resets_at - time.time() <= 86_400
    assert time.strftime("%H:%M", time.localtime(error.resets_at)) == "18:22"


async def test_what_codex_does_not_take_is_a_crash_with_its_words(agent: Agent) -> None:
    async with agent.backend("success") as backend:
        command = (*backend._options.command, "--no-such-flag")  # type: ignore[attr-defined]
        broken = CodexBackend(replace(backend._options, command=command))  # type: ignore[attr-defined]
        with pytest.raises(AgentError, match="Usage: codex exec"):
            await broken.answer(role_of(), agent_call(agent.folder))


def test_a_program_that_is_not_there_is_named_with_its_installation() -> None:
    reason = CodexBackend(BackendOptions("a", command=("no-such-codex",))).unavailable(role_of())
    assert reason is not None
    assert "'no-such-codex' was not found" in reason
    assert "npm install" in reason


def test_a_key_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CodexBackend(BackendOptions("a", command=("sh",), api_key_env="NO_SUCH_KEY"))
    assert "NO_SUCH_KEY" in str(backend.unavailable(role_of()))
    monkeypatch.setenv("NO_SUCH_KEY", "of a test")
    fresh = CodexBackend(BackendOptions("a", command=("sh",), api_key_env="NO_SUCH_KEY"))
    assert fresh.unavailable(role_of()) is None


async def test_a_connection_that_was_refused_cost_nothing(agent: Agent) -> None:
    _, call = await agent.fails("unreachable")
    assert call.meter.usage is None


def test_the_cost_is_known_for_a_model_with_a_price_only() -> None:
    assert CodexBackend(BackendOptions("a", model="gpt-5")).unknown_cost(role_of()) is None
    for model in (None, "no-such-model"):
        assert CodexBackend(BackendOptions("a", model=model)).unknown_cost(role_of())
