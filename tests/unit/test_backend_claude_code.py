"""Claude Code as a backend: what it is given, and what its endings mean."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.backends.claude_code.backend import ClaudeCodeBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, Usage
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, Budget, Question, Repair
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import SCHEMA, WatchedMeter, agent_call, descendants, role_of

pytestmark = pytest.mark.anyio

STAND_IN = Path(__file__).parents[1] / "support" / "agents" / "claude.py"
ASKED = Question("say hello")


def backend_of(scenario: str, **options: Any) -> ClaudeCodeBackend:
    command = (sys.executable, "-I", "-S", str(STAND_IN), scenario)
    return ClaudeCodeBackend(
        BackendOptions("asking", command=command, **{"api_key_env": "PATH", **options})
    )


async def ask(scenario: str, call: AgentCall, question: Question = ASKED, **options: Any) -> Answer:
    return await backend_of(scenario, **options).answer(role_of(question), call)


async def failure(scenario: str, folder: Path, question: Question = ASKED) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await ask(scenario, agent_call(folder), question)
    return caught.value


def given(call: AgentCall) -> dict[str, Any]:
    """What the program got: `arguments`, `environment`, `prompt`."""
    value: dict[str, Any] = json.loads((call.workspace / "given.json").read_text())
    return value


def flag(call: AgentCall, name: str) -> str | None:
    values = [each.partition("=")[2] for each in given(call)["arguments"] if each.startswith(name)]
    return values[0] if values else None


def allowed(call: AgentCall) -> list[str]:
    rules: list[str] = json.loads(flag(call, "--settings=") or "")["permissions"]["allow"]
    return rules


# what it is given


async def test_each_access_has_its_tools_and_files_are_kept_to_the_allowed_folders(
    tmp_path: Path,
) -> None:
    call = agent_call(tmp_path, roots=AllowedRoots(("/allowed",)))
    work = call.workspace
    reading = [f"Read(/{work}/**)", "Read(//allowed/**)"]
    editing = [*reading, f"Edit(/{work}/**)", "Edit(//allowed/**)"]
    expected = {
        "read": ("Read,Glob,Grep", reading),
        "edit": ("Read,Glob,Grep,Edit,Write,NotebookEdit", editing),
        "execute": ("Read,Glob,Grep,Edit,Write,NotebookEdit,Bash", [*editing, "Bash"]),
    }
    for access, (tools, rules) in expected.items():
        await ask("success", call, access=access)
        assert (flag(call, "--tools="), allowed(call)) == (tools, rules)


async def test_a_role_names_its_own_tools(tmp_path: Path) -> None:
    call = agent_call(tmp_path, roots=AllowedRoots(()))
    await ask("success", call, Question("x", tools=("Read", "Bash(git *)", "Bash(ls)")))
    assert flag(call, "--tools=") == "Read,Bash"
    assert allowed(call) == [f"Read(/{call.workspace}/**)", "Bash(git *)", "Bash(ls)"]


@pytest.mark.parametrize(
    ("access", "tools"), [("read", "Read"), ("edit", "Read,Edit"), ("execute", "Read,Edit,Bash")]
)
async def test_a_role_never_gets_more_tools_than_the_operator_allows(
    access: str, tools: str, tmp_path: Path
) -> None:
    call = agent_call(tmp_path)
    await ask("success", call, Question("x", tools=("Read", "Edit", "Bash(*)")), access=access)
    assert flag(call, "--tools=") == tools
    assert any(rule.startswith("Bash") for rule in allowed(call)) is (access == "execute")


async def test_a_pattern_of_a_role_leads_nowhere_that_the_operator_does_not_allow(
    tmp_path: Path,
) -> None:
    call = agent_call(tmp_path)
    wanted = ("Read(docs/**)", "Edit(//etc/**)", "Edit(~/.ssh/**)", "Edit(a/../../b)")
    await ask("success", call, Question("x", tools=wanted), access="edit")
    assert allowed(call) == ["Read(docs/**)"]


async def test_it_runs_where_the_operator_says(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    call = agent_call(tmp_path)
    await ask("success", call, cwd=elsewhere)
    assert (elsewhere / "given.json").exists()


async def test_a_folder_is_no_pattern(tmp_path: Path) -> None:
    call = agent_call(tmp_path, roots=AllowedRoots(("/a (b) [c] *", "/")))
    await ask("success", call, access="read")
    assert allowed(call)[1:] == [r"Read(//a \(b\) \[c\] \*/**)", "Read(//**)"]


async def test_model_system_text_and_schema_are_passed_down(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    question = Question("x", system="--you are X", schema=SCHEMA, model="haiku")
    await ask("structured", call, question)
    assert flag(call, "--model=") == "haiku"
    assert flag(call, "--append-system-prompt=") == "--you are X"
    assert json.loads(flag(call, "--json-schema=") or "") == SCHEMA
    await ask("structured", call, question, model="opus")
    assert flag(call, "--model=") == "opus"


@pytest.mark.parametrize(
    ("max_turns", "requests", "passed"),
    [(None, None, None), (5, None, "5"), (5, 3, "3"), (2, 3, "2"), (None, 0, "1")],
)
async def test_the_smaller_limit_of_turns_is_passed_down(
    max_turns: int | None, requests: int | None, passed: str | None, tmp_path: Path
) -> None:
    call = agent_call(tmp_path, budget=Budget(requests=None if requests is None else requests or 1))
    await ask("success", call, max_turns=max_turns)
    assert flag(call, "--max-turns=") == passed


async def test_the_budget_in_usd_is_passed_down(tmp_path: Path) -> None:
    call = agent_call(tmp_path, budget=Budget(cost_usd=0.5))
    await ask("success", call)
    assert flag(call, "--max-budget-usd=") == "0.500000"


async def test_a_prompt_is_never_a_command_of_the_program(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    answer = await ask("echo", call, Question("/help me"))
    assert answer.output["text"].endswith("/help me")
    assert given(call)["environment"]["CLAUDE_CODE_DISABLE_FILE_MENTIONS"] == "1"


async def test_a_prompt_that_is_too_long_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        await ask("success", agent_call(tmp_path), Question("x" * 10_000_001))
    assert caught.value.type is ErrorType.INVALID_INPUT


async def test_it_sees_its_own_variables_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = ("CLAUDECODE", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "CLAUDE_CODE_SESSION_ID")
    for name in (*hidden, "ANTHROPIC_AUTH_TOKEN", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"{name} of the test")
    call = agent_call(tmp_path)
    await ask("success", call, api_key_env=None, base_url="http://127.0.0.1:1")
    seen = given(call)["environment"]
    assert not {*hidden} & {*seen}
    assert seen["ANTHROPIC_AUTH_TOKEN"] == "ANTHROPIC_AUTH_TOKEN of the test"
    assert seen["HTTPS_PROXY"]
    assert seen["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1"
    assert seen["CLAUDE_CODE_MAX_RETRIES"] == "2"
    assert seen["DISPATCH_RUNNER_TASK_ID"] == "task/1"


async def test_a_key_under_another_name_is_passed_as_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "no key at all")
    call = agent_call(tmp_path)
    await ask("success", call, api_key_env="MY_KEY")
    assert given(call)["environment"]["ANTHROPIC_API_KEY"] == "no key at all"
    assert "MY_KEY" not in given(call)["environment"]


async def test_with_a_key_sessions_are_kept_beside_the_traces(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    await ask("success", call)
    folder = Path(given(call)["environment"]["CLAUDE_CONFIG_DIR"])
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_with_a_login_the_users_own_configuration_is_left_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    call = agent_call(tmp_path)
    await ask("success", call, api_key_env=None)
    assert "CLAUDE_CONFIG_DIR" not in given(call)["environment"]


async def test_without_records_no_session_is_kept(tmp_path: Path) -> None:
    call = agent_call(tmp_path, output_prefix=None)
    answer = await ask("success", call)
    assert answer.session is None
    assert "--no-session-persistence" in given(call)["arguments"]


# rounds


async def test_a_further_round_says_only_what_failed_and_is_counted_for_itself(
    tmp_path: Path,
) -> None:
    first = agent_call(tmp_path)
    answer = await ask("repair", first)
    again = replace(
        first, meter=WatchedMeter(), repair=Repair(1, "too short", answer.output, answer.session)
    )
    await ask("repair", again)
    assert flag(again, "--resume=") == answer.session
    assert "too short" in given(again)["prompt"]
    assert "say hello" not in given(again)["prompt"]
    assert first.meter.usage == again.meter.usage == Usage(100, 20, 0, 1, pytest.approx(0.0008))


async def test_a_lost_session_is_asked_anew(tmp_path: Path) -> None:
    lost = "f9e2d35c-5bc5-471a-88d3-6887f955f1cd"
    call = agent_call(tmp_path, repair=Repair(1, "too short", {"text": "hm"}, lost))
    answer = await ask("repair", call)
    assert answer.output == {"text": "wrong"}
    assert "say hello" in given(call)["prompt"]
    assert answer.session != lost


# how it ends


@pytest.mark.parametrize(
    ("scenario", "kind", "retryable", "said"),
    [
        ("money", ErrorType.BUDGET_EXCEEDED, False, "maximum budget"),
        ("turns", ErrorType.BUDGET_EXCEEDED, False, "maximum number of turns"),
        ("too_long", ErrorType.BUDGET_EXCEEDED, False, "output token maximum"),
        ("wrong_schema", ErrorType.BAD_OUTPUT, False, "valid structured output"),
        ("logged_out", ErrorType.AUTH, False, "Not logged in"),
        ("interrupted", ErrorType.CRASHED, True, "it was interrupted"),
        ("terminated", ErrorType.CRASHED, True, "'claude' ended with exit code 143"),
        ("crash", ErrorType.CRASHED, True, "SIGSEGV"),
        ("garbage", ErrorType.BAD_OUTPUT, False, "without an answer"),
        ("failed_late", ErrorType.CRASHED, True, "'claude' ended with exit code 3"),
        ("bad_flag", ErrorType.UNAVAILABLE, False, "unknown option"),
        ("denied", ErrorType.PERMISSION_DENIED, False, "'Write'"),
        ("not_offered", ErrorType.PERMISSION_DENIED, False, "'Bash'"),
        ("credit", ErrorType.RATE_LIMITED, False, "Credit balance"),
    ],
)
async def test_each_ending_is_named_and_quoted(
    scenario: str, kind: ErrorType, retryable: bool, said: str, tmp_path: Path
) -> None:
    error = await failure(scenario, tmp_path)
    assert (error.type, error.retryable) == (kind, retryable)
    assert said in error.message


async def test_a_denial_says_what_was_denied(tmp_path: Path) -> None:
    error = await failure("denied", tmp_path)
    assert error.details["count"] == 1
    assert "/etc/motd" in error.details["denied"][0]["input"]


async def test_a_used_up_quota_says_when_it_is_there_again(tmp_path: Path) -> None:
    error = await failure("quota", tmp_path)
    assert (error.exhausted, error.resets_at, error.retryable) == (True, 1795544389.0, False)


async def test_a_wait_that_it_does_not_make_itself_is_a_used_up_quota(tmp_path: Path) -> None:
    error = await failure("told_of_a_long_wait", tmp_path)
    assert (error.type, error.exhausted, error.resets_at) == (ErrorType.RATE_LIMITED, True, None)


async def test_no_credit_is_exhausted_without_a_time(tmp_path: Path) -> None:
    error = await failure("credit", tmp_path)
    assert (error.exhausted, error.resets_at) == (True, None)


async def test_its_own_retries_slow_the_others_down(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    with pytest.raises(AgentError) as caught:
        await ask("429", call)
    assert isinstance(call.meter, WatchedMeter)
    assert call.meter.throttles == [4.0, 4.0]
    assert caught.value.retry_after == 4.0


async def test_it_does_not_wait_for_an_hour_itself(tmp_path: Path) -> None:
    with anyio.fail_after(10):
        error = await failure("told_to_wait", tmp_path)
    assert (error.type, error.retry_after) == (ErrorType.RATE_LIMITED, 3600.0)


async def test_retries_of_a_lost_connection_slow_nobody_down(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    with pytest.raises(AgentError):
        await ask("unreachable", call)
    assert isinstance(call.meter, WatchedMeter)
    assert call.meter.throttles == []


async def test_an_object_that_was_not_given_can_be_mended_in_its_session(tmp_path: Path) -> None:
    error = await failure("unstructured", tmp_path, Question("x", schema=SCHEMA))
    assert error.type is ErrorType.BAD_OUTPUT
    assert error.session


async def test_the_suite_sees_the_processes_that_have_to_end(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    assert isinstance(call.meter, WatchedMeter)
    call.hurry.set()
    async with anyio.create_task_group() as group:
        group.start_soon(ask, "working", call)
        await call.meter.working.wait()
        assert len(descendants()) == 3
        group.cancel_scope.cancel()
    assert descendants() == set()


async def test_a_program_that_stays_after_its_answer_is_ended_and_its_answer_kept(
    tmp_path: Path,
) -> None:
    answer = await ask("lingers", agent_call(tmp_path), grace_seconds=0.1)
    assert answer.output == {"text": "hello"}
    assert "did not end by itself" in answer.warnings[0]
    assert descendants() == set()


# what it costs


async def test_a_run_that_goes_on_after_a_result_is_counted_whole(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    answer = await ask("goes_on", call)
    assert answer.output == {"text": "hello"}
    assert call.meter.usage == Usage(200, 40, 0, 2, pytest.approx(0.0016))


async def test_the_cost_is_the_programs_own(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    await ask("tool", call)
    assert call.meter.usage == Usage(200, 40, 0, 2, pytest.approx(0.0016))


async def test_a_cost_that_the_program_made_up_is_unknown(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    await ask("unpriced", call)
    assert call.meter.usage == Usage(100, 20, 0, 1, None)


async def test_the_cost_of_a_run_without_a_result_is_unknown(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    with pytest.raises(AgentError):
        await ask("crash", call)
    assert call.meter.usage == Usage(100, 1, 0, 1, None)


async def test_a_run_that_asked_no_model_consumed_nothing(tmp_path: Path) -> None:
    call = agent_call(tmp_path)
    with pytest.raises(AgentError):
        await ask("401", call)
    assert call.meter.usage is None


async def test_what_was_consumed_is_told_while_it_works(tmp_path: Path) -> None:
    told: list[Usage] = []

    class Listening(WatchedMeter):
        def spend(self, usage: Usage) -> None:
            super().spend(usage)
            told.append(usage)

    await ask("tool", agent_call(tmp_path, meter=Listening()))
    assert sum(usage.input_tokens or 0 for usage in told[:-1]) == 200
    assert [usage.cost_usd for usage in told[:-1]] == [0.0] * (len(told) - 1)


def test_the_price_of_a_stranger_is_unknown_beforehand() -> None:
    assert backend_of("x").unknown_cost(role_of()) is None
    assert backend_of("x", model="sonnet").unknown_cost(role_of()) is None
    assert "'qwen'" in (backend_of("x", model="qwen").unknown_cost(role_of()) or "")


def test_what_is_missing_is_said_with_its_remedy() -> None:
    missing = ClaudeCodeBackend(BackendOptions("asking", command=("no-such-claude",)))
    assert "npm install -g @anthropic-ai/claude-code" in (missing.unavailable(role_of()) or "")
    no_key = backend_of("x", api_key_env="NO_SUCH_VARIABLE")
    assert "'NO_SUCH_VARIABLE'" in (no_key.unavailable(role_of()) or "")
