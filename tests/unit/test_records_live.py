"""How a dispatch stands by its files, whoever wrote them last; and who may be told to end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dispatch_runner.errors import RecordError
from dispatch_runner.events import TaskFinished, TaskStarted
from dispatch_runner.models import Result, Summary, TaskResult, TaskStatus
from dispatch_runner.records.holder import signal_holder
from dispatch_runner.records.live import find, partial_result, runs, state_of
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor
from dispatch_runner.records.register import Place, register, registered, tidy
from dispatch_runner.records.store import list_dispatches

NAME = "dispatch-20261124_170000-{:08x}"


@pytest.fixture
def recorder(tmp_path):
    """A dispatch of three tasks that this process runs."""
    request = {"tasks": [{"task_id": each, "agent": "echo"} for each in ("a", "b", "c")]}
    opened = Recorder.open(
        tmp_path / "traces", correlation_id="id-1", request=request, config={}, metadata={},
        durability="process", redactor=Redactor({}),
    )  # fmt: skip
    yield opened
    opened.close()


@pytest.fixture
def place(recorder):
    return Place(recorder.run_folder.parent, recorder.run_folder.name)


def finished(task_id, **output):
    result = TaskResult(task_id, "echo", "offline", TaskStatus.SUCCESS, output)
    return TaskFinished(result, "", {}, (), (), ())


def final(recorder):
    summary = Summary(3, 3, 0, 0, 0, 0, 5.0, None, 0.0, None, 1)
    return Result("success", "id-1", None, [], summary, None, None)


def test_while_it_runs_the_journal_is_the_truth(recorder, place):
    recorder(TaskStarted("a", "echo"))
    recorder(finished("a", n=1))
    recorder(TaskStarted("b", "echo"))
    state = state_of(place)
    assert (state.status, state.pid, state.stopping) == ("running", os.getpid(), False)
    assert (state.tasks.success, state.tasks.running, state.tasks.pending) == (1, 1, 1)
    assert [task.task_id for task in state.running] == ["b"]
    done, running, pending = partial_result(place).results
    assert isinstance(done, TaskResult)
    assert done.output == {"n": 1}
    assert (running.status, pending.status) == ("running", "pending")


def test_what_ran_when_the_process_died_is_lost(recorder, place):
    recorder(TaskStarted("a", "echo"))
    recorder.close()
    assert not runs(place)
    state = state_of(place)
    assert (state.status, state.pid) == ("crashed", None)
    assert (state.tasks.lost, state.tasks.pending) == (1, 2)


def test_a_process_that_died_between_result_and_index_has_done_its_work(recorder, place):
    index = recorder.index_file.read_bytes()
    for task in "abc":
        recorder(finished(task, n=1))
    recorder.finish(final(recorder))
    recorder.index_file.write_bytes(index)
    state = state_of(place)
    assert (state.status, state.tasks.success) == ("success", 3)


def test_a_trace_that_is_not_what_the_journal_says_counts_as_lost(recorder, place):
    recorder(finished("a", n=1))
    recorder.trace_file("a").write_text('{"status": "success", "output": "forged"}')
    partial = partial_result(place)
    assert partial.results[0].status == "lost"
    assert "'a'" in partial.warnings[0]


def test_after_its_end_the_index_is_the_truth(recorder, place):
    for task in "abc":
        recorder(finished(task, n=1))
    recorder.finish(final(recorder))
    (recorder.run_folder / "events.ndjson").unlink()
    state = state_of(place)
    assert (state.status, state.elapsed_seconds, state.tasks.success) == ("success", 0.005, 3)


def test_no_process_is_signalled_but_the_one_that_holds_the_journal(recorder, place):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(RecordError, match="another machine"):
            signal_holder(place, other.pid, signal.SIGTERM)
    finally:
        other.communicate(b"\n")
    assert other.returncode == 0
    with pytest.raises(RecordError, match="another machine"):
        signal_holder(place, other.pid, signal.SIGTERM)  # nobody has that number now


def test_nobody_is_signalled_when_it_has_ended(recorder, place):
    recorder.close()
    signal_holder(place, os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("index", ["{}", "[]", "", '{"status": "success", "tasks": 5}'])
def test_an_index_that_is_not_ours_is_an_error_of_the_records(tmp_path, index):
    run_folder = dispatch(tmp_path)
    Path(f"{run_folder}.json").write_text(index)
    with pytest.raises(RecordError, match=run_folder.name):
        state_of(Place(tmp_path, run_folder.name))


@pytest.mark.parametrize(
    "wanted",
    [
        "dispatch-20261124_17",
        "20261124",
        "00000001",
        "c1",
        "{folder}/{name}",
        "{folder}/{name}.json",
    ],
)
def test_a_dispatch_has_several_names(tmp_path, wanted):
    run_folder = dispatch(tmp_path / "there")
    wanted = wanted.format(folder=run_folder.parent, name=run_folder.name)
    assert find(wanted, run_folder.parent, {}).run_folder == run_folder


def test_two_that_begin_alike_are_not_guessed(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{NAME.format(number)}.json").write_text("{}")
    with pytest.raises(RecordError, match="several begin like that"):
        find("dispatch-2026", tmp_path, {})
    assert find("00000001", tmp_path, {}).name == NAME.format(1)


def test_the_newest_is_the_one_that_began_last_also_within_a_second(tmp_path):
    for number, milliseconds in ((1, 900), (2, 100)):
        index = {"dispatch_timestamp": f"2026-11-24T17:00:00.{milliseconds}Z"}
        (tmp_path / f"{NAME.format(number)}.json").write_text(json.dumps(index))
    assert find(None, tmp_path, {}).name == NAME.format(1)
    assert [entry.name for entry in list_dispatches(tmp_path)] == [NAME.format(1), NAME.format(2)]


@pytest.fixture
def environ(tmp_path):
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def dispatch(folder, number=1):
    folder.mkdir(exist_ok=True)
    folder.joinpath(f"{NAME.format(number)}.json").write_text(
        json.dumps({"correlation_id": f"c{number}"})
    )
    return folder / NAME.format(number)


def test_a_dispatch_that_was_made_known_is_found_from_elsewhere(tmp_path, environ):
    run_folder = dispatch(tmp_path / "there")
    register(run_folder, environ)
    assert registered(environ) == [Place(run_folder.parent, run_folder.name)]
    for spelling in (None, run_folder.name, "c1"):
        assert find(spelling, tmp_path / "nowhere", environ).run_folder == run_folder


def test_what_is_gone_and_what_is_too_old_is_forgotten(tmp_path, environ):
    run_folder = dispatch(tmp_path / "there")
    register(run_folder, environ)
    register(tmp_path / "gone" / NAME.format(2), environ)
    tidy(environ)
    links = Path(environ["XDG_STATE_HOME"], "dispatch-runner/dispatches")
    assert [link.name for link in links.iterdir()] == [run_folder.name]
    for number in range(2, 5):
        register(dispatch(tmp_path / "there", number), environ)
    tidy(environ, kept=3)
    assert len(list(links.iterdir())) == 3
    assert not (links / run_folder.name).is_symlink()


@pytest.mark.parametrize("state", ["", "relative", "/dev/null", "/proc/nothing"])
def test_nothing_fails_where_nothing_can_be_made_known(tmp_path, state):
    environ = {"XDG_STATE_HOME": state}
    register(dispatch(tmp_path / "there"), environ)
    assert registered(environ) == []
    tidy(environ)


def test_links_that_others_could_have_made_count_for_nothing(tmp_path, environ):
    register(dispatch(tmp_path / "there"), environ)
    Path(environ["XDG_STATE_HOME"], "dispatch-runner/dispatches").chmod(0o777)
    assert registered(environ) == []
