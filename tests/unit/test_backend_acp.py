"""The backend `acp`: what the conformance suite does not ask, against the stand-in."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from conformance.agent_builders.acp import stand_in
from dispatch_runner.backends.acp.backend import AcpBackend
from dispatch_runner.backends.acp.connection import RpcError
from dispatch_runner.backends.acp.failures import failure_of
from dispatch_runner.backends.acp.policy import Policy, permission
from dispatch_runner.backends.acp.session import CANCEL_SECONDS
from dispatch_runner.backends.acp.spending import Spending
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, Question, Repair
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import SCHEMA, WatchedMeter, agent_call, role_of

pytestmark = pytest.mark.anyio

Ask = Callable[..., Any]
EDIT = Question("write it", access="edit")


@pytest.fixture
def call(tmp_path: Path, anyio_backend: str) -> AgentCall:
    return agent_call(tmp_path)


def backend(scenario: str, *state: Path, **options: Any) -> AcpBackend:
    return AcpBackend(BackendOptions("asking", command=stand_in(scenario, *state), **options))


async def ask(
    scenario: str, call: AgentCall, question: Question | None = None, **options: Any
) -> Answer:
    return await backend(scenario, **options).answer(role_of(question), call)


async def failure(
    scenario: str, call: AgentCall, question: Question | None = None, **options: Any
) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await ask(scenario, call, question, **options)
    return caught.value


def told(call: AgentCall, event: str) -> list[JsonObject]:
    return [each.data for each in call.log.events if each.event == event]


# leave


async def test_a_denied_edit_does_not_happen_and_is_named(call: AgentCall) -> None:
    error = await failure("denied", call)
    assert error.message == "the agent was not allowed to use 'write'"
    assert error.details["denied"] == ["write"]
    assert not (call.workspace / "notes.txt").exists()
    assert told(call, "permission") == [{"name": "write", "kind": "edit", "granted": False}]


async def test_an_edit_is_granted_where_the_role_needs_it(call: AgentCall) -> None:
    answer = await ask("denied", call, EDIT)
    assert answer.output == {"text": "all is done"}
    assert (call.workspace / "notes.txt").exists()


async def test_the_operators_access_goes_before_the_roles(call: AgentCall) -> None:
    assert (await failure("denied", call, EDIT, access="read")).details["denied"] == ["write"]
    assert (await ask("denied", call, access="edit")).output


async def test_nothing_outside_the_roots_may_be_changed(call: AgentCall) -> None:
    error = await failure("outside", call, EDIT)
    assert error.type is ErrorType.PERMISSION_DENIED


async def test_leave_is_given_for_once_and_a_tool_may_be_asked_for_before_it_is_told(
    call: AgentCall,
) -> None:
    answer = await ask("gemini", call, EDIT)
    assert answer.output == {"text": "chosen: once"}
    assert [each["name"] for each in told(call, "tool")] == ["Writing to a.txt"]
    assert isinstance(call.meter, WatchedMeter)
    assert call.meter.working.is_set()
    assert call.meter.usage == Usage(200, 40)


@pytest.mark.parametrize(("access", "chosen"), [("edit", None), ("execute", "once")])
async def test_programs_run_with_the_access_for_it_only(
    call: AgentCall, access: Any, chosen: str | None
) -> None:
    if chosen is None:
        assert (await failure("run", call, access=access)).details["denied"] == ["make"]
    else:
        assert (await ask("run", call, access=access)).output == {"text": f"chosen: {chosen}"}


@pytest.mark.parametrize(
    ("scenario", "what"), [("unasked", "'rm -rf' (execute)"), ("sneaking", "'write' (edit)")]
)
async def test_what_is_done_without_leave_ends_it(
    call: AgentCall, scenario: str, what: str
) -> None:
    with anyio.fail_after(10):
        error = await failure(scenario, call, EDIT)
    assert error.type is ErrorType.PERMISSION_DENIED
    assert what in error.message
    assert call.meter.usage == Usage(100, 20)


async def test_what_its_own_mode_refused_is_denied(call: AgentCall) -> None:
    assert (await failure("planning", call)).details["denied"] == ["write"]


async def test_more_rights_are_never_given_and_not_needed(call: AgentCall) -> None:
    answer = await ask("switch", call, access="execute")
    assert answer.output == {"text": "chosen: reject"}


@pytest.mark.parametrize(
    ("tools", "most", "kinds"),
    [
        (None, None, {"read", "search", "think", "fetch"}),
        (("Read", "Grep"), None, {"think", "read", "search"}),
        (("Read", "Write", "Bash"), None, {"think", "read", "edit", "execute"}),
        (("Read", "Write", "Bash"), "edit", {"think", "read", "edit"}),
        (("Bash(git *)", "Unheard"), "execute", {"think"}),
    ],
)
def test_named_tools_are_kinds_within_the_operators_access(
    tools: tuple[str, ...] | None, most: Any, kinds: set[str]
) -> None:
    question = Question("?", tools=tools)
    assert Policy(question, most, AllowedRoots(("/",)), "/").kinds == kinds


def test_leave_for_ever_is_not_given_and_without_a_refusal_the_tool_is_cancelled() -> None:
    cancelled = {"outcome": {"outcome": "cancelled"}}
    assert permission([{"optionId": "a", "kind": "allow_always"}], granted=True) == cancelled
    assert permission("nonsense", granted=False) == cancelled


# modes, models, sessions


@pytest.mark.parametrize(("access", "mode"), [("read", "readOnly"), ("edit", "default")])
async def test_the_mode_fits_the_access(call: AgentCall, access: Any, mode: str) -> None:
    answer = await ask("modes", call, Question("?", access=access))
    assert json.loads(answer.output["text"]) == {"mode": mode}
    assert told(call, "session")[0]["mode"] == mode


async def test_mode_and_model_may_be_options_of_the_session(call: AgentCall) -> None:
    answer = await ask("options", call, model="Large")
    assert json.loads(answer.output["text"]) == {"mode": "plan", "model": "large"}


async def test_a_model_that_the_agent_lacks_is_an_error_when_the_operator_chose_it(
    call: AgentCall,
) -> None:
    error = await failure("options", call, model="larger")
    assert error.type is ErrorType.INVALID_INPUT
    assert error.hint == "did you mean 'large'?"
    assert (await failure("success", call, model="large")).hint


async def test_a_model_that_only_the_role_wishes_for_is_a_warning(call: AgentCall) -> None:
    answer = await ask("options", call, Question("?", model="sonnet"))
    assert "offers no model 'sonnet'" in answer.warnings[0]


async def test_a_missing_log_in_is_told_with_what_to_do(call: AgentCall) -> None:
    error = await failure("login", call)
    assert error.type is ErrorType.AUTH
    assert error.exhausted
    assert "api_key_env" in (error.hint or "")


@pytest.mark.parametrize("scenario", ["key", "variable"])
async def test_a_key_in_its_environment_logs_it_in(call: AgentCall, scenario: str) -> None:
    assert (await ask(scenario, call)).output == {"text": "hello"}


async def test_another_version_of_the_protocol_is_not_spoken(call: AgentCall) -> None:
    error = await failure("newer", call)
    assert error.type is ErrorType.UNAVAILABLE
    assert not error.retryable
    assert "version 2" in error.message


@pytest.mark.parametrize("scenario", ["repair", "resume", "late_replay"])
async def test_a_further_round_goes_on_in_the_session(
    call: AgentCall, scenario: str, tmp_path: Path
) -> None:
    agent = backend(scenario, tmp_path / "sessions")
    first = await agent.answer(role_of(), call)
    again = replace(call, repair=Repair(1, "wrong is wrong", first.output, first.session))
    assert (await agent.answer(role_of(), again)).output == {"text": "right"}
    assert [each["continued"] for each in told(call, "session")] == [False, True]


@pytest.mark.parametrize("able", [True, False])
async def test_all_is_said_again_where_the_session_is_lost(
    call: AgentCall, able: bool, tmp_path: Path
) -> None:
    repair = Repair(1, "wrong is wrong", {"text": "wrong"}, "long-gone")
    states = [tmp_path / "sessions"] if able else []
    agent = backend("echo", *states)
    question = Question("say hello", system="You are kind.")
    answer = await agent.answer(role_of(question), replace(call, repair=repair))
    for part in ("say hello", "You are kind.", "wrong is wrong"):
        assert part in answer.output["text"]
    assert bool(told(call, "session_lost")) is able


async def test_an_object_is_asked_for_in_words(call: AgentCall) -> None:
    answer = await ask("echo", call, Question("how much?", schema=SCHEMA | {"properties": {}}))
    assert answer.output["type"] == "object"  # the schema itself, since it was said


# what it consumes


async def test_a_budget_in_usd_ends_it(call: AgentCall) -> None:
    with anyio.fail_after(10):
        error = await failure("spending", replace(call, budget=Budget(cost_usd=0.6)))
    assert error.type is ErrorType.BUDGET_EXCEEDED
    assert call.meter.usage is not None
    assert call.meter.usage.cost_usd is not None
    assert call.meter.usage.cost_usd >= 0.75


@pytest.mark.parametrize(("scenario", "cost"), [("priced", 0.5), ("free", None), ("success", None)])
async def test_a_cost_is_what_the_agent_tells_and_never_nothing(
    call: AgentCall, scenario: str, cost: float | None
) -> None:
    await ask(scenario, call)
    assert call.meter.usage == Usage(100, 20, cost_usd=cost)


async def test_its_turns_are_limited(call: AgentCall) -> None:
    with anyio.fail_after(10):
        error = await failure("spending", call, max_turns=2)
    assert error.type is ErrorType.BUDGET_EXCEEDED
    assert "3 requests" in error.message


async def test_no_tokens_are_unknown_tokens(call: AgentCall) -> None:
    await ask("uncounted", call)
    assert call.meter.usage is None


@pytest.mark.parametrize(("total", "output"), [(118, 30), (108, 20)])
def test_thoughts_are_output_unless_they_are_counted_in_it(total: int, output: int) -> None:
    told = {"inputTokens": 50, "cachedWriteTokens": 7, "cachedReadTokens": 31}
    usage = told | {"outputTokens": 20, "thoughtTokens": 10, "totalTokens": total}
    assert Spending(Budget()).total({"usage": usage}) == Usage(57, output, 31)


@pytest.mark.parametrize("result", [{}, {"usage": 3}, {"usage": {"inputTokens": "many"}}])
def test_usage_that_makes_no_sense_is_unknown(result: JsonObject) -> None:
    assert Spending(Budget()).total(result) is None


# how it ends


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("tokens", ErrorType.BUDGET_EXCEEDED),
        ("whim", ErrorType.BAD_OUTPUT),
        ("nameless", ErrorType.BAD_OUTPUT),
        ("words", ErrorType.AUTH),
        ("unknown", ErrorType.CRASHED),
        ("huge", ErrorType.BAD_OUTPUT),
    ],
)
async def test_an_end_that_is_no_answer_is_a_failure(
    call: AgentCall, scenario: str, kind: ErrorType
) -> None:
    assert (await failure(scenario, call)).type is kind


async def test_a_program_that_ends_is_told_with_its_last_words(call: AgentCall) -> None:
    error = await failure("exit", call)
    assert error.type is ErrorType.CRASHED
    assert "ended with exit code 3: panic: no more" in error.message


async def test_what_is_no_message_is_passed_over_and_unknown_requests_are_refused(
    call: AgentCall,
) -> None:
    assert (await ask("noise", call)).output == {"text": "error -32601"}


async def test_words_are_never_a_command_of_the_agent(call: AgentCall) -> None:
    answer = await ask("echo", call, Question("\n/init now"))
    assert answer.output["text"].startswith("Your task:")


async def test_one_that_closes_its_output_and_runs_on_is_ended(call: AgentCall) -> None:
    with anyio.fail_after(10):
        error = await failure("closing", call, grace_seconds=0.01)
    assert error.type is ErrorType.CRASHED
    assert "closed its stdout" in error.message


async def test_what_its_helpers_say_is_not_its_answer(call: AgentCall) -> None:
    assert (await ask("others", call)).output == {"text": "hello"}


async def test_a_long_answer_is_whole(call: AgentCall) -> None:
    assert (await ask("flood", call)).output == {"text": "x" * 1_024_000}


@pytest.mark.parametrize("program", ["cat", "true", "yes"])
async def test_a_program_that_does_not_speak_acp_is_told_so(call: AgentCall, program: str) -> None:
    agent = AcpBackend(BackendOptions("asking", command=(program,)))
    with anyio.fail_after(10), anyio.move_on_after(0.3) as scope:
        with pytest.raises(AgentError):
            await agent.answer(role_of(), call)
    assert scope.cancelled_caught is (program == "yes")  # for the watchdog to end


async def test_one_that_never_greets_is_ended_when_cancelled(call: AgentCall) -> None:
    with anyio.fail_after(10), anyio.move_on_after(0.2) as scope:
        await ask("mute", call, grace_seconds=0.01)
    assert scope.cancelled_caught


async def test_nothing_is_granted_to_one_that_is_told_to_stop(call: AgentCall) -> None:
    assert isinstance(call.meter, WatchedMeter)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "late", call, None)
        await call.meter.working.wait()
        group.cancel_scope.cancel()
    assert (call.workspace / "late.txt").read_text() == "cancelled"
    assert call.meter.usage == Usage(100, 20)


async def test_a_hurry_does_not_wait_for_what_it_consumed(call: AgentCall) -> None:
    assert isinstance(call.meter, WatchedMeter)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "stubborn", call, None)
        await call.meter.working.wait()
        group.cancel_scope.cancel()
        call.hurry.set()
        began = anyio.current_time()
    assert anyio.current_time() - began < CANCEL_SECONDS


async def test_its_plan_and_its_output_are_kept(call: AgentCall) -> None:
    await ask("plan", call)
    assert told(call, "plan") == [{"entries": ["completed: think"]}]
    assert call.log.stdout_file is not None
    assert "agent_message_chunk" in Path(call.log.stdout_file).read_text()
    assert call.log.stderr_file is None


async def test_it_sees_its_own_environment_only(
    call: AgentCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "k")
    monkeypatch.setenv("ANOTHER_KEY", "k")
    answer = await ask("environment", call, api_key_env="THE_KEY")
    seen = json.loads(answer.output["text"])
    assert seen["THE_KEY"] == "k"
    assert "ANOTHER_KEY" not in seen
    assert seen["DISPATCH_RUNNER_TASK_ID"] == call.task_id


async def test_a_running_tool_is_work(call: AgentCall) -> None:
    assert isinstance(call.meter, WatchedMeter)
    await ask("tool", call)
    assert call.meter.working.is_set()


def test_a_program_that_is_not_there_is_said_to_be_missing() -> None:
    agent = AcpBackend(BackendOptions("asking", command=("/nowhere/agent", "--acp")))
    assert "'/nowhere/agent' was not found" in (agent.unavailable(role_of()) or "")
    assert agent.provider == "agent"
    assert agent.unknown_cost(role_of())
    assert AcpBackend(BackendOptions("asking", ("gemini",), provider="google")).provider == "google"


@pytest.mark.parametrize(
    ("code", "message", "data", "kind"),
    [
        (-32000, "Authentication required", None, ErrorType.AUTH),
        (400, '{"error":{"code":400,"message":"API key not valid."}}', None, ErrorType.AUTH),
        (400, '{"error":{"code":400,"message":"bad"}}', None, ErrorType.INVALID_INPUT),
        (-32603, "Internal error: fetch failed", None, ErrorType.UNAVAILABLE),
        (500, "Incomplete JSON segment at the end", None, ErrorType.OVERLOADED),
        (-32603, "Internal error: API Error: 429 slow down", None, ErrorType.RATE_LIMITED),
        (-32603, "unexpected status 401 Unauthorized", None, ErrorType.AUTH),
        (-32603, "Internal error", {"statusCode": 529}, ErrorType.OVERLOADED),
        (-32603, "Internal error", {"status": 404}, ErrorType.INVALID_INPUT),
        (-32603, "prompt is too long", None, ErrorType.INVALID_INPUT),
        (-32603, "Internal error", {"details": "line 429 of main.js"}, ErrorType.CRASHED),
        (-32602, "Invalid params", None, ErrorType.CRASHED),
    ],
)
def test_an_error_is_named_by_its_code_its_data_or_its_words(
    code: int, message: str, data: Any, kind: ErrorType
) -> None:
    error = failure_of(RpcError("session/prompt", code, message, data), "agent")
    assert error.type is kind
    assert message in error.message


def test_what_it_says_of_waiting_is_heeded() -> None:
    error = failure_of(RpcError("session/prompt", 429, "Please retry in 7.5s."), "agent")
    assert error.retry_after == 7.5


@pytest.mark.parametrize("message", ["usage limit reached", "You exceeded your current quota"])
def test_a_used_up_quota_is_exhausted(message: str) -> None:
    error = failure_of(RpcError("session/prompt", -32603, message), "agent")
    assert error.type is ErrorType.RATE_LIMITED
    assert error.exhausted
