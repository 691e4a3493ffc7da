"""Going on with what an earlier process left, in this process: what stays, what runs, what is refused."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import orjson
import pytest

from dispatch_runner import Config, Flags, RecordError, RequestRejected, Result, Session, dispatch
from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.dispatching.resume import Wish, is_complete, resumption
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.events import Event, TaskFinished, TasksAdded, TaskStarted
from dispatch_runner.models.trace import Index
from dispatch_runner.records.journal import JOURNAL_NAME, JournalBusy, load
from dispatch_runner.records.live import partial_result, state_of
from dispatch_runner.records.register import Place
from dispatch_runner.records.restore import Earlier
from dispatch_runner.records.store import names
from dispatch_runner.records.unfinished import newest_unfinished

pytestmark = pytest.mark.anyio

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
FLAGS = Flags(durability="process")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def echo(task_id: str, *dependencies: str, **more: object) -> dict[str, object]:
    return {
        "task_id": task_id, "agent": "echo", "input_data": {"of": task_id},
        "dependencies": [*dependencies], **more,
    }  # fmt: skip


CHAIN = [echo("a"), echo("b", "a"), echo("c", "b"), echo("d")]


def finished(task_id: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, TaskFinished) and event.result.task_id == task_id


def started(task_id: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, TaskStarted) and event.task_id == task_id


def abandoned(request: object, when: Callable[[Event], bool], flags: Flags = FLAGS) -> Place:
    """A dispatch whose process died at that event: records as they were, nothing more written."""
    operator = Operator.of(flags, os.environ, Path.cwd())
    document = request if isinstance(request, dict) else {"tasks": request}

    snapshot = Path.cwd() / "snapshot"

    def copy(event: Event) -> None:
        if when(event) and not snapshot.exists():
            shutil.copytree(Path.cwd() / "traces", snapshot)

    async def copied() -> None:
        await Dispatch.of(prepare(operator, document), [copy]).run()

    anyio.run(copied)
    assert snapshot.exists(), "it never came to that"
    shutil.rmtree("traces")
    snapshot.rename("traces")
    return place()


def place() -> Place:
    (name,) = names(Path("traces"))
    return Place(Path("traces").absolute(), name)


def wish(**more: object) -> Wish:
    request = more.pop("request", None)
    given = None if request is None else orjson.dumps(request)
    return Wish(more.pop("flags", FLAGS), request=given, **more)  # type: ignore[arg-type]


def resumed(where: Place | None = None, observer: object = None, **more: object) -> Result:
    """The result of the dispatch, continued."""
    wanted = wish(**more)
    earlier = Earlier.hold(where or place())
    try:
        found = resumption(Operator.of(wanted.flags, os.environ, Path.cwd()), earlier, wanted)
    except BaseException:
        earlier.release()
        raise

    async def run() -> Result:
        observers = [observer] if observer else []
        return await Dispatch.of(found.prepared, observers, found.past).run()  # type: ignore[list-item]

    return anyio.run(run)


def journal(where: Place) -> list[tuple[str, str | None]]:
    records = load(where.run_folder / JOURNAL_NAME).records
    return [(record["event"], record["task"]) for record in records]


def test_what_has_finished_stays_and_the_rest_is_run() -> None:
    where = abandoned(CHAIN, finished("b"))
    seen: list[Event] = []
    result = resumed(observer=seen.append)
    assert result.status == "success"
    assert [task.output for task in result.results] == [{"of": each} for each in "abcd"]
    ran = {event.task_id for event in seen if isinstance(event, TaskStarted)}
    assert "a" not in ran
    assert "b" not in ran
    assert "c" in ran
    (added,) = (event for event in seen if isinstance(event, TasksAdded))
    assert {task.task_id for task in added.tasks} == ran
    assert result.warnings == []
    index = json.loads(Path(f"{where.run_folder}.json").read_text())
    assert (index["status"], index["pid"]) == ("success", os.getpid())
    assert index.keys() == Index.__dataclass_fields__.keys()
    assert json.loads((where.run_folder / "result.json").read_text())["status"] == "success"
    assert ("resumed", None) in journal(where)


def test_what_was_running_is_run_again_and_its_first_attempt_is_told() -> None:
    where = abandoned(CHAIN, started("b"))
    result = resumed()
    tasks = {task.task_id: task for task in result.results}
    assert tasks["b"].attempts == 2
    first, second = json.loads((where.run_folder / "b.json").read_text())["attempts"]
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["error"]["details"] == {"cause": "interrupted"}
    assert second["error"] is None
    assert tasks["b"].started_at == first["started_at"]


def test_attempts_go_on_counting_over_any_number_of_processes() -> None:
    where = abandoned([echo("a")], started("a"))
    saved = where.run_folder / JOURNAL_NAME
    index = Path(f"{where.run_folder}.json")
    running = index.read_bytes()
    resumed()
    lines = saved.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b'"started"' in line and b'"attempt":2' in line)
    saved.write_bytes(b"".join(lines[: at + 1]))
    index.write_bytes(running)
    result = resumed()
    assert result.results[0].attempts == 3
    attempts = json.loads((where.run_folder / "a.json").read_text())["attempts"]
    assert [each["attempt"] for each in attempts] == [1, 2, 3]


def test_a_trace_that_is_damaged_or_missing_is_made_again_with_a_warning() -> None:
    where = abandoned(CHAIN, finished("c"))
    (where.run_folder / "a.json").write_text("{}")
    (where.run_folder / "b.json").unlink()
    result = resumed()
    assert result.status == "success"
    assert sorted(text.split("'")[1] for text in result.warnings) == ["a", "b"]
    assert all("is damaged or missing: it is run again" in text for text in result.warnings)


def test_an_output_that_was_cut_in_its_trace_is_taken_from_its_own_file() -> None:
    large = {"text": "x" * 300_000}
    tasks = [
        echo("a", input_data=large),
        echo("b", "a", input_data={"n": "${tasks.a.output.text}"}),
    ]
    where = abandoned(tasks, finished("a"))
    result = resumed()
    assert result.results[0].output == large
    assert result.results[1].output == {"n": large["text"]}
    assert result.warnings == []
    assert where.run_folder.joinpath("a.output.json").is_file()


def test_a_damaged_whole_output_is_made_again() -> None:
    where = abandoned(
        [echo("a", input_data={"text": "x" * 300_000}), echo("b", "a")], finished("a")
    )
    where.run_folder.joinpath("a.output.json").write_text('{"text": "y"}')
    result = resumed()
    assert result.results[0].output == {"text": "x" * 300_000}
    assert "'a' is damaged" in result.warnings[0]


def test_secrets_are_needed_again_and_checked() -> None:
    request = {"tasks": [echo("a", input_data={"key": SECRET}), echo("b", "a")]}
    abandoned(request, finished("a"))
    with pytest.raises(RequestRejected, match="held secrets, which are not kept") as caught:
        resumed()
    assert [problem.code for problem in caught.value.problems] == ["request_needed"]
    other = {"tasks": [*request["tasks"], echo("c")]}
    with pytest.raises(RequestRejected, match="task 'c' was added"):
        resumed(request=other)
    result = resumed(request=request)
    assert result.status == "success"
    assert result.warnings == ["task 'b' gets the output of 'a' without its secrets"]


def test_a_changed_request_is_refused_with_the_difference_task_by_task() -> None:
    abandoned(CHAIN, finished("b"))
    tasks = [echo("a", description="other"), echo("b", "a", input_data={"of": 1}), echo("e")]
    with pytest.raises(RequestRejected) as caught:
        resumed(request={"tasks": tasks, "metadata": {"x": 1}})
    assert [(p.pointer, p.message) for p in caught.value.problems] == [
        ("/metadata", "'metadata' was changed"),
        ("/tasks", "task 'c' was removed"),
        ("/tasks", "task 'd' was removed"),
        ("/tasks/0", "task 'a' was changed: description (null -> \"other\")"),
        ("/tasks/1", "task 'b' was changed: input_data.of (\"b\" -> 1)"),
        ("/tasks/2", "task 'e' was added"),
    ]
    assert {problem.code for problem in caught.value.problems} == {"request_changed"}
    assert resumed(request={"tasks": CHAIN}).status == "success"


def test_changes_that_are_accepted_keep_what_has_the_same_content() -> None:
    where = abandoned(CHAIN, finished("b"))
    tasks = [
        echo("first", input_data={"of": "a"}),  # was a
        echo("b", "first"),
        echo("a", input_data={"of": "new"}),
    ]
    seen: list[Event] = []
    result = resumed(request={"tasks": tasks}, accept_changes=True, observer=seen.append)
    assert {e.task_id for e in seen if isinstance(e, TaskStarted)} == {"a"}
    assert [(t.task_id, t.output) for t in result.results] == [
        ("first", {"of": "a"}), ("b", {"of": "b"}), ("a", {"of": "new"}),
    ]  # fmt: skip
    assert "the request was changed: 2 results are kept" in result.warnings
    trace = json.loads(Path(result.results[0].trace_file or "").read_text())
    assert trace["task_id"] == "first"
    # and from now on it is this request
    earlier = Earlier.hold(where)
    assert earlier.request is not None
    assert [task["task_id"] for task in earlier.request["tasks"]] == ["first", "b", "a"]
    assert is_complete(earlier, wish())
    earlier.release()


def test_accepting_changes_loses_nothing_wherever_the_process_dies() -> None:
    where = abandoned(CHAIN, finished("b"))
    before = Path(shutil.copytree("traces", "before"))
    tasks = [
        echo("first", input_data={"of": "a"}),
        echo("a", input_data={"of": "new"}),
        echo("b", "first"),
    ]
    resumed(request={"tasks": tasks}, accept_changes=True)
    after = (where.run_folder / JOURNAL_NAME).read_bytes()
    start = len((before / where.name / JOURNAL_NAME).read_bytes())
    end = after.index(
        b'"task":"a"', after.index(b'"event":"resumed"')
    )  # then its trace is another one
    shutil.copytree(before, "traces", dirs_exist_ok=True)
    for cut in range(start, end, 7):
        (where.run_folder / JOURNAL_NAME).write_bytes(after[:cut])
        earlier = Earlier.hold(where)
        kept = earlier.results(retry_failed=False)
        outputs = sorted(str(task.output) for task in kept.values())
        earlier.release()
        assert {"{'of': 'a'}", "{'of': 'b'}"} <= set(outputs), cut


def test_failures_stay_unless_they_are_to_be_run_again(folder: Path) -> None:
    (folder / "x.toml").write_text(
        f'[agents.bad]\ncommand = ["test", "-e", "{folder}/go"]\noutput = "exit"\nretries = 0\n'
    )
    flags = replace(FLAGS, config=folder / "x.toml")
    tasks = [{"task_id": "bad", "agent": "bad", "input_data": {}}, echo("after", "bad"), echo("z")]
    where = abandoned(tasks, finished("after"), flags)
    result = resumed(flags=flags)
    assert [task.status for task in result.results] == ["error", "blocked", "success"]
    earlier = Earlier.hold(where)
    assert is_complete(earlier, wish(flags=flags))
    assert not is_complete(earlier, wish(flags=flags, retry_failed=True))
    earlier.release()
    (folder / "go").touch()
    result = resumed(flags=flags, retry_failed=True)
    assert [task.status for task in result.results] == ["success"] * 3
    assert result.results[0].attempts == 2


def test_other_settings_are_refused_unless_accepted(folder: Path) -> None:
    (folder / "x.toml").write_text('[agents.x]\ncommand = ["true"]\noutput = "exit"\n')
    tasks = [{"task_id": "x", "agent": "x", "input_data": {}}, echo("y", "x")]
    abandoned(tasks, started("x"), replace(FLAGS, config=folder / "x.toml"))
    with pytest.raises(
        RequestRejected, match=r"settings file was '.*x.toml', now it is none"
    ) as caught:
        resumed()
    assert "--config" in (caught.value.problems[0].hint or "")
    (folder / "x.toml").rename(folder / "y.toml")
    flags = replace(FLAGS, config=folder / "y.toml")
    result = resumed(flags=flags, accept_changes=True)
    assert result.status == "success"
    assert "y.toml" in result.warnings[0]


def test_limits_stay_as_they_were_but_for_flags() -> None:
    request = {"tasks": CHAIN, "config": {"max_workers": 4, "retries": 1, "max_tokens": 50}}
    flags = replace(FLAGS, max_workers=2, timeout_seconds=7.0)
    where = abandoned(request, finished("a"), flags)
    resumed(flags=replace(FLAGS, max_tokens=100))
    config = json.loads(Path(f"{where.run_folder}.json").read_text())["config"]
    assert (config["max_workers"], config["timeout_seconds"]) == (2, 7.0)
    assert (config["retries"], config["max_tokens"]) == (1, 100)


def test_a_changed_request_brings_its_own_limits() -> None:
    where = abandoned({"tasks": CHAIN, "config": {"max_workers": 4, "retries": 1}}, finished("a"))
    other = {"tasks": CHAIN, "config": {"max_workers": 3, "retries": 1}, "metadata": {"x": 1}}
    resumed(request=other, accept_changes=True)
    index = json.loads(Path(f"{where.run_folder}.json").read_text())
    assert (index["config"]["max_workers"], index["config"]["retries"]) == (3, 1)
    assert index["metadata"] == {"x": 1}


@pytest.mark.parametrize(
    "marker", ["", "7-", "x/7-aaaaaaaaaaaa-", "7-bbbbbbbbbbbb-", "7-aaaaaaaaaaaa-"]
)
def test_a_marker_that_could_be_that_of_others_is_not_swept_for(marker: str) -> None:
    where = abandoned(CHAIN, finished("a"))
    earlier = Earlier.hold(where)
    earlier.replay.header |= {"pid": 7, "marker": marker, "token": "aaaaaaaaaaaa"}
    assert (earlier.holder() is not None) == marker.endswith("7-aaaaaaaaaaaa-")
    earlier.release()


def test_two_processes_never_have_the_same_dispatch() -> None:
    where = abandoned(CHAIN, finished("a"))
    first = Earlier.hold(where)
    with pytest.raises(JournalBusy):
        Earlier.hold(where)
    first.release()
    Earlier.hold(where).release()


def test_holding_and_letting_go_changes_nothing() -> None:
    where = abandoned(CHAIN, finished("a"))
    with (where.run_folder / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"seq":99')
    before = {path: path.read_bytes() for path in Path("traces").rglob("*") if path.is_file()}
    Earlier.hold(where).release()
    assert before == {
        path: path.read_bytes() for path in Path("traces").rglob("*") if path.is_file()
    }


def test_a_newer_format_is_refused_by_everyone_who_reads_it() -> None:
    import zlib

    where = abandoned(CHAIN, finished("a"))
    body = b'{"seq":0,"mono":1.0,"time":"","task":null,"attempt":0,"event":"opened","format":2'
    path = where.run_folder / JOURNAL_NAME
    path.write_bytes(b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    for reader in (Earlier.hold, state_of, partial_result):
        with pytest.raises(RecordError, match="its format is 2, this program writes 1"):
            reader(where)


def test_events_that_are_not_known_are_skipped() -> None:
    import zlib

    where = abandoned(CHAIN, finished("a"))
    path = where.run_folder / JOURNAL_NAME
    count = len(load(path).records)
    body = (
        b'{"seq":%d,"time":"","mono":1.0,"task":"a","attempt":0,"event":"from_the_future"' % count
    )
    with path.open("ab") as file:
        file.write(b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    assert resumed().status == "success"


def test_a_request_that_is_damaged_has_to_be_given_again() -> None:
    where = abandoned(CHAIN, finished("b"))
    (where.run_folder / "request.json").write_text("{}")
    with pytest.raises(RequestRejected, match="is not the request that was run"):
        resumed()
    result = resumed(request={"tasks": CHAIN})
    assert result.status == "success"
    assert [task.attempts for task in result.results][:2] == [1, 1]


async def test_tasks_of_a_session_are_resumed_too(folder: Path) -> None:
    snapshot = folder / "snapshot"

    def copy(event: Event) -> None:
        if finished("two")(event) and not snapshot.exists():
            shutil.copytree(folder / "traces", snapshot)

    async with Session(Config(max_workers=1), flags=FLAGS, observers=[copy]) as session:
        session.submit(echo("one"))
        await session.execute_batch([echo("two", "one"), echo("three", "two")])
    shutil.rmtree("traces")
    snapshot.rename("traces")
    seen: list[Event] = []
    earlier = Earlier.hold(place())
    found = resumption(Operator.of(FLAGS, os.environ, Path.cwd()), earlier, wish())
    result = await Dispatch.of(found.prepared, [seen.append], found.past).run()
    assert [(task.task_id, task.output) for task in result.results] == [
        (each, {"of": each}) for each in ("one", "two", "three")
    ]
    assert {event.task_id for event in seen if isinstance(event, TaskStarted)} == {"three"}
    assert result.summary.peak_concurrency == 1


def test_the_newest_unfinished_one_is_meant() -> None:
    anyio.run(partial(dispatch, {"tasks": CHAIN}, flags=FLAGS))
    assert newest_unfinished(Path("traces")) is None
    shutil.rmtree("traces")
    where = abandoned(CHAIN, finished("a"))
    assert newest_unfinished(Path("traces")) == where.name
    resumed()
    assert newest_unfinished(Path("traces")) is None
    assert newest_unfinished(Path("elsewhere")) is None
