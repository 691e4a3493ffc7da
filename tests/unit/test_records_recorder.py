"""The recorder: on disk before anyone is told, without secrets, tied together by the index."""

# ruff: noqa: PTH208 - what descriptors did is looked at in their terms

import hashlib
import os
import zlib
from dataclasses import fields
from pathlib import Path

import orjson
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.errors import RecordError
from dispatch_runner.events import (
    AttemptFailed,
    DispatchFinished,
    DispatchStarted,
    DispatchStopping,
    TaskDeclared,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import ErrorType, Result, Summary, TaskError, TaskResult, TaskStatus
from dispatch_runner.models.trace import Attempt, McpCall, Trace, TraceEvent
from dispatch_runner.records import journal, store
from dispatch_runner.records.printed import CHUNK
from dispatch_runner.records.recorder import Recorder, digest
from dispatch_runner.records.redaction import Redactor

pytestmark = pytest.mark.anyio

TIME = "2026-01-31T12:00:00.000Z"
SECRET = "AKIA" + "IOSFODNN7EXAMPLE"
REQUEST = {
    "tasks": [
        {"task_id": "a", "agent": "echo", "input_data": {"x": 1}},
        {"task_id": "b/c", "agent": "coder", "input_data": {}},
    ]
}


def opened(path: Path, *, request=REQUEST, durability="process", clock=None, **other) -> Recorder:
    return Recorder.open(
        path,
        correlation_id="8f14e45f-ceea-467f-a8d0-0c1f2e3d4c5b",
        request=request,
        config=other.get("config", {"max_workers": 5}),
        metadata=other.get("metadata", {"who": "me"}),
        durability=durability,
        redactor=Redactor({"MY_TOKEN": "very-private-1"}),
        clock=clock,
    )


def result(task_id="a", output=None, **other) -> TaskResult:
    return TaskResult(
        task_id,
        "echo",
        "offline",
        other.pop("status", TaskStatus.SUCCESS),
        {"x": 1} if output is None else output,
        attempts=1,
        started_at=TIME,
        finished_at=TIME,
        **other,
    )


def finished(value: TaskResult, **other) -> TaskFinished:
    given = {"description": "", "input": {"x": 1}, "attempts": (), "mcp_calls": (), "events": ()}
    return TaskFinished(value, **{**given, **other})


def whole(*results: TaskResult) -> Result:
    summary = Summary(len(results), len(results), 0, 0, 0, 0, 1.5, 1.0, 1.0, 1.0, 1)
    return Result("success", "c", None, list(results), summary, None, None)


def read(path: Path):
    return orjson.loads(path.read_bytes())


def events(recorder: Recorder):
    return [(r["event"], r["task"]) for r in journal.load(recorder.journal_file).records]


@pytest.fixture
def recorder(tmp_path):
    made = opened(tmp_path / "traces")
    yield made
    made.close()


def test_the_index_exists_before_anything_starts(recorder):
    index = read(recorder.index_file)
    assert index["status"] == "running"
    assert index["task_count"] == 2
    assert index["metadata"] == {"who": "me"}
    assert index["config"] == {"max_workers": 5}
    assert index["pid"] == os.getpid()
    assert [(t["task_id"], t["agent"], t["status"], t["trace_file"]) for t in index["tasks"]] == [
        ("a", "echo", "pending", None),
        ("b/c", "coder", "pending", None),
    ]
    assert recorder.index_file.name == f"{recorder.run_folder.name}.json"


def test_the_request_is_kept_and_its_digest_is_in_the_journal(recorder):
    assert read(recorder.run_folder / "request.json") == REQUEST
    header = journal.load(recorder.journal_file).header
    text = orjson.dumps(REQUEST, option=orjson.OPT_SORT_KEYS)
    assert header["request_sha256"] == digest(REQUEST) == hashlib.sha256(text).hexdigest()
    assert header["request_redacted"] is False


def test_a_finished_task_has_its_trace_and_then_its_record(recorder):
    value = result()
    recorder(TaskStarted("a", "echo"))
    recorder(finished(value, description="what", attempts=[Attempt(1, TIME, TIME, 1.0)]))
    trace = read(recorder.trace_file("a"))
    assert list(trace) == [field.name for field in fields(Trace)]
    assert (trace["task_id"], trace["output"], trace["status"]) == ("a", {"x": 1}, "success")
    assert trace["attempts"][0]["attempt"] == 1
    assert value.trace_file == str(recorder.trace_file("a"))
    record = journal.load(recorder.journal_file).records[-1]
    data = recorder.trace_file("a").read_bytes()
    assert (record["event"], record["task"], record["trace"]) == ("finished", "a", "a.json")
    assert (record["bytes"], record["trace_crc"]) == (len(data), f"{zlib.crc32(data):08x}")


def test_the_journal_tells_the_story(recorder):
    error = TaskError(ErrorType.RATE_LIMITED, "wait")
    recorder(DispatchStarted("c", {}, 5))
    recorder(TasksAdded((TaskDeclared("a", "echo", "", ()), TaskDeclared("new", "echo", "", ()))))
    recorder(TaskStarted("a", "echo"))
    recorder(AttemptFailed("a", 1, error, 2.5))
    recorder(DispatchStopping("SIGINT"))
    recorder(finished(result()))
    assert events(recorder) == [
        ("opened", None), ("dispatch_started", None), ("added", "new"), ("started", "a"),
        ("attempt_failed", "a"), ("stopping", None), ("finished", "a"),
    ]  # fmt: skip
    failed = journal.load(recorder.journal_file).records[4]
    assert (failed["attempt"], failed["type"], failed["retry_in"]) == (1, "rate_limited", 2.5)


def test_finish_writes_the_document_and_the_final_index(recorder):
    value = result()
    recorder(finished(value))
    document = recorder.finish(whole(value))
    assert recorder.result_file.read_bytes() == document
    assert document.endswith(b"}\n")
    assert document.count(b"\n") == 1
    parsed = orjson.loads(document)
    assert parsed["trace_index"] == str(recorder.index_file)
    assert parsed["result_file"] == str(recorder.result_file)
    index = read(recorder.index_file)
    assert (index["status"], index["total_time_ms"]) == ("success", 1.5)
    assert index["summary"]["successful"] == 1
    assert index["tasks"][0]["status"] == "success"
    assert index["tasks"][0]["trace_file"] == str(recorder.trace_file("a"))
    assert events(recorder)[-1] == ("result_written", None)
    assert sorted(os.listdir(recorder.run_folder)) == [
        "a.json", "events.ndjson", "request.json", "result.json",
    ]  # fmt: skip


def test_no_secret_is_written_anywhere(tmp_path):
    request = {"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"k": SECRET}}]}
    recorder = opened(
        tmp_path / "traces", request=request, config={"x": SECRET}, metadata={"y": SECRET}
    )
    error = TaskError(ErrorType.CRASHED, SECRET, hint=SECRET, details={"stderr": SECRET})
    value = result(output={"o": SECRET, "t": "very-private-1"}, error=error, warnings=[SECRET])
    retried = TaskError(ErrorType.CRASHED, SECRET)
    recorder(AttemptFailed("a", 1, retried, 1))
    recorder(
        finished(
            value,
            description=SECRET,
            input={"i": SECRET},
            attempts=[Attempt(1, TIME, TIME, 1.0, error=TaskError(ErrorType.CRASHED, SECRET))],
            mcp_calls=[McpCall("s", "t", {"i": SECRET}, [SECRET], False, 1.0)],
            events=[TraceEvent(TIME, "e", {"d": SECRET})],
        )
    )
    final = whole(value)
    final.warnings.append(SECRET)
    recorder.finish(final)
    written = [p.read_text() for p in (tmp_path / "traces").rglob("*") if p.is_file()]
    assert len(written) == 5
    assert not any(SECRET in text or "very-private-1" in text for text in written)
    assert value.output == {"o": "[redacted:aws-access-key]", "t": "[redacted:MY_TOKEN]"}
    assert SECRET not in retried.message + error.message + str(error.hint) + str(error.details)
    assert journal.load(recorder.journal_file).header["request_redacted"] is True


def test_a_large_output_is_cut_in_the_trace_and_kept_beside_it(recorder):
    output = {"path": "/a", "text": "x" * 300_000}
    value = result(output=output)
    recorder(finished(value))
    trace = read(recorder.trace_file("a"))
    assert trace["output"]["path"] == "/a"
    assert trace["output"]["text"]["length"] == 300_000
    assert read(recorder.run_folder / "a.output.json") == output
    assert orjson.loads(recorder.finish(whole(value)))["results"][0]["output"] == output


@pytest.mark.parametrize("task_id", ["../x", "request", "a" * 200, "й" * 200, ".", "a\0b", "CON"])
def test_hostile_ids_stay_in_the_run_folder(tmp_path, task_id):
    request = {"tasks": [{"task_id": task_id, "agent": "echo", "input_data": {}}]}
    recorder = opened(tmp_path / "traces", request=request)
    recorder(TaskStarted(task_id, "echo"))
    recorder(finished(result(task_id)))
    assert os.listdir(tmp_path) == ["traces"]
    assert recorder.trace_file(task_id).parent == recorder.run_folder
    assert recorder.output_prefix(task_id).parent == recorder.run_folder
    assert read(recorder.trace_file(task_id))["task_id"] == task_id
    assert read(recorder.run_folder / "request.json") == request
    recorder.finish(whole(result(task_id)))
    assert store.show(tmp_path / "traces", recorder.run_folder.name, task_id)["task_id"] == task_id


def test_what_no_encoder_takes_is_recorded_all_the_same(recorder):
    value = result(output={"big": 2**70, "half": "\ud800", "bytes": b"x"})
    value.error = TaskError(ErrorType.CRASHED, "\udc80")
    recorder(finished(value, description="\udc80"))
    assert b'"big":1180591620717411303424' in recorder.trace_file("a").read_bytes()
    assert b'"big":1180591620717411303424' in recorder.finish(whole(value))


def test_tasks_of_a_session_reach_the_index_at_a_bounded_rate(tmp_path):
    now = [0.0]
    recorder = opened(
        tmp_path / "traces", request={"tasks": []}, clock=Clock(monotonic=lambda: now[0])
    )
    for number in range(10):
        now[0] += 0.3
        recorder(TasksAdded((TaskDeclared(f"t{number}", "echo", "", ()),)))
    assert read(recorder.index_file)["task_count"] == 8
    recorder.finish(whole())
    assert read(recorder.index_file)["task_count"] == 10


def test_dispatch_finished_completes_the_result_for_later_observers(recorder):
    final = whole()
    recorder(DispatchFinished(final))
    assert final.result_file == str(recorder.result_file)


def test_closing_without_finish_leaves_a_crashed_dispatch(tmp_path, recorder):
    assert store.list_dispatches(tmp_path / "traces")[0].status == "running"
    recorder.close()
    recorder.close()
    assert store.list_dispatches(tmp_path / "traces")[0].status == "crashed"


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_flush_waits_until_everything_is_safe(tmp_path, durability):
    recorder = opened(tmp_path / "traces", durability=durability)
    values = [result(f"t{number}") for number in range(200)]
    for value in values:
        recorder(finished(value))
    await recorder.flush()
    await recorder.flush()
    recorder.finish(whole(*values))
    assert store.list_dispatches(tmp_path / "traces")[0].status == "success"


async def test_a_sync_that_fails_is_fatal(tmp_path):
    recorder = opened(tmp_path / "traces", durability="power")
    printed = recorder.run_folder / "a.1.stdout"
    printed.mkdir()  # cannot be read as a file
    recorder(finished(result(), attempts=[Attempt(1, TIME, TIME, 1.0, stdout_file=str(printed))]))
    with pytest.raises(RecordError, match="cannot secure records in"):
        await recorder.flush()
    with pytest.raises(RecordError, match="cannot secure records in"):
        recorder(TaskStarted("b/c", "coder"))
    with pytest.raises(RecordError, match="cannot secure records in"):
        await recorder.flush()
    recorder.close()


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_what_a_program_printed_loses_its_secrets(tmp_path, durability):
    recorder = opened(tmp_path / "traces", durability=durability)
    printed = recorder.output_prefix("a").with_name("a.1.stdout")
    silent = recorder.output_prefix("a").with_name("a.1.stderr")
    silent.touch()
    key = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIEabcd\n" * 50
    key += b"-----END RSA PRIVATE KEY-----\n"
    line = b"an ordinary line \xff of output\n"
    before = line * 10_000
    filler = line * ((CHUNK - len(before) - 100) // len(line))
    after = b"x" * 100 + b"\n"
    printed.write_bytes(before + b"k " + SECRET.encode() + b"\n" + filler + key + after)
    attempt = Attempt(1, TIME, TIME, 1.0, stdout_file=str(printed), stderr_file=str(silent))
    recorder(finished(result(), attempts=[attempt]))
    await recorder.flush()
    assert printed.read_bytes() == (
        before + b"k [redacted:aws-access-key]\n" + filler + b"[redacted:private-key]\n" + after
    )
    assert printed.stat().st_mode & 0o777 == 0o600
    recorder.finish(whole())
    assert sorted(os.listdir(recorder.run_folder))[:3] == ["a.1.stderr", "a.1.stdout", "a.json"]


async def test_what_a_program_printed_outside_the_run_folder_is_left_alone(tmp_path):
    recorder = opened(tmp_path / "traces")
    printed = tmp_path / "other.stdout"
    printed.write_text(SECRET)
    recorder(finished(result(), attempts=[Attempt(1, TIME, TIME, 1.0, stdout_file=str(printed))]))
    await recorder.flush()
    assert printed.read_text() == SECRET
    recorder.close()


def test_two_dispatches_of_one_second_have_folders_of_their_own(tmp_path):
    clock = Clock(wall=lambda: 1_759_752_000.0)
    first, second = (opened(tmp_path / "traces", clock=clock) for _ in range(2))
    assert first.run_folder != second.run_folder
    for recorder in (first, second):
        recorder(finished(result()))
        recorder.finish(whole(result()))
    assert len(store.list_dispatches(tmp_path / "traces")) == 2
