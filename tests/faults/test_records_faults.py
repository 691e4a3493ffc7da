"""Records on a hostile disk: full, read-only, booby-trapped, or under a process that is killed."""

# ruff: noqa: PTH208 - what descriptors did is looked at in their terms

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from dispatch_runner.errors import RecordError
from dispatch_runner.records import journal, store
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor

WRITER = """
import sys
from pathlib import Path
from dispatch_runner.errors import RecordError
from dispatch_runner.events import TaskFinished, TaskStarted
from dispatch_runner.models import Result, Summary, TaskResult, TaskStatus
from dispatch_runner.records.recorder import Recorder
from dispatch_runner.records.redaction import Redactor

def say(text):
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()

def open_recorder(path, durability="process"):
    return Recorder.open(Path(path), correlation_id="c", request={"tasks": []}, config={},
                         metadata={}, durability=durability, redactor=Redactor({}))

def finish_task(recorder, number, size):
    recorder(TaskStarted(f"t{number}", "echo"))
    value = TaskResult(f"t{number}", "echo", "offline", TaskStatus.SUCCESS, {"x": "y" * size})
    recorder(TaskFinished(value, "", {}, (), (), ()))
    return value

def finish(recorder, values):
    summary = Summary(len(values), len(values), 0, 0, 0, 0, 1.0, 1.0, 1.0, 1.0, 1)
    recorder.finish(Result("success", "c", None, values, summary, None, None))
"""


def script(body: str) -> list[str]:
    return [sys.executable, "-c", WRITER + body]


def run(body: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        script(body), capture_output=True, text=True, timeout=30, check=False, **options
    )


def opened(path: Path) -> Recorder:
    return Recorder.open(
        path,
        correlation_id="c",
        request={"tasks": []},
        config={},
        metadata={},
        durability="process",
        redactor=Redactor({}),
    )


def only_run(traces: Path) -> Path:
    [entry] = store.list_dispatches(traces)
    return traces / entry.name


def check_finished_tasks_are_whole(folder: Path, acknowledged: list[str]) -> None:
    loaded = journal.load(folder / "events.ndjson")
    recorded = {r["task"]: r for r in loaded.records if r["event"] == "finished"}
    assert set(acknowledged) <= set(recorded)
    for record in recorded.values():
        trace = json.loads((folder / record["trace"]).read_bytes())
        assert trace["task_id"] == record["task"]


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("size", [100, 20_000])
def test_every_task_acknowledged_before_kill_9_is_there(tmp_path, durability, size):
    body = f"""
recorder = open_recorder({str(tmp_path / "traces")!r}, {durability!r})
number = 0
while True:
    finish_task(recorder, number, {size})
    say(f"t{{number}}")
    number += 1
"""
    with subprocess.Popen(script(body), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(150)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()
    check_finished_tasks_are_whole(only_run(tmp_path / "traces"), acknowledged)
    assert store.list_dispatches(tmp_path / "traces")[0].status == "crashed"


def test_a_dispatch_that_was_killed_can_be_continued_by_one_process_only(tmp_path):
    traces = tmp_path / "traces"
    body = f"""
recorder = open_recorder({str(traces)!r})
say("ready")
sys.stdin.read()
"""
    with subprocess.Popen(
        script(body), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        path = only_run(traces) / "events.ndjson"
        with pytest.raises(journal.JournalBusy, match=f"process {process.pid} is writing it"):
            journal.Journal.take_over(path, journal.Clock())
        process.kill()
    again, _ = journal.Journal.take_over(path, journal.Clock())
    again.close()


@pytest.mark.parametrize("limit", [60, 500, 2_000, 60_000])
def test_a_write_that_is_cut_short_is_an_error_and_leaves_no_torn_record(tmp_path, limit):
    """RLIMIT_FSIZE makes a write short first and fail next, as a full disk does."""
    traces = tmp_path / "traces"
    body = f"""
try:
    recorder = open_recorder({str(traces)!r})
    for number in range(1_000):
        finish_task(recorder, number, 10)
        say(f"t{{number}}")
except RecordError as error:
    sys.exit(f"record error: {{error}}")
"""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    # The reserve of 64 KiB is larger than the limit: without it nothing starts.
    done = run(body, preexec_fn=limited)
    assert done.returncode == 1
    assert "record error: cannot" in done.stderr
    assert str(traces) in done.stderr
    assert store.list_dispatches(traces) == []
    assert os.listdir(traces) == []


def test_a_record_that_no_longer_fits_is_cut_back_whole(tmp_path):
    traces = tmp_path / "traces"
    body = f"""
import resource
recorder = open_recorder({str(traces)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
try:
    for number in range(1_000):
        finish_task(recorder, number, 10)
        say(f"t{{number}}")
except RecordError as error:
    sys.exit(f"record error: {{error}}")
"""
    done = run(body)
    assert done.returncode == 1
    assert "cannot append to" in done.stderr
    folder = only_run(traces)
    assert journal.load(folder / "events.ndjson").torn_bytes == 0
    check_finished_tasks_are_whole(folder, done.stdout.split())
    assert ".new" not in os.listdir(folder)


SMALL_DISK = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=400k tmpfs "$0" && exec "$@"']


def can_mount(path: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*SMALL_DISK, path, "true"], capture_output=True).returncode == 0


def test_on_a_full_disk_the_reserve_holds_the_last_records(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("cannot mount a small disk here")
    body = f"""
import json, os
from dispatch_runner.records import journal, store
traces = {str(tmp_path / "traces")!r}
recorder = open_recorder(traces)
values = []
try:
    while True:
        values.append(finish_task(recorder, len(values), 2_000))
except RecordError as error:
    say(str(error))
finish_task(recorder, len(values), 2_000)
small = values[:2]
finish(recorder, small)
[entry] = store.list_dispatches(Path(traces))
loaded = journal.load(recorder.journal_file)
finished = [r["trace"] for r in loaded.records if r["event"] == "finished"]
traced = [json.loads((recorder.run_folder / name).read_bytes())["task_id"] for name in finished]
say(json.dumps([entry.status, loaded.torn_bytes, len(traced) - len(values)]))
"""
    done = subprocess.run(
        [*SMALL_DISK, tmp_path, *script(body)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    message, state = done.stdout.splitlines()
    assert "cannot go on writing in" in message
    assert "no space left on device" in message
    # Recorded: all before the error, the one that met the full disk, and one more after it.
    assert json.loads(state) == ["success", 0, 2]


@pytest.fixture
def read_only():
    """A folder that nobody may write to; its parents can be entered by everybody."""
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    folder = parent / "traces"
    folder.mkdir()
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(parent)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts(read_only):
    body = f"""
import os
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    open_recorder({str(read_only)!r})
except RecordError as error:
    sys.exit(str(error))
"""
    done = run(body)
    assert done.returncode == 1
    assert "cannot create run folder" in done.stderr
    assert "permission denied" in done.stderr
    assert os.listdir(read_only) == []


@pytest.mark.parametrize("place", ["file", "under a file", "dangling link"])
def test_a_trace_folder_that_cannot_be_one_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "deep")
    path = {"file": "file", "under a file": "file/traces", "dangling link": "link"}[place]
    with pytest.raises(RecordError, match="cannot open trace folder"):
        opened(tmp_path / path)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_trace_folder_that_goes_away_is_an_error_not_a_loss_of_another_file(tmp_path):
    traces = tmp_path / "traces"
    body = f"""
import shutil
recorder = open_recorder({str(traces)!r})
shutil.rmtree({str(traces)!r})
try:
    finish_task(recorder, 1, 10)
except RecordError as error:
    sys.exit(str(error))
"""
    done = run(body)
    assert done.returncode == 1
    assert "no such file or directory" in done.stderr
    assert not traces.exists()


@pytest.mark.parametrize("plant", ["link", "dangling link", "fifo", "hard link"])
def test_nothing_that_is_planted_in_the_run_folder_is_written_through(tmp_path, plant):
    target = tmp_path / "target"
    target.write_text("mine")
    body = f"""
import os
recorder = open_recorder({str(tmp_path / "traces")!r})
for name in ("t1.json", ".new", "result.json"):
    place = str(recorder.run_folder / name)
    if {plant!r} == "fifo":
        os.mkfifo(place)
    elif {plant!r} == "hard link":
        os.link({str(target)!r}, place)
    else:
        os.symlink({str(target)!r} + ("x" if {plant!r} == "dangling link" else ""), place)
finish(recorder, [finish_task(recorder, 1, 10)])
"""
    done = run(body)
    assert done.returncode == 0, done.stderr
    assert target.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["target", "traces"]
    folder = only_run(tmp_path / "traces")
    for name in ("t1.json", "result.json"):
        assert (folder / name).is_file()
        assert not (folder / name).is_symlink()


def test_few_descriptors_are_enough_for_many_tasks(tmp_path):
    body = f"""
import resource
import anyio
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
async def main():
    recorder = open_recorder({str(tmp_path / "traces")!r}, "power")
    values = [finish_task(recorder, number, 10) for number in range(1_000)]
    await recorder.flush()
    finish(recorder, values)
anyio.run(main)
"""
    done = run(body)
    assert done.returncode == 0, done.stderr
    assert store.list_dispatches(tmp_path / "traces")[0].status == "success"
