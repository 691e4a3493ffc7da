"""Rounds of one attempt: a failure is fed back, as often as allowed and while it changes."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from dispatch_runner.engine.asking import FAILURE_LIMIT, Asking, failure_text
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall, Answer, Repair, Role
from dispatch_runner.testing import AnyInputRole, ScriptedBackend

pytestmark = pytest.mark.anyio


class Strict(AnyInputRole):
    """Wants a number of at least so much."""

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        if answer.output["n"] < 3:
            raise AgentError(
                ErrorType.CHECK_FAILED, f"{answer.output['n']} is too small", details={"least": 3}
            )
        return answer


class Checks:
    def __init__(self, *failures: str) -> None:
        self.failures = list(failures)
        self.names: list[Sequence[str]] = []

    async def check(self, names: Sequence[str], call: AgentCall, answer: Answer) -> None:
        self.names.append(names)
        if self.failures:
            raise AgentError(ErrorType.CHECK_FAILED, self.failures.pop(0))


def call() -> AgentCall:
    return AgentCall(
        "t", "a", "", {}, {}, "c", 1, 30.0, Path.cwd(), AllowedRoots.of(), None, anyio.Event()
    )


def agent(backend: ScriptedBackend, rounds: int = 2) -> Agent:
    return Agent("a", Strict(), backend, repair_rounds=rounds)


def counting(*numbers: int) -> tuple[ScriptedBackend, list[Repair | None]]:
    left, told = list(numbers), []

    async def script(asked: AgentCall) -> JsonObject:
        told.append(asked.repair)
        return {"n": left.pop(0)}

    return ScriptedBackend(script, repairs=True), told


async def test_a_failure_is_fed_back_until_it_is_mended() -> None:
    backend, told = counting(1, 2, 3)
    asked = call()
    answer = await Asking(agent(backend), None, ()).answer(backend, asked)
    assert answer.output == {"n": 3}
    assert told == [
        None,
        Repair(1, "1 is too small\nleast: 3", {"n": 1}, None),
        Repair(2, "2 is too small\nleast: 3", {"n": 2}, None),
    ]
    assert [(e.event, e.data["round"]) for e in asked.log.events] == [("repair", 1), ("repair", 2)]


async def test_the_rounds_are_counted() -> None:
    backend, told = counting(0, 1, 2)
    with pytest.raises(AgentError, match="1 is too small") as caught:
        await Asking(agent(backend, rounds=1), None, ()).answer(backend, call())
    assert len(told) == 2
    assert caught.value.details["repair_rounds"] == 1


async def test_the_same_failure_twice_ends_the_rounds() -> None:
    backend, told = counting(1, 1, 3)
    with pytest.raises(AgentError, match="too small"):
        await Asking(agent(backend, rounds=9), None, ()).answer(backend, call())
    assert len(told) == 2


@pytest.mark.parametrize(
    ("first", "second", "asked_times"),
    [
        ("1 failed in 0.31s", "1 failed in 0.28s", 2),
        ("12:00:01,250 no", "12:00:02 no", 2),
        ("<a at 0x7f01>", "<a at 0x7f02>", 2),
        ("2 failed in 0.31s", "1 failed in 0.31s", 3),
    ],
)
async def test_a_failure_that_differs_in_times_and_addresses_only_is_the_same(
    first: str, second: str, asked_times: int
) -> None:
    backend, told = counting(3, 3, 3)
    checks = Checks(first, second, "else")
    with pytest.raises(AgentError):
        await Asking(agent(backend), checks, ("c",)).answer(backend, call())
    assert len(told) == asked_times


async def test_a_round_tells_what_was_consumed_until_then() -> None:
    async def script(asked: AgentCall) -> JsonObject:
        asked.meter.spend(Usage(100, 20, 0, 1, 0.01))
        return {"n": 1 if asked.repair is None else 3}

    asked = call()
    backend = ScriptedBackend(script, repairs=True)
    await Asking(agent(backend), None, ()).answer(backend, asked)
    (event,) = asked.log.events
    assert event.data["usage"] == {
        "input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 0, "requests": 1,
        "cost_usd": 0.01,
    }  # fmt: skip


def test_an_agent_is_told_what_a_check_printed_and_not_what_its_own_program_did() -> None:
    details: JsonObject = {"stdout": "{}", "stderr": "w", "exit_code": 0, "seen": "x"}
    checked = AgentError(ErrorType.CHECK_FAILED, "no", details=details)
    assert failure_text(checked) == "no\nstdout: {}\nstderr: w\nexit_code: 0\nseen: x"
    empty = AgentError(ErrorType.UNVERIFIED, "no", details=details)
    assert failure_text(empty) == "no\nseen: x"


async def test_what_was_put_in_place_is_taken_back_when_the_check_is_cancelled() -> None:
    undone: list[str] = []

    class Placing(AnyInputRole):
        async def verify(self, call: AgentCall, answer: Answer) -> Answer:
            call.undo += [lambda: undone.append("first"), lambda: undone.append("second")]
            return answer

    class Hanging(Checks):
        async def check(self, names: Sequence[str], call: AgentCall, answer: Answer) -> None:
            scope.cancel()
            await anyio.sleep_forever()

    backend, _ = counting(3)
    with anyio.CancelScope() as scope:
        await Asking(Agent("a", Placing(), backend), Hanging(), ("c",)).answer(backend, call())
    assert undone == ["second", "first"]


async def test_a_backend_that_cannot_be_asked_again_is_not() -> None:
    backend = ScriptedBackend(counting(1, 3)[0]._script)
    with pytest.raises(AgentError, match="too small"):
        await Asking(agent(backend), None, ()).answer(backend, call())
    assert len(backend.calls) == 1


@pytest.mark.parametrize("kind", [ErrorType.AUTH, ErrorType.RATE_LIMITED, ErrorType.CRASHED])
async def test_what_no_answer_can_mend_is_not_fed_back(kind: ErrorType) -> None:
    async def script(asked: AgentCall) -> JsonObject:
        raise AgentError(kind, "no")

    backend = ScriptedBackend(script, repairs=True)
    with pytest.raises(AgentError, match="no"):
        await Asking(agent(backend), None, ()).answer(backend, call())
    assert len(backend.calls) == 1


async def test_a_backend_that_could_not_read_the_answer_goes_on_in_its_session() -> None:
    told: list[Repair | None] = []

    async def script(asked: AgentCall) -> JsonObject:
        told.append(asked.repair)
        if len(told) == 1:
            raise AgentError(ErrorType.BAD_OUTPUT, "not JSON", session="s1")
        return {"n": 5}

    backend = ScriptedBackend(script, repairs=True)
    await Asking(agent(backend), None, ()).answer(backend, call())
    assert told[1] == Repair(1, "not JSON", None, "s1")


async def test_checks_come_after_the_role_and_are_fed_back_like_it() -> None:
    backend, told = counting(1, 3, 4)
    checks = Checks("the tests fail")
    answer = await Asking(agent(backend), checks, ("tests",)).answer(backend, call())
    assert answer.output == {"n": 4}
    assert checks.names == [("tests",), ("tests",)]
    assert [repair and repair.failure for repair in told][2] == "the tests fail"


async def test_an_agent_that_names_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing, there = tmp_path / "no.py", tmp_path / "yes.py"
    there.touch()
    left = [missing, there]

    async def script(asked: AgentCall) -> JsonObject:
        return {"n": 5, "files_written": [str(left.pop(0))]}

    backend = ScriptedBackend(script, repairs=True)
    await Asking(agent(backend), None, ()).answer(backend, call())
    assert str(missing) in (backend.calls[1].repair or Repair(0, "", None, None)).failure


def test_a_failure_is_told_within_bounds() -> None:
    details = {"gates": [{"name": "g", "findings": [{"message": "m" * 9_000}] * 50}], "empty": []}
    text = failure_text(AgentError(ErrorType.CHECK_FAILED, "no", hint="mend it", details=details))
    assert text.startswith("no\nHint: mend it\ngates:\n")
    assert len(text) <= FAILURE_LIMIT + 20
    assert "empty" not in text


async def test_each_round_is_told_what_is_left_of_the_budget() -> None:
    backend, _ = counting(1, 2, 3)
    left = iter([3.0, 2.0, 0.5])
    told: list[Budget | None] = []

    class Watching(ScriptedBackend):
        async def answer(self, role: Role, asked: AgentCall) -> Answer:
            told.append(asked.budget)
            return await backend.answer(role, asked)

    watching = Watching(repairs=True)
    asking = Asking(agent(watching), None, (), lambda: Budget(cost_usd=next(left)))
    await asking.answer(watching, call())
    assert told == [Budget(3.0), Budget(2.0), Budget(0.5)]
