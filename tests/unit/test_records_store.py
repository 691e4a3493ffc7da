"""Earlier dispatches: listed fast, shown truthfully, pruned carefully."""

# ruff: noqa: PTH208 - what descriptors did is looked at in their terms

import os
from pathlib import Path

import orjson
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.errors import RecordError
from dispatch_runner.events import TaskFinished
from dispatch_runner.models import Result, Summary, TaskResult, TaskStatus
from dispatch_runner.records import store
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor

DAY = 86_400
START = 1_759_752_000
"""2025-10-06 12:00:00 UTC."""


def open_at(path: Path, seconds: float, request=None) -> Recorder:
    tasks = [{"task_id": "a", "agent": "echo", "input_data": {}}]
    return Recorder.open(
        path,
        correlation_id="c",
        request=request or {"tasks": tasks},
        config={},
        metadata={},
        durability="process",
        redactor=Redactor({}),
        clock=Clock(wall=lambda: seconds),
    )


def run_at(path: Path, seconds: float, *, finish=True) -> str:
    recorder = open_at(path, seconds)
    value = TaskResult("a", "echo", "offline", TaskStatus.SUCCESS, {"x": "y" * 1_000})
    recorder(TaskFinished(value, "", {}, (), (), ()))
    if finish:
        summary = Summary(1, 1, 0, 0, 0, 0, 1.5, 1.0, 1.0, 1.0, 1)
        recorder.finish(Result("success", "c", None, [value], summary, None, None))
    recorder.close()
    return recorder.run_folder.name


@pytest.fixture
def traces(tmp_path):
    return tmp_path / "traces"


@pytest.fixture
def five(traces):
    """Names of five dispatches, one a day, newest first."""
    return [run_at(traces, START + day * DAY) for day in range(5)][::-1]


def names(traces):
    return [entry.name for entry in store.list_dispatches(traces)]


def test_a_folder_that_does_not_exist_has_no_dispatches(traces):
    assert store.list_dispatches(traces) == []
    assert store.prune(traces, keep=0) == []


def test_dispatches_are_listed_newest_first(traces, five):
    assert names(traces) == five


def test_an_entry_says_how_it_went(traces):
    name = run_at(traces, START)
    [entry] = store.list_dispatches(traces)
    assert entry == store.Entry(
        name=name,
        status="success",
        correlation_id="c",
        dispatch_timestamp="2025-10-06T12:00:00.000Z",
        interrupted=None,
        total_time_ms=1.5,
        task_count=1,
        index_file=str(traces / f"{name}.json"),
        resumable=False,
    )


def test_every_index_begins_as_the_listing_expects(traces):
    name = run_at(traces, START)
    assert store.HEAD.match((traces / f"{name}.json").read_bytes()[: store.HEAD_BYTES])


def test_an_index_written_otherwise_is_read_whole(traces, five):
    path = traces / f"{five[0]}.json"
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()), option=orjson.OPT_INDENT_2))
    assert store.list_dispatches(traces)[0].status == "success"


def test_a_damaged_index_is_listed_as_unreadable(traces, five):
    (traces / f"{five[0]}.json").write_bytes(b'{"corr')
    assert store.list_dispatches(traces)[0].status == "unreadable"


def test_a_dispatch_whose_process_ended_has_crashed(traces):
    run_at(traces, START, finish=False)
    assert store.list_dispatches(traces)[0].status == "crashed"


def test_strangers_are_not_listed(traces, five):
    (traces / "README.md").write_text("x")
    (traces / "dispatch-x.json").write_text("{}")
    (traces / "dispatch-20251006_120000-1f0c9a52").mkdir()
    assert names(traces) == five


@pytest.mark.parametrize("given", ["{0}", "dispatch-20251010", "20251010_12", "{1}"])
def test_a_dispatch_is_named_by_its_name_a_beginning_or_its_end(traces, five, given):
    index = store.show(traces, given.format(five[0], five[0][-8:]))
    assert index["journal_file"].endswith(f"{five[0]}/events.ndjson")


def test_an_ambiguous_or_unknown_name_is_an_error_that_says_what_there_is(traces, five):
    with pytest.raises(RecordError, match="several begin like that: dispatch-20251010"):
        store.show(traces, "dispatch-2025")
    for name in ("nope", "", "../x"):
        with pytest.raises(RecordError, match="no such dispatch"):
            store.show(traces, name)


def test_show_tells_the_status_that_is_true_now(traces):
    name = run_at(traces, START, finish=False)
    assert store.show(traces, name)["status"] == "crashed"


def test_the_trace_of_a_task_is_shown_also_while_the_index_does_not_name_it(traces):
    for finish in (True, False):
        name = run_at(traces, START, finish=finish)
        assert store.show(traces, name, "a")["output"]["x"].startswith("yyy")
    with pytest.raises(RecordError, match="no such task"):
        store.show(traces, name, "zzz")


def test_a_task_that_has_not_finished_has_no_trace_yet(traces):
    recorder = open_at(traces, START)
    with pytest.raises(RecordError, match="it has not finished"):
        store.show(traces, recorder.run_folder.name, "a")
    recorder.close()


def test_prune_keeps_the_newest(traces, five):
    assert store.prune(traces, keep=2) == five[2:][::-1]
    assert names(traces) == five[:2]
    assert len(os.listdir(traces)) == 4


def test_prune_removes_what_is_older(traces, five):
    assert store.prune(traces, older_than=1.5 * DAY, now=START + 4 * DAY) == five[2:][::-1]


def test_prune_removes_the_oldest_until_the_rest_fits(traces, five):
    each = sum(p.stat().st_size for p in traces.rglob(f"{five[0]}*/**/*") if p.is_file())
    each += (traces / f"{five[0]}.json").stat().st_size
    assert store.prune(traces, max_bytes=3 * each) == five[3:][::-1]


def test_a_dry_run_removes_nothing(traces, five):
    assert store.prune(traces, keep=0, dry_run=True) == five[::-1]
    assert names(traces) == five


def test_a_running_dispatch_is_never_removed(traces, five):
    recorder = open_at(traces, START - DAY)
    assert store.prune(traces, keep=0, older_than=0, max_bytes=0, dry_run=True) == five[::-1]
    assert store.prune(traces, keep=0, older_than=0, max_bytes=0) == five[::-1]
    assert names(traces) == [recorder.run_folder.name]
    recorder.close()
    assert store.prune(traces, keep=0) == [recorder.run_folder.name]


def test_prune_never_follows_a_link(traces, five, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("x")
    (traces / five[0] / "link").symlink_to(mine)
    (traces / five[1]).rename(tmp_path / "moved")
    (traces / five[1]).symlink_to(mine)
    store.prune(traces, keep=0)
    assert (mine / "file").read_text() == "x"
    assert names(traces) == [five[1]]


def test_prune_finishes_what_an_interrupted_prune_began(traces, five):
    for file in (traces / five[0]).iterdir():
        file.unlink()
    (traces / five[0]).rmdir()
    assert store.prune(traces, keep=0) == five[::-1]
    assert os.listdir(traces) == []


@pytest.mark.slow
def test_listing_reads_little_of_each_dispatch(traces):
    """Descriptors stay few and the cost per dispatch is that of one small read."""
    name = run_at(traces, START)
    index = (traces / f"{name}.json").read_bytes()
    for number in range(10_000):
        (traces / f"dispatch-20251007_120000-{number:08x}.json").write_bytes(index)
    assert len(store.list_dispatches(traces)) == 10_001


def test_the_newest_few_are_listed_without_reading_the_others(traces):
    first = run_at(traces, START)
    same_second = {run_at(traces, START + DAY + part) for part in (0.1, 0.7, 0.4)}
    (traces / f"{first}.json").write_text("damaged")
    found = store.list_dispatches(traces, newest=2)
    assert {entry.name for entry in found} < same_second
    assert [entry.dispatch_timestamp[-4:] for entry in found] == ["700Z", "400Z"]
    assert len(store.list_dispatches(traces, newest=9)) == 4
    assert store.list_dispatches(traces, newest=0) == []


@pytest.mark.parametrize("left", ["nothing", "a journal", "a half-written request"])
def test_what_a_dispatch_left_that_died_before_its_index_is_pruned(traces, five, left):
    orphan = traces / "dispatch-20251005_120000-0badf00d"
    orphan.mkdir()
    if left == "a journal":
        (orphan / "events.ndjson").write_bytes(b"")
    elif left == "a half-written request":
        (orphan / ".new").write_bytes(b'{"tasks"')
    assert store.prune(traces, keep=9, now=START, dry_run=True) == [orphan.name]
    assert store.prune(traces, keep=9, now=START) == [orphan.name]
    assert not orphan.exists()
    assert names(traces) == five


def test_a_dispatch_that_is_just_starting_is_not_pruned(traces, five):
    young = traces / "dispatch-20251010_113000-0badf00d"
    young.mkdir()
    assert store.prune(traces, keep=9, older_than=0, now=START + 4 * DAY) == five[:0:-1]
    assert young.exists()
    recorder = open_at(traces, START - DAY)
    (traces / f"{recorder.run_folder.name}.json").unlink()
    store.prune(traces, keep=0, now=START + 4 * DAY)
    assert recorder.run_folder.exists()
    recorder.close()


def test_age_counts_for_what_has_no_index_too(traces):
    orphan = traces / "dispatch-20251005_120000-0badf00d"
    orphan.mkdir(parents=True)
    assert store.prune(traces, older_than=2 * DAY, now=START) == []
    assert store.prune(traces, older_than=DAY / 2, now=START) == [orphan.name]


@pytest.mark.parametrize("name", ["mine", "dispatch-mine", "dispatch-20251005_120000-0badf00d.bak"])
def test_prune_leaves_what_is_not_ours(traces, five, name):
    (traces / name).mkdir()
    (traces / name / "file").write_text("x")
    (traces / "dispatch-20251005_120000-0badf00e").write_text("a file of that name")
    store.prune(traces, keep=0, older_than=0, max_bytes=0)
    assert (traces / name / "file").read_text() == "x"
    assert sorted(os.listdir(traces)) == sorted([name, "dispatch-20251005_120000-0badf00e"])
