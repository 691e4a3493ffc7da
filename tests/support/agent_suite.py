"""What every backend that reaches an agent must do, whatever the agent is: one suite of tests.

It is imported into a test file that has a fixture `agent`: by `conformance/test_agent_backends.py`
with stand-ins, and by `agents/` with the real programs.

| scenario | the agent |
|---|---|
| `success` | answers `hello` in words; one request of 100 tokens of input and 20 of output |
| `echo` | answers with what it was asked, word by word |
| `tool` | uses a tool once, then answers `hello`; two requests as above |
| `structured` | answers `{"answer": 42}`, by a schema or as text |
| `unstructured` | is asked for an object and answers only words |
| `repair` | answers `wrong` at first; asked again in the same session, `right` |
| `denied` | is not allowed what it needs, and says all the same that all is done |
| `empty` | ends well, and says nothing |
| `refusal` | its model refuses |
| `turns` | reaches its own limit of turns |
| `spending` | goes on using a tool for ever, each request as above |
| `400`, `401`, `403`, `404`, `429`, `500`, `529` | its provider answers so, again and again |
| `quota` | its provider says that the quota is used up until a time |
| `unreachable` | nobody listens at its provider's address |
| `garbage` | prints what is not of its protocol, and ends with 0 |
| `crash` | dies by a signal of its own in the middle |
| `silence` | starts, and then says nothing for ever |
| `working` | made one request as above, and runs a tool that never ends, whose processes are in sessions of their own |
| `deaf` | the same, and nobody of them hears SIGINT or SIGTERM |
| `orphan` | answers `hello`, and leaves a process in a session of its own behind |
"""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import pytest

from dispatch_runner.errors import AgentError
from dispatch_runner.marks import marker_prefix
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.process import MARKER
from dispatch_runner.protocols import AgentCall, Answer, Backend, Budget, Meter, Question, Repair
from dispatch_runner.testing import AnyInputRole

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"answer": {"type": "integer"}},
    "required": ["answer"],
    "additionalProperties": False,
}


class AskingRole(AnyInputRole):
    """Asks what it is told to ask."""

    def __init__(self, question: Question) -> None:
        super().__init__("asking")
        self._question = question

    def question(self, call: AgentCall) -> Question:
        return self._question


class WatchedMeter(Meter):
    """Remembers what it is told, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.pulses = 0
        self.throttles: list[float | None] = []
        self.working = anyio.Event()
        """The agent works with a tool."""
        self.spent = anyio.Event()
        """It consumed something."""

    def spend(self, usage: Usage) -> None:
        super().spend(usage)
        self.spent.set()

    def pulse(self, *, working: bool = False) -> None:
        self.pulses += 1
        if working:
            self.working.set()

    def throttled(self, retry_after: float | None = None) -> None:
        self.throttles.append(retry_after)


class Agent:
    """One backend under test: builds it for a scenario and asks it."""

    def __init__(self, module: ModuleType | SimpleNamespace, folder: Path) -> None:
        self.folder = folder
        self._build: Callable[..., AbstractAsyncContextManager[Backend]] = module.build
        self._lacks: dict[str, str] = getattr(module, "LACKS", {})

    def backend(self, scenario: str, **options: Any) -> AbstractAsyncContextManager[Backend]:
        """The backend that will play the scenario; skips the test where there can be none."""
        if scenario in self._lacks:
            pytest.skip(self._lacks[scenario])
        return self._build(scenario, self.folder, **options)

    async def ask(
        self, scenario: str, question: Question | None = None, **fields: Any
    ) -> tuple[Answer, AgentCall]:
        """What it answers to a question, and the call."""
        call = agent_call(self.folder, **fields)
        async with self.backend(scenario) as backend:
            return await backend.answer(role_of(question), call), call

    async def fails(
        self, scenario: str, question: Question | None = None, **fields: Any
    ) -> tuple[AgentError, AgentCall]:
        """The failure that it ends with, and the call."""
        call = agent_call(self.folder, **fields)
        async with self.backend(scenario) as backend:
            with pytest.raises(AgentError) as caught:
                await backend.answer(role_of(question), call)
        return caught.value, call


def agent_of(module: ModuleType, folder: Path, event_loop: str) -> Agent:
    """The backend of a builder's module; skips where its library does not know the event loop."""
    if getattr(module, "ASYNCIO_ONLY", False) and event_loop != "asyncio":
        pytest.skip("its library knows asyncio only")
    return Agent(module, folder)


def role_of(question: Question | None = None) -> AskingRole:
    return AskingRole(question or Question("say hello"))


def agent_call(folder: Path, **fields: Any) -> AgentCall:
    """A call in a workspace below the folder."""
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    call = AgentCall(
        task_id="task/1",
        agent="asking",
        description="",
        input={},
        dependencies={},
        correlation_id="1f0c9a52-7c1e-4b7e-9d0a-3f5b8e2c6a41",
        attempt=1,
        timeout_seconds=30,
        workspace=workspace,
        roots=AllowedRoots((str(folder),)),
        output_prefix=folder / "task",
        hurry=anyio.Event(),
        meter=WatchedMeter(),
    )
    return replace(call, **fields)


def descendants() -> set[int]:
    """Living processes that any program of this test process started."""
    ours = f"\0{MARKER}={marker_prefix()}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if ours in b"\0" + entry.joinpath("environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


async def test_an_answer_in_words_is_a_text_and_is_counted_once(agent: Agent) -> None:
    answer, call = await agent.ask("success")
    assert answer.output == {"text": "hello"}
    assert answer.warnings == []
    assert call.log.events, "the trace says nothing of the call"
    assert call.meter.usage is not None
    assert (call.meter.usage.input_tokens, call.meter.usage.output_tokens) == (100, 20)
    assert call.meter.usage.requests in {1, None}


async def test_it_can_serve_a_role_that_asks_and_no_other(agent: Agent) -> None:
    async with agent.backend("success") as backend:
        assert backend.unavailable(role_of()) is None
        assert backend.unavailable(AnyInputRole("mute"))


async def test_a_question_arrives_unchanged(agent: Agent) -> None:
    asked = '\'; rm -rf / #\n--help ${x} {y} "ünïcode"\n</prompt>'
    answer, _ = await agent.ask("echo", Question(asked))
    assert asked in answer.output["text"]


async def test_all_turns_are_counted_and_each_tool_is_in_the_trace(agent: Agent) -> None:
    answer, call = await agent.ask("tool")
    assert answer.output == {"text": "hello"}
    assert call.meter.usage is not None
    assert (call.meter.usage.input_tokens, call.meter.usage.output_tokens) == (200, 40)
    assert isinstance(call.meter, WatchedMeter)
    assert call.meter.working.is_set()
    assert [event for event in call.log.events if event.event == "tool"]


async def test_an_object_by_schema_is_the_output(agent: Agent) -> None:
    answer, _ = await agent.ask("structured", Question("how much?", schema=SCHEMA))
    assert answer.output == {"answer": 42}


async def test_words_instead_of_the_object_are_no_answer(agent: Agent) -> None:
    error, _ = await agent.fails("unstructured", Question("how much?", schema=SCHEMA))
    assert error.type is ErrorType.BAD_OUTPUT
    assert not error.retryable


async def test_a_failed_answer_is_mended_in_the_same_session(agent: Agent) -> None:
    call = agent_call(agent.folder)
    async with agent.backend("repair") as backend:
        assert backend.repairs
        first = await backend.answer(role_of(), call)
        again = replace(call, repair=Repair(1, "wrong is wrong", first.output, first.session))
        second = await backend.answer(role_of(), again)
    assert first.output == {"text": "wrong"}
    assert second.output == {"text": "right"}


async def test_a_denied_tool_is_not_a_success(agent: Agent) -> None:
    error, _ = await agent.fails("denied")
    assert error.type is ErrorType.PERMISSION_DENIED
    assert error.hint
    assert not error.retryable


async def test_an_empty_answer_is_not_a_success(agent: Agent) -> None:
    error, _ = await agent.fails("empty")
    assert error.type is ErrorType.UNVERIFIED


async def test_a_refusal_of_the_model_is_said_to_be_one(agent: Agent) -> None:
    error, _ = await agent.fails("refusal")
    assert error.type is ErrorType.UNVERIFIED
    assert "refus" in error.message


async def test_its_own_limit_of_turns_is_a_limit(agent: Agent) -> None:
    error, call = await agent.fails("turns")
    assert error.type is ErrorType.BUDGET_EXCEEDED
    assert call.meter.usage is not None


async def test_a_budget_of_tokens_ends_it(agent: Agent) -> None:
    with anyio.fail_after(20):
        error, call = await agent.fails("spending", budget=Budget(tokens=300))
    assert error.type is ErrorType.BUDGET_EXCEEDED
    assert call.meter.usage is not None
    consumed = (call.meter.usage.input_tokens or 0) + (call.meter.usage.output_tokens or 0)
    assert 300 <= consumed < 3_000
    assert descendants() == set()


async def test_a_budget_of_requests_ends_it(agent: Agent) -> None:
    with anyio.fail_after(20):
        error, _ = await agent.fails("spending", budget=Budget(requests=2))
    assert error.type is ErrorType.BUDGET_EXCEEDED


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("400", ErrorType.INVALID_INPUT),
        ("401", ErrorType.AUTH),
        ("403", ErrorType.AUTH),
        ("404", ErrorType.INVALID_INPUT),
        ("429", ErrorType.RATE_LIMITED),
        ("500", ErrorType.OVERLOADED),
        ("529", ErrorType.OVERLOADED),
    ],
)
async def test_what_the_provider_answers_is_named(
    agent: Agent, status: str, kind: ErrorType
) -> None:
    with anyio.fail_after(30):
        error, _ = await agent.fails(status)
    assert error.type is kind
    assert error.retryable is (kind in {ErrorType.RATE_LIMITED, ErrorType.OVERLOADED})
    assert error.exhausted is (kind is ErrorType.AUTH)


async def test_a_used_up_quota_is_told_from_a_passing_limit(agent: Agent) -> None:
    error, _ = await agent.fails("quota")
    assert error.type is ErrorType.RATE_LIMITED
    assert error.exhausted


async def test_a_provider_that_cannot_be_reached_is_unavailable(agent: Agent) -> None:
    with anyio.fail_after(30):
        error, _ = await agent.fails("unreachable")
    assert error.type is ErrorType.UNAVAILABLE
    assert error.retryable


async def test_what_cannot_be_read_is_no_answer(agent: Agent) -> None:
    error, _ = await agent.fails("garbage")
    assert error.type in {ErrorType.BAD_OUTPUT, ErrorType.CRASHED}


async def test_a_program_that_dies_has_crashed(agent: Agent) -> None:
    error, _ = await agent.fails("crash")
    assert error.type is ErrorType.CRASHED
    assert error.retryable


async def test_a_silent_agent_that_is_cancelled_leaves_nothing(agent: Agent) -> None:
    call = agent_call(agent.folder)
    call.hurry.set()
    async with agent.backend("silence") as backend:
        with anyio.fail_after(20):
            with anyio.move_on_after(0.2) as scope:
                await backend.answer(role_of(), call)
    assert scope.cancelled_caught
    assert descendants() == set()


@pytest.mark.parametrize("scenario", ["working", "deaf"])
async def test_an_agent_cancelled_at_work_leaves_nothing_and_is_counted(
    agent: Agent, scenario: str
) -> None:
    call = agent_call(agent.folder)
    assert isinstance(call.meter, WatchedMeter)
    with anyio.fail_after(30):
        async with agent.backend(scenario, grace_seconds=0.3) as backend:
            async with anyio.create_task_group() as group:
                group.start_soon(backend.answer, role_of(), call)
                await call.meter.working.wait()
                group.cancel_scope.cancel()
    assert descendants() == set()
    assert call.meter.usage is not None
    assert call.meter.usage.input_tokens == 100


async def test_what_it_leaves_behind_is_ended(agent: Agent) -> None:
    answer, _ = await agent.ask("orphan")
    assert answer.output == {"text": "hello"}
    assert any("left" in warning for warning in answer.warnings)
    assert descendants() == set()


async def test_calls_at_once_share_nothing(agent: Agent) -> None:
    texts: dict[int, str] = {}

    async def ask(backend: Backend, number: int) -> None:
        folder = agent.folder / str(number)
        folder.mkdir()
        answer = await backend.answer(role_of(Question(f"number {number}")), agent_call(folder))
        texts[number] = answer.output["text"]

    async with agent.backend("echo") as backend, anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(ask, backend, number)
    assert all(f"number {number}" in texts[number] for number in range(3))
