"""The parts that agents' backends share: failures, limits, choices, schemas, files that grow."""

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.backends.shared.agent_program import AgentProgram
from dispatch_runner.backends.shared.choices import access_of, commands_of
from dispatch_runner.backends.shared.failures import provider_failure
from dispatch_runner.backends.shared.following import Tail, looking
from dispatch_runner.backends.shared.spending import Spending, used_up
from dispatch_runner.backends.shared.strict_schema import is_strict
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.protocols import Budget, Question, Repair
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import SCHEMA, agent_call, role_of


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Not logged in. Please run /login", ErrorType.AUTH),
        ("unexpected status 403 Forbidden: no", ErrorType.AUTH),
        ("Missing environment variable: `OPENAI_API_KEY`.", ErrorType.AUTH),
        ("Rate limit reached for gpt-5 in organization x", ErrorType.RATE_LIMITED),
        ("exceeded retry limit, last status: 429 Too Many Requests", ErrorType.RATE_LIMITED),
        ("Overloaded", ErrorType.OVERLOADED),
        ("unexpected status 503 Service Unavailable", ErrorType.OVERLOADED),
        ("Cannot connect to API: Unable to connect.", ErrorType.UNAVAILABLE),
        ("connect ECONNREFUSED 127.0.0.1:9", ErrorType.UNAVAILABLE),
        ("unexpected status 404 Not Found: The model `x` does not exist", ErrorType.INVALID_INPUT),
        ("prompt is too long: 300000 tokens", ErrorType.INVALID_INPUT),
        ("something else", ErrorType.CRASHED),
    ],
)
def test_a_failure_is_known_by_its_words(said: str, kind: ErrorType) -> None:
    failure = provider_failure("agent", said)
    assert failure.type is kind
    assert said in failure.message


@pytest.mark.parametrize(
    ("said", "exhausted"),
    [
        ("Quota exceeded. Check your plan and billing details.", True),
        ("You exceeded your current quota, please check your plan", True),
        ("You have exhausted your daily quota on this model.", True),
        ("You've hit your usage limit. Try again later.", True),
        ("Your credit balance is too low", True),
        ("429 Too Many Requests. To increase your limits, request a quota increase", False),
    ],
)
def test_a_used_up_quota_is_told_from_a_passing_limit(said: str, exhausted: bool) -> None:
    failure = provider_failure("agent", said, status=429)
    assert failure.type is ErrorType.RATE_LIMITED
    assert failure.exhausted is exhausted


def test_a_prompt_that_is_too_long_is_no_quota() -> None:
    assert not provider_failure("agent", "you exceeded your quota of tokens", status=400).exhausted


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("Please retry after 2s", 2), ("try again in 1.5 min", 90), ("later", None)],
)
def test_the_time_to_wait_is_read(said: str, seconds: float | None) -> None:
    assert provider_failure("agent", said, status=429).retry_after == seconds


def test_a_reset_with_a_date_is_that_date() -> None:
    failure = provider_failure("agent", "usage limit. Try again at Nov 25th, 2031 6:22 PM.")
    assert failure.resets_at is not None
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(failure.resets_at))
    assert shown == "2031-11-25 18:22"


def test_a_reset_that_is_no_time_is_unknown() -> None:
    assert provider_failure("agent", "usage limit. Try again at 99:99 PM.").resets_at is None


def spending(folder: Path, max_turns: int | None = None, **fields: Any) -> Spending:
    call = agent_call(folder, **fields)
    made = Spending(call, "agent", "openai", max_turns)
    made.model = "gpt-5"
    return made


@pytest.mark.parametrize(
    "budget", [Budget(tokens=200), Budget(requests=2), Budget(cost_usd=0.0006)]
)
def test_a_program_that_wants_more_than_its_budget_is_stopped(
    tmp_path: Path, budget: Budget
) -> None:
    spent = spending(tmp_path, budget=budget)
    spent.request(100, 20)
    spent.goes_on()
    spent.request(100, 20)
    with pytest.raises(AgentError, match="was stopped: it consumed") as caught:
        spent.goes_on()
    assert caught.value.type is ErrorType.BUDGET_EXCEEDED


def test_a_round_has_all_that_was_left_at_its_start(tmp_path: Path) -> None:
    call = agent_call(tmp_path, budget=Budget(requests=2))
    Spending(call, "agent", None, None).request(1, 1)
    call.repair = Repair(1, "wrong", None, None)
    again = Spending(call, "agent", None, None)
    again.request(1, 1)
    again.goes_on()
    again.request(1, 1)
    with pytest.raises(AgentError, match="2 requests of the 2"):
        again.goes_on()


def test_an_amount_that_is_just_used_up_is_a_reason_before_more_and_none_after() -> None:
    budget, used = Budget(tokens=12_000_000), Usage(9_000_000, 3_000_000)
    assert used_up(budget, used) == "it consumed 12000000 tokens of the 12000000 that it may"
    assert used_up(budget, used, over=True) is None
    assert used_up(None, used) is None
    assert used_up(Budget(cost_usd=0.1), used, over=True) is None


@pytest.mark.parametrize("key", ["in-its-place", None])
def test_a_key_is_found_whatever_the_program_may_see(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("MY_KEY", key)
    options = BackendOptions("a", command=("sh",), env=("PATH",), api_key_env="MY_KEY")
    program = AgentProgram(options, "agent", install="get it")
    assert "MY_KEY" not in program.environment
    assert program.key_variable == ({} if key is None else {"MY_KEY": key})
    assert ("'MY_KEY'" in (program.unavailable(role_of()) or "")) is (key is None)


def test_turns_are_limited_without_a_budget(tmp_path: Path) -> None:
    spent = spending(tmp_path, max_turns=1)
    spent.request(1, 1)
    with pytest.raises(AgentError, match="max_turns is 1"):
        spent.goes_on()


@pytest.mark.parametrize(
    ("tools", "access", "commands"),
    [
        (None, "execute", None),
        (("Read", "Grep"), "read", ()),
        (("Read", "Write"), "edit", ()),
        (("Bash",), "execute", None),
        (("Read", "Bash(git *)", "Bash(make:*)"), "execute", ("git", "make")),
    ],
)
def test_named_tools_narrow_the_access(
    tools: tuple[str, ...] | None, access: str, commands: tuple[str, ...] | None
) -> None:
    question = Question("x", access="execute", tools=tools)
    assert access_of(BackendOptions("a"), question) == access
    assert commands_of(question) == commands


def test_named_tools_never_widen_what_the_operator_allows() -> None:
    question = Question("x", tools=("Bash",))
    assert access_of(BackendOptions("a", access="read"), question) == "read"


@pytest.mark.parametrize(
    "change",
    [
        {"additionalProperties": True},
        {"required": []},
        {"properties": {"answer": {"type": "integer", "default": 1}}},
        {"properties": {"answer": {"type": "object"}}},
        {"properties": {"answer": {}}},
        {"type": "array"},
        {"oneOf": []},
    ],
)
def test_a_schema_that_might_be_refused_is_not_strict(change: JsonObject) -> None:
    assert is_strict(SCHEMA)
    assert not is_strict({**SCHEMA, **change})


def test_a_file_is_read_by_whole_lines_and_each_once(tmp_path: Path) -> None:
    file = tmp_path / "log"
    tail = Tail(file)
    assert tail.lines() == []
    file.write_bytes(b"one\ntw")
    assert tail.lines() == [b"one"]
    with file.open("ab") as more:
        more.write(b"o\nthree\n")
    assert tail.lines() == [b"two", b"three"]
    assert tail.lines() == []


def test_what_was_in_a_file_before_can_be_left_out(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"old\n")
    tail = Tail(file, from_end=True)
    file.write_bytes(b"old\nnew\n")
    assert tail.lines() == [b"new"]


@pytest.mark.anyio
async def test_what_a_look_raises_ends_the_run_and_is_raised() -> None:
    ended = []

    async def run() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    def look() -> None:
        raise AgentError(ErrorType.STALLED, "enough")

    with anyio.fail_after(5), pytest.raises(AgentError, match="enough"):
        await looking(run, look)
    assert ended


@pytest.mark.anyio
async def test_what_the_run_raises_is_raised_as_it_is() -> None:
    async def run() -> None:
        raise AgentError(ErrorType.CRASHED, "no")

    with pytest.raises(AgentError, match="no"):
        await looking(run, lambda: None)
