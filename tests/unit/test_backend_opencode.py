"""What is particular to opencode; the rest is in the suite of `tests/conformance/`."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from conformance.agent_builders import opencode
from dispatch_runner.backends.opencode.backend import OpencodeBackend
from dispatch_runner.models import ErrorType
from dispatch_runner.protocols import Question
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import SCHEMA, Agent, WatchedMeter, agent_call, descendants, role_of
from support.stand_ins import asked, given

pytestmark = pytest.mark.anyio


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(opencode, tmp_path)


@pytest.mark.parametrize(
    ("access", "edits", "runs"), [("read", 0, 0), ("edit", 1, 0), ("execute", 1, 1)]
)
async def test_permissions_keep_the_access(
    agent: Agent, access: Any, edits: int, runs: int
) -> None:
    await asked(agent, Question("x", access=access))
    permissions = given(agent)["settings"]["permission"]
    assert permissions["*"] == "deny"
    assert permissions["read"] == "allow"
    assert permissions.get("edit") == ("allow" if edits else None)
    assert permissions.get("bash") == ("allow" if runs else None)


async def test_only_the_commands_that_the_role_names_may_run(agent: Agent) -> None:
    await asked(agent, Question("x", access="execute", tools=("Read", "Bash(git *)")))
    bash = given(agent)["settings"]["permission"]["bash"]
    assert list(bash.items()) == [("*", "deny"), ("git *", "allow")]


async def test_nothing_of_a_repository_is_read_and_nothing_is_fetched(agent: Agent) -> None:
    await asked(agent, Question("x"))
    environment = given(agent)["environment"]
    assert environment["OPENCODE_DISABLE_PROJECT_CONFIG"] == "1"
    assert environment["OPENCODE_DISABLE_MODELS_FETCH"] == "1"
    assert given(agent)["settings"]["share"] == "disabled"


async def test_a_server_of_the_operators_is_asked_with_the_key_by_its_name(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "of a test")
    options = {"model": "mine/big", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "MY_KEY"}
    await asked(agent, Question("x"), **options)
    provider = given(agent)["settings"]["provider"]["mine"]
    assert provider["options"] == {"baseURL": "http://127.0.0.1:1/v1", "apiKey": "{env:MY_KEY}"}
    assert provider["models"] == {"big": {}}
    assert provider["npm"] == "@ai-sdk/openai-compatible"
    assert given(agent)["environment"]["MY_KEY"] == "of a test"


async def test_only_the_key_of_the_models_provider_is_passed_on(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "of a test")
    await asked(agent, Question("x"), model="openai/gpt-5")
    assert "OPENAI_API_KEY" in given(agent)["environment"]
    assert "ANTHROPIC_API_KEY" not in given(agent)["environment"]


async def test_the_schema_is_put_into_words(agent: Agent) -> None:
    answer, _ = await agent.ask("echo", Question("an object please", schema=SCHEMA))
    assert answer.output == SCHEMA


async def test_a_cost_that_it_knows_counts(agent: Agent) -> None:
    _, call = await agent.ask("priced")
    assert call.meter.usage is not None
    assert call.meter.usage.cost_usd == 0.25


async def test_a_cost_of_0_is_not_believed(agent: Agent) -> None:
    _, call = await agent.ask("success")
    assert call.meter.usage is not None
    assert call.meter.usage.cost_usd is None


async def test_a_price_of_the_list_counts_where_it_knows_none(agent: Agent) -> None:
    call = agent_call(agent.folder)
    async with agent.backend("success", model="openai/gpt-5") as backend:
        await backend.answer(role_of(), call)
    assert call.meter.usage is not None
    assert call.meter.usage.cost_usd == pytest.approx((100 * 1.25 + 20 * 10) / 1e6)


@pytest.mark.parametrize("scenario", ["working", "deaf"])
async def test_an_agent_cancelled_at_work_leaves_nothing_and_an_unknown_cost(
    agent: Agent, scenario: str
) -> None:
    call = agent_call(agent.folder)
    assert isinstance(call.meter, WatchedMeter)
    with anyio.fail_after(30):
        async with opencode.build(scenario, agent.folder, grace_seconds=0.3) as backend:
            async with anyio.create_task_group() as group:
                group.start_soon(backend.answer, role_of(), call)
                await call.meter.working.wait()
                group.cancel_scope.cancel()
    assert descendants() == set()
    assert call.meter.usage is not None
    assert (call.meter.usage.requests, call.meter.usage.cost_usd) == (1, None)


async def test_a_permission_that_it_rejected_is_a_denial(agent: Agent) -> None:
    error, _ = await agent.fails("rejected")
    assert error.type is ErrorType.PERMISSION_DENIED
    assert "rejected permission" in error.message


async def test_a_tool_that_never_existed_is_none(agent: Agent) -> None:
    answer, _ = await agent.ask("misnamed")
    assert answer.output == {"text": "hello"}


async def test_steps_that_say_nothing_without_end_are_ended(agent: Agent) -> None:
    with anyio.fail_after(20):
        error, _ = await agent.fails("endless")
    assert error.type is ErrorType.BAD_OUTPUT


@pytest.mark.parametrize(
    ("scenario", "kind"), [("cut", ErrorType.BUDGET_EXCEEDED), ("midway", ErrorType.UNVERIFIED)]
)
async def test_an_end_in_the_middle_is_no_answer(
    agent: Agent, scenario: str, kind: ErrorType
) -> None:
    error, _ = await agent.fails(scenario)
    assert error.type is kind
    assert "middle" in error.message


async def test_each_attempt_has_a_database_of_its_own(agent: Agent) -> None:
    await asked(agent, Question("x"))
    assert given(agent)["environment"]["OPENCODE_DB"] == str(agent.folder / "opencode/task.1.db")


async def test_a_database_that_is_just_being_made_is_waited_for(agent: Agent) -> None:
    error, _ = await agent.fails("migrating")
    assert error.type is ErrorType.UNAVAILABLE
    assert error.retryable
    assert error.retry_after == 1.0


async def test_a_failure_without_a_name_that_is_tried_again_is_the_providers(agent: Agent) -> None:
    with anyio.fail_after(20):
        error, call = await agent.fails("unnamed")
    assert error.type is ErrorType.OVERLOADED
    assert error.retryable
    assert [event.event for event in call.log.events].count("provider_error") == 2


async def test_a_failure_of_a_side_request_is_none_of_the_turn(agent: Agent) -> None:
    answer, _ = await agent.ask("title")
    assert answer.output == {"text": "hello"}


def test_an_address_needs_a_model_with_its_provider() -> None:
    backend = OpencodeBackend(BackendOptions("a", base_url="http://127.0.0.1:1", model="big"))
    assert "PROVIDER/MODEL" in str(backend.unavailable(role_of()))


def test_a_program_that_is_not_there_is_named_with_its_installation() -> None:
    backend = OpencodeBackend(BackendOptions("a", command=("no-such-opencode",)))
    assert "npm install" in str(backend.unavailable(role_of()))


@pytest.mark.parametrize(
    ("model", "known"),
    [("openai/gpt-5", True), ("anthropic/claude-sonnet-4-5", True), (None, False)],
)
def test_the_cost_is_known_for_a_model_with_a_price_only(model: str | None, known: bool) -> None:
    backend = OpencodeBackend(BackendOptions("a", model=model))
    assert (backend.unknown_cost(role_of()) is None) is known
