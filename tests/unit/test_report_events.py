"""Progress for programs: each line is valid by the schema, in order, and bounded."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dispatch_runner.clock import Clock
from dispatch_runner.events import TaskDeclared, TasksAdded, TaskStarted
from dispatch_runner.models import ErrorType, Usage
from dispatch_runner.report.event_lines import TEXT_LENGTH, event_schema, in_lines, to_json
from dispatch_runner.report.json_text import json_document, json_line
from dispatch_runner.report.ndjson import NdjsonEvents, events_file
from dispatch_runner.report.output import Output

VALID = Draft202012Validator(event_schema())


def written(events, clock=None):
    stream = io.StringIO()
    report = NdjsonEvents(Output(stream), clock)
    for event in events:
        report(event)
    report.close()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_kind_of_event_is_valid_by_the_schema(dispatch_events):
    lines = written(dispatch_events)
    for line in lines:
        VALID.validate(line)
    assert {line["event"] for line in lines} == {
        "dispatch_started",
        "tasks_added",
        "task_started",
        "attempt_failed",
        "provider_held",
        "cache_consulted",
        "task_finished",
        "dispatch_stopping",
        "dispatch_finished",
    }


def test_a_task_with_usage_and_warnings_is_valid_by_the_schema(finished):
    (line,) = written([finished("a", usage=Usage(1, 2, None, 1, 0.5), warnings=["w"])])
    VALID.validate(line)
    assert line["usage"]["cost_usd"] == 0.5


@pytest.mark.parametrize("change", [{"seq": 0}, {"event": "unheard_of"}, {"more": 1}])
def test_the_schema_refuses_what_is_not_an_event(dispatch_events, change):
    line = written(dispatch_events[2:3])[0]
    assert VALID.is_valid(line)
    assert not VALID.is_valid(line | change)


def test_the_schema_requires_every_field(dispatch_events):
    for line in written(dispatch_events):
        for name in line:
            assert not VALID.is_valid({k: v for k, v in line.items() if k != name})


def test_lines_are_numbered_and_timed(dispatch_events):
    moments = iter([50.0, 50.25, 51.5])
    clock = Clock(monotonic=lambda: next(moments), wall=lambda: 1.5)
    lines = written(dispatch_events[:3], clock)
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert [line["elapsed_ms"] for line in lines] == [0.0, 250.0, 1500.0]
    assert lines[0]["time"] == "1970-01-01T00:00:01.500Z"


def test_what_it_is_comes_first_in_a_line(dispatch_events):
    assert list(written(dispatch_events[:1])[0])[:4] == ["event", "seq", "time", "elapsed_ms"]


def test_a_finished_task_has_its_cause_but_not_its_output(finished):
    event = finished("a", "error", ErrorType.CRASHED, "x" * 10_000, output={"large": "data"})
    line = to_json(event)
    assert "output" not in line
    assert line["error"]["type"] == "crashed"
    assert len(line["error"]["message"]) == TEXT_LENGTH


def test_a_thousand_tasks_come_in_lines_of_a_bounded_length():
    tasks = tuple(TaskDeclared(f"t{n}", "echo", "", ()) for n in range(1000))
    lines = written([TasksAdded(tasks)])
    assert [len(line["tasks"]) for line in lines] == [200] * 5
    assert [task["task_id"] for line in lines for task in line["tasks"]] == [
        task.task_id for task in tasks
    ]


def test_no_tasks_at_all_are_one_line():
    assert list(in_lines(TasksAdded(()))) == [TasksAdded(())]


@given(st.text(st.characters(), min_size=1, max_size=50))
def test_any_text_survives_on_one_printable_line(text):
    assert json_line({"text": text}).isprintable()
    (line,) = written([TaskStarted(text, "echo")])
    VALID.validate(line)
    assert line["task_id"] == text


@pytest.mark.parametrize("encode", [json_line, json_document])
@pytest.mark.parametrize("value", [2**70, "\ud800"])
def test_what_the_fast_encoder_refuses_is_encoded_all_the_same(value, encode):
    text = encode({"value": value, "usage": Usage(1)})
    assert json.loads(text)["value"] == value
    assert json.loads(text)["usage"]["input_tokens"] == 1


def test_the_events_can_go_to_a_private_file(tmp_path, dispatch_events):
    report = events_file(tmp_path / "events.ndjson")
    for event in dispatch_events:
        report(event)
    report.close()
    lines = (tmp_path / "events.ndjson").read_text().splitlines()
    assert len(lines) == len(dispatch_events)
    assert (tmp_path / "events.ndjson").stat().st_mode & 0o077 == 0


def test_a_file_for_which_there_was_no_event_is_empty_and_closed(tmp_path):
    before = sum(1 for _ in Path("/dev/fd").iterdir())
    events_file(tmp_path / "events.ndjson").close()
    assert (tmp_path / "events.ndjson").read_bytes() == b""
    assert sum(1 for _ in Path("/dev/fd").iterdir()) == before
