"""The Python API: one request, and a session that grows."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from dispatch_runner import (
    DispatchRunnerError,
    Flags,
    RecordError,
    Request,
    RequestRejected,
    Session,
    SettingsError,
    Task,
    TaskStatus,
    dispatch,
)
from dispatch_runner.events import (
    DispatchFinished,
    DispatchStarted,
    Event,
    TaskFinished,
    TaskStarted,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def echo(task_id: str, *dependencies: str, **input_data: object) -> dict[str, object]:
    return {
        "task_id": task_id, "agent": "echo", "input_data": input_data, "dependencies": [*dependencies],
    }  # fmt: skip


async def test_a_request_as_an_object_gives_its_result() -> None:
    result = await dispatch({"tasks": [echo("a", n=1), echo("b", "a", m="${tasks.a.output.n}")]})
    assert result.status == "success"
    assert [task.output for task in result.results] == [{"n": 1}, {"m": 1}]
    assert result.summary.total_tasks == 2
    assert result.trace_index is not None
    assert json.loads(Path(result.trace_index).read_text())["status"] == "success"


@pytest.mark.parametrize("kind", [bytes, str, dict, Request])
async def test_a_request_may_be_bytes_text_an_object_or_a_model(kind: type) -> None:
    document = {"tasks": [echo("a", n=1)]}
    forms: dict[type, object] = {
        bytes: json.dumps(document).encode(),
        str: json.dumps(document),
        dict: document,
        Request: Request(tasks=[Task(**task) for task in document["tasks"]]),
    }
    assert (await dispatch(forms[kind])).status == "success"  # type: ignore[arg-type]


async def test_a_bad_request_raises_with_all_problems_and_writes_nothing(folder: Path) -> None:
    with pytest.raises(RequestRejected) as caught:
        await dispatch({"tasks": [echo("a", "x"), echo("a")]})
    assert {problem.code for problem in caught.value.problems} == {
        "unknown_dependency",
        "duplicate_task_id",
    }
    assert list(folder.iterdir()) == []


async def test_a_bad_setting_raises() -> None:
    with pytest.raises(SettingsError, match="MAX_WORKERS"):
        await dispatch({"tasks": [echo("a")]}, environ={"DISPATCH_RUNNER_MAX_WORKERS": "none"})


async def test_records_that_cannot_be_made_raise_before_anything_starts(folder: Path) -> None:
    folder.joinpath("traces").write_text("in the way")
    with pytest.raises(RecordError, match="traces"):
        await dispatch({"tasks": [echo("a")]})


async def test_observers_hear_of_everything_in_order() -> None:
    events: list[Event] = []
    result = await dispatch({"tasks": [echo("a"), echo("b")]}, observers=[events.append])
    assert isinstance(events[0], DispatchStarted)
    assert isinstance(events[-1], DispatchFinished)
    assert events[-1].result is result
    finished = [e.result.task_id for e in events if isinstance(e, TaskFinished)]
    assert sorted(finished) == ["a", "b"]


async def test_flags_limit_the_request() -> None:
    request = {"tasks": [echo("a")], "config": {"max_workers": 8}}
    result = await dispatch(request, flags=Flags(max_workers=2))
    assert any("max_workers" in warning for warning in result.warnings)


async def test_a_session_runs_tasks_while_others_are_submitted() -> None:
    async with Session() as session:
        first = session.submit(echo("a", n=1))
        second = session.submit(
            Task(
                task_id="b",
                agent="echo",
                input_data={"m": "${tasks.a.output.n}"},
                dependencies=["a"],
            )
        )
        assert (await session.result(second)).output == {"m": 1}
        assert (await session.result(first)).status is TaskStatus.SUCCESS
    assert session.outcome is not None
    assert [task.task_id for task in session.outcome.results] == ["a", "b"]


async def test_a_batch_gives_its_results_in_its_own_order() -> None:
    async with Session() as session:
        results = await session.execute_batch([echo("late", "soon", n=1), echo("soon", n=2)])
    assert [result.output for result in results] == [{"n": 1}, {"n": 2}]


async def test_a_task_without_an_id_gets_one() -> None:
    async with Session() as session:
        names = [session.submit({"agent": "echo", "input_data": {"n": n}}) for n in range(3)]
        assert len(set(names)) == 3
        assert (await session.result(names[2])).output == {"n": 2}


async def test_an_id_that_was_used_is_refused_and_the_session_goes_on() -> None:
    async with Session() as session:
        session.submit(echo("a"))
        with pytest.raises(RequestRejected):
            session.submit(echo("a"))
        session.submit(echo("b", "a"))
    assert session.outcome is not None
    assert session.outcome.summary.successful == 2


async def test_a_batch_with_a_mistake_starts_nothing() -> None:
    async with Session() as session:
        with pytest.raises(RequestRejected):
            await session.execute_batch([echo("a"), echo("b", "nowhere")])
    assert session.outcome is not None
    assert session.outcome.results == []


@pytest.fixture
def endless(folder: Path) -> Flags:
    """An operator whose agent `wait` never ends by itself."""
    config = folder / "agents.toml"
    config.write_text('[agents.wait]\nbackend = "command"\ncommand = ["sleep", "1000"]\n')
    return Flags(config=config)


WAIT = {"task_id": "w", "agent": "wait", "input_data": {}}


class Began:
    """An observer that tells when a task has started."""

    def __init__(self) -> None:
        self.event = anyio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskStarted):
            self.event.set()


async def test_leaving_a_session_by_an_exception_ends_what_runs(endless: Flags) -> None:
    began = Began()
    session = Session(flags=endless, observers=[began])

    async def fail() -> None:
        async with session:
            session.submit(WAIT)
            await began.event.wait()
            raise ValueError("the caller's own")

    with pytest.raises(ValueError, match="the caller's own"):
        await fail()
    assert session.outcome is not None
    assert session.outcome.results[0].status is TaskStatus.CANCELLED
    assert session.outcome.interrupted is None


async def test_a_cancelled_dispatch_leaves_complete_records(folder: Path, endless: Flags) -> None:
    began = Began()
    async with anyio.create_task_group() as group:
        group.start_soon(partial(dispatch, {"tasks": [WAIT]}, flags=endless, observers=[began]))
        await began.event.wait()
        group.cancel_scope.cancel()
    (index,) = folder.glob("traces/*.json")
    document = json.loads(index.read_text())
    assert document["status"] == "failure"
    assert document["tasks"][0]["status"] == "cancelled"


async def test_a_session_that_is_not_open_says_so() -> None:
    with pytest.raises(DispatchRunnerError, match="async with"):
        Session().submit(echo("a"))
