"""A dispatcher that is killed, interrupted or refused at any of its system calls."""

import json
import signal

import pytest

from dispatch_runner.records import journal
from support.command import as_bytes
from support.faults import Fault, Plan, assert_sound
from support.faults.plan import FOR_EVER
from support.faults.sound import left_by

SAMPLE = 3
"""So many places are tried when not all are."""


@pytest.fixture
def places(bench, tmp_path):
    """How many system calls of its own a dispatch of the usual tasks makes."""
    plan = Plan(tmp_path / "calls")
    assert_sound(bench, bench.run(bench.usual(), plan))
    bench.injected = bench.survived = 0
    return len(plan.calls())


def strike(bench, tmp_path, fault):
    """Runs the usual tasks with the fault, checks, and says whether it came about."""
    bench.clear()
    plan = Plan(tmp_path / f"calls-{fault.do}-{fault.value}-{fault.nth}-{fault.after}", (fault,))
    faulty = bench.run(bench.usual(), plan)
    assert_sound(bench, faulty)
    return faulty if plan.struck() else None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_some_system_calls(bench, tmp_path, places, chance, after):
    for nth in chance.sample(range(1, places), SAMPLE):
        strike(bench, tmp_path, Fault("signal", "SIGKILL", nth, after=after))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("after", "stride"), [(False, 1), (True, 5)], ids=["before", "after"])
def test_killed_at_every_system_call(bench, tmp_path, after, stride):
    """After one is nearly before the next: but for what other threads do, a fifth is enough."""
    nth = 1
    while strike(bench, tmp_path, Fault("signal", "SIGKILL", nth, after=after)):
        nth += stride
    assert nth > 40


WRITING = ("write", "pwrite", "rename", "mkdir", "makedirs", "open", "posix_fallocate", "link")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_some_calls_that_write_are_refused(bench, tmp_path, places, chance, error):
    for nth in chance.sample(range(1, places // 2), SAMPLE):
        strike(bench, tmp_path, Fault("error", error, nth, calls=WRITING))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("error", "stride"), [("ENOSPC", 1), ("EIO", 1), ("EACCES", 5), ("EMFILE", 5), ("EINTR", 5)]
)
def test_every_call_that_writes_is_refused_once(bench, tmp_path, chance, error, stride):
    nth = chance.randint(1, stride)
    while strike(bench, tmp_path, Fault("error", error, nth, calls=WRITING)):
        nth += stride
    assert nth > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_from_some_call_on_everything_that_writes_is_refused(bench, tmp_path, chance, error):
    nth = chance.randint(1, 2)
    while strike(bench, tmp_path, Fault("error", error, nth, WRITING, times=FOR_EVER)):
        nth += 2
    assert nth > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_write_is_cut_short_once(bench, tmp_path):
    nth = 1
    while faulty := strike(bench, tmp_path, Fault("short", nth=nth, calls=("write", "pwrite"))):
        assert faulty.ran.code in {0, 3}
        nth += 1
    assert nth > 10


SYNCS = ("fsync", "fdatasync")


def refuse_sync(bench, tmp_path, nth, error="EIO"):
    """What the kernel could not write it may have dropped: a second sync would prove nothing."""
    faulty = strike(bench, tmp_path, Fault("error", error, nth, calls=SYNCS))
    assert faulty is None or faulty.ran.code == 3
    return faulty


def test_a_sync_that_fails_is_never_taken_for_done(bench, tmp_path, chance):
    for nth in chance.sample(range(1, 20), SAMPLE - 1):
        assert refuse_sync(bench, tmp_path, nth)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_none_of_the_syncs_that_fail_is_ever_taken_for_done(bench, tmp_path, error):
    nth = 1
    while refuse_sync(bench, tmp_path, nth, error):
        nth += 1
    assert nth > 5


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_interrupted_at_some_system_calls(bench, tmp_path, places, chance, name):
    for nth in chance.sample(range(1, places), SAMPLE - 1):
        interrupt(bench, tmp_path, name, nth)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "stride"), [("SIGTERM", 1), ("SIGINT", 4), ("SIGHUP", 4)])
def test_interrupted_at_every_system_call(bench, tmp_path, chance, name, stride):
    """Also while records are written, and while it ends. For the others, every fourth will do."""
    nth = chance.randint(1, stride)
    while interrupt(bench, tmp_path, name, nth):
        nth += stride
    assert nth > 40


def interrupt(bench, tmp_path, name, nth):
    """Like `strike`; one whole document, and an exit code that is that of the signal unless all was done."""
    faulty = strike(bench, tmp_path, Fault("signal", name, nth))
    if faulty is not None:
        ran = faulty.ran
        whole = {0, 3} if ran.document["interrupted"] is None else {128 + signal.Signals[name]}
        assert ran.code in whole, ran
    return faulty


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_interrupted_twice_at_some_system_calls(bench, tmp_path, places, chance):
    for nth in chance.sample(range(1, places), 6 * SAMPLE):
        bench.clear()
        second = nth + chance.randrange(1, 10)
        plan = Plan(
            tmp_path / f"calls-{nth}",
            (Fault("signal", "SIGINT", nth), Fault("signal", "SIGTERM", second)),
        )
        assert_sound(bench, bench.run(bench.usual(), plan))


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_interrupted_while_a_refusal_is_written(bench, tmp_path, nth):
    """It is longer than a pipe takes at once, and is finished."""
    tasks = [{"task_id": f"t{n}", "agent": "nobody", "input_data": {}} for n in range(100)]
    faulty = bench.run(
        tasks, Plan(tmp_path / "calls", (Fault("signal", "SIGTERM", nth, ("write",)),))
    )
    assert_sound(bench, faulty, resumes=False)
    assert (faulty.ran.code, len(faulty.ran.document["errors"])) == (2, 100)


def starts(bench, tmp_path, nth):
    """Kills `start`, or the process in the background, at its n-th system call. An id is printed only
    when the dispatch is on record; then it can be brought to its end."""
    bench.clear()
    plan = Plan(tmp_path / f"calls-{nth}", (Fault("signal", "SIGKILL", nth),))
    environ = {**bench.cli.environ, **plan.environ()}
    process = bench.cli.start("start", "-q", stdin=-1, env=environ)
    out, _ = process.communicate(as_bytes(bench.usual()), timeout=30)
    told = json.loads(out) if out else {}
    bench.cli.until(lambda: not left_by(bench, process.pid), "the end of the background")
    names = [folder.name for folder in bench.folders()] if bench.traces.is_dir() else []
    bench.injected += 1
    assert not told or told["status"] == "rejected" or told["dispatch"] in names
    for name in names:
        if journal.load(bench.traces / name / "events.ndjson").records:
            ran = bench.resume(name)
            assert (ran.code, ran.document["status"]) == (0, "success")
    assert set(bench.runs().values()) <= {1, 2}
    bench.survived += 1


def test_killed_while_it_goes_to_the_background(bench, tmp_path, chance):
    for nth in chance.sample(range(1, 80), SAMPLE):
        starts(bench, tmp_path, nth)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_every_call_while_it_goes_to_the_background(bench, tmp_path):
    for nth in range(1, 120, 2):
        starts(bench, tmp_path, nth)
