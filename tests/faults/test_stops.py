"""Signals that nobody handles, a dispatcher that is stopped, and kills at any moment."""

import signal
import time
from pathlib import Path

import pytest

from support.faults import assert_sound
from support.faults.sound import kill_with_guardian, left_by

SLOW = 'touch "$HOME/runs-$DISPATCH_RUNNER_TASK_ID"; until [ -e "$HOME/go" ]; do sleep 0.01; done'


@pytest.fixture
def slow(bench):
    """A request with two programs that run until told, which `waiting(process)` waits for."""
    script = bench.cli.write("slow.sh", f"{SLOW}\nprintf done\n")
    bench.define(f'[agents.slow]\ncommand = ["/bin/sh", "{script}"]\noutput = "text"\n')
    cli = bench.cli
    return [
        cli.echo("first"),
        cli.task("one", "slow", dependencies=["first"], modifies_files=[str(cli.folder / "x")]),
        cli.task("two", "slow", dependencies=["first"]),
        cli.echo("last", ["one", "two"], input_data={"text": "${tasks.one.output.text}"}),
    ]


def waiting(bench, process):
    home = bench.cli.home
    bench.cli.until(
        lambda: (home / "runs-one").exists() and (home / "runs-two").exists(), "the programs"
    )
    return process


def go(bench):
    (bench.cli.home / "go").touch()


def rarely(*names):
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", ["SIGQUIT", *rarely("SIGABRT", "SIGSEGV", "SIGUSR1", "SIGALRM")])
def test_a_signal_that_nobody_handles_ends_it_and_nothing_is_left(bench, slow, name):
    process = waiting(bench, bench.start(slow))
    process.send_signal(signal.Signals[name])
    faulty = bench.end(process, slow)
    assert faulty.ran.code == -signal.Signals[name]
    bench.cli.until(lambda: not left_by(bench, process.pid), "the end of its programs", 10)
    go(bench)  # those of the process that resumes it
    assert_sound(bench, faulty)


def test_programs_that_outlive_it_and_its_guardian_end_before_they_are_run_again(bench, slow):
    process = waiting(bench, bench.start(slow))
    kill_with_guardian(process)
    process.communicate()
    survivors = bench.cli.survivors()
    assert survivors, "otherwise this shows nothing"
    resumed = bench.cli.start("resume", "-q")
    bench.cli.until(lambda: not set(survivors) & set(bench.cli.survivors()), "their end")
    go(bench)
    faulty = bench.end(resumed, slow)
    assert faulty.ran.document["status"] == "success"
    assert_sound(bench, faulty)


@pytest.mark.parametrize("name", ["SIGTSTP", *rarely("SIGTTIN", "SIGTTOU", "SIGSTOP")])
def test_stopped_and_continued_it_goes_on(bench, slow, name):
    # a group of its own in our session: those that nobody could continue cannot be stopped
    process = waiting(bench, bench.start(slow, process_group=0))
    process.send_signal(signal.Signals[name])
    bench.cli.until(lambda: state(process.pid) == "T", "the stop")
    go(bench)
    process.send_signal(signal.SIGCONT)
    faulty = bench.end(process, slow)
    assert (faulty.ran.code, faulty.ran.document["status"]) == (0, "success")
    assert_sound(bench, faulty)


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("ends", [True, False], ids=["ended", "running"])
def test_stopped_for_longer_than_a_timeout_it_tells_what_is_so(bench, slow, ends):
    tasks = [task | ({"timeout_seconds": 0.3} if task["agent"] == "slow" else {}) for task in slow]
    process = waiting(bench, bench.start(tasks))
    process.send_signal(signal.SIGSTOP)
    if ends:
        go(bench)
    time.sleep(0.4)  # not to wait for something: the passing of time is the fault
    process.send_signal(signal.SIGCONT)
    faulty = bench.end(process, tasks)
    outcomes = {faulty.ran.statuses["one"], faulty.ran.statuses["two"]}
    assert outcomes <= ({"success", "timeout"} if ends else {"timeout"})
    assert_sound(bench, faulty, resumes=False)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stride", [3])
def test_killed_at_random_moments_again_and_again_it_comes_to_its_end(bench, chance, stride):
    """Every process of a dispatch is killed after a while of its own, until one is left alone."""
    tasks = [bench.cli.task(f"t{n}", "program") for n in range(40)]
    tasks += [bench.cli.echo(f"e{n}", [f"t{n}"]) for n in range(40)]
    for round_ in range(12):
        bench.clear()
        process = bench.start(tasks, None, "--progress", "json")
        for _ in range(chance.randrange(4)):
            time.sleep(chance.uniform(0.05, 0.3))  # a moment by chance, not for something
            process.kill()
            faulty = bench.end(process, tasks)
            bench.cli.until(lambda: not bench.cli.survivors(), "the end of the programs")
            if not bench.traces.is_dir() or not bench.folders() or not faulty.killed:
                break
            process = bench.cli.start("resume", bench.folders()[-1].name, "--progress", "json")
        faulty = bench.end(process, tasks)
        assert_sound(bench, faulty)
        assert max(bench.runs().values()) <= 4, round_
