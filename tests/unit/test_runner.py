"""One task: attempts, timeouts, retries, and what counts as a success."""

from pathlib import Path

import anyio
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.engine.attempt import Attempting
from dispatch_runner.engine.runner import Job, Outcome, Retrying, Start, Surroundings
from dispatch_runner.errors import AgentError
from dispatch_runner.events import AttemptFailed, Event
from dispatch_runner.models import ErrorType, JsonObject, Task, TaskStatus, Usage
from dispatch_runner.models.usage import total_usage
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import MOST_EVENTS, AgentCall
from dispatch_runner.testing import Script, scripted_agent

pytestmark = pytest.mark.anyio


async def run(
    script: Script, *, retries: int = 0, seconds: float = 30.0, outputs: dict[str, JsonObject] | None = None,
    input_data: JsonObject | None = None, waits: float = 0.0,
) -> tuple[Outcome, list[Event]]:  # fmt: skip
    events: list[Event] = []
    task = Task(task_id="t", agent="fake", input_data=input_data or {"n": 1}, dependencies=["up"])
    job = Job(task, scripted_agent("fake", script), seconds, retries, input_data is not None)
    around = Surroundings("c", Path.cwd(), AllowedRoots.of(), anyio.Event())
    runner = Retrying(Attempting(around, Clock()), lambda low, high: waits)
    start = Start(job, outputs or {}, Outcome(), events.append)
    await runner.run(start)
    return start.outcome, events


def failing(*errors: Exception) -> Script:
    left = list(errors)

    async def script(call: AgentCall) -> JsonObject:
        if left:
            raise left.pop(0)
        return {"attempt": call.attempt}

    return script


async def test_an_output_is_a_success() -> None:
    outcome, _ = await run(failing())
    assert (outcome.status, outcome.output) == (TaskStatus.SUCCESS, {"attempt": 1})
    assert [attempt.attempt for attempt in outcome.attempts] == [1]
    assert outcome.backend == "scripted"


async def test_an_agent_gets_the_outputs_of_its_direct_dependencies() -> None:
    async def script(call: AgentCall) -> JsonObject:
        return {"got": dict(call.dependencies)}

    outcome, _ = await run(script, outputs={"up": {"x": 1}, "other": {"y": 2}})
    assert outcome.output == {"got": {"up": {"x": 1}}}


async def test_references_are_resolved_and_a_missing_path_shows_what_there_is() -> None:
    async def script(call: AgentCall) -> JsonObject:
        return call.input | {"ok": True}

    given = {"v": "${tasks.up.output.x}"}
    outcome, _ = await run(script, input_data=given, outputs={"up": {"x": [1]}})
    assert outcome.output == {"v": [1], "ok": True}
    outcome, _ = await run(script, input_data=given, outputs={"up": {"size": 1}})
    assert outcome.error is not None
    assert outcome.error.type is ErrorType.INVALID_INPUT
    assert "size" in outcome.error.message


async def test_a_timeout_ends_the_attempt() -> None:
    async def script(call: AgentCall) -> JsonObject:
        await anyio.sleep_forever()
        return {}

    outcome, _ = await run(script, seconds=0.01)
    assert outcome.status is TaskStatus.TIMEOUT
    assert outcome.error is not None
    assert outcome.error.message == "no answer within 0.01 s"


async def test_an_agents_own_timeout_error_is_not_taken_for_ours() -> None:
    outcome, _ = await run(failing(TimeoutError("connect to db timed out")))
    assert outcome.status is TaskStatus.ERROR
    assert outcome.error is not None
    assert outcome.error.type is ErrorType.CRASHED
    assert "connect to db timed out" in outcome.error.message


async def test_an_exception_without_a_message_still_has_one() -> None:
    outcome, _ = await run(failing(TimeoutError()))
    assert outcome.error is not None
    assert outcome.error.message == "agent 'fake' raised TimeoutError"
    assert "Traceback" in outcome.error.details["traceback"]


@pytest.mark.parametrize(
    ("output", "error"), [({}, ErrorType.UNVERIFIED), (["no"], ErrorType.BAD_OUTPUT)]
)
async def test_an_agent_that_did_nothing_did_not_succeed(
    output: JsonObject, error: ErrorType
) -> None:
    async def script(call: AgentCall) -> JsonObject:
        return output

    outcome, _ = await run(script)
    assert outcome.error is not None
    assert outcome.error.type is error
    assert outcome.output is None


async def test_a_file_that_was_promised_exists(tmp_path: Path) -> None:
    there = tmp_path / "there.py"
    there.touch()

    def saying(output: JsonObject) -> Script:
        async def script(call: AgentCall) -> JsonObject:
            return output

        return script

    outcome, _ = await run(saying({"generated_file": str(there)}))
    assert outcome.status is TaskStatus.SUCCESS
    outcome, _ = await run(saying({"files_written": [str(there), str(tmp_path / "gone")]}))
    assert outcome.error is not None
    assert outcome.error.type is ErrorType.UNVERIFIED
    assert "gone" in outcome.error.message


async def test_a_transient_failure_is_tried_again() -> None:
    overloaded = AgentError(ErrorType.OVERLOADED, "busy")
    outcome, events = await run(failing(overloaded, overloaded), retries=2)
    assert outcome.output == {"attempt": 3}
    assert [attempt.attempt for attempt in outcome.attempts] == [1, 2, 3]
    assert [e.attempt for e in events if isinstance(e, AttemptFailed)] == [1, 2]


async def test_retries_end() -> None:
    outcome, _ = await run(failing(*[AgentError(ErrorType.OVERLOADED, "busy")] * 5), retries=1)
    assert outcome.error is not None
    assert outcome.error.type is ErrorType.OVERLOADED
    assert len(outcome.attempts) == 2


@pytest.mark.parametrize(
    "kind", [ErrorType.INVALID_INPUT, ErrorType.AUTH, ErrorType.PERMISSION_DENIED]
)
async def test_what_was_refused_is_not_tried_again(kind: ErrorType) -> None:
    outcome, events = await run(failing(AgentError(kind, "no")), retries=3)
    assert len(outcome.attempts) == 1
    assert events == []


async def test_a_crash_is_retried_once() -> None:
    crash = AgentError(ErrorType.CRASHED, "exit 1")
    outcome, _ = await run(failing(crash, crash, crash), retries=5)
    assert len(outcome.attempts) == 2


async def test_the_wait_that_the_other_side_asked_for_is_honoured() -> None:
    limited = AgentError(ErrorType.RATE_LIMITED, "slow down", retry_after=0.02)
    _, events = await run(failing(limited), retries=1)
    assert [e.retry_in for e in events if isinstance(e, AttemptFailed)] == [0.02]


def test_back_off_doubles_up_to_a_minute() -> None:
    around = Surroundings("c", Path(), AllowedRoots(()), None)  # type: ignore[arg-type]
    runner = Retrying(Attempting(around, Clock()), lambda low, high: high)
    assert [runner._back_off(attempt, None) for attempt in (1, 2, 3, 9)] == [1, 2, 4, 60]
    assert runner._back_off(1, 7.5) == 7.5


def test_an_unknown_cost_makes_the_total_unknown() -> None:
    assert total_usage([None, None]) is None
    assert total_usage([Usage(requests=1, cost_usd=0.5), Usage(requests=2)]) == Usage(requests=3)
    assert total_usage([Usage(1, 2, None, 1, 0.5), Usage(1, None, None, 1, 0.25)]) == Usage(
        2, 2, None, 2, 0.75
    )


async def test_events_beyond_the_bound_are_counted() -> None:
    async def script(call: AgentCall) -> JsonObject:
        for number in range(MOST_EVENTS + 5):
            call.log.tell("step", number=number)
        return {"done": True}

    outcome, _ = await run(script)
    assert len(outcome.events) == MOST_EVENTS + 1
    assert (outcome.events[-1].event, outcome.events[-1].data) == ("events_left_out", {"count": 5})
