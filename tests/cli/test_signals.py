"""SIGINT, SIGTERM and SIGHUP: one whole document, every task accounted for, nothing left running."""

import json
import os
import signal
from pathlib import Path

import pytest

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
SIGNALS = pytest.mark.parametrize("number", list(CODES), ids=lambda each: each.name)

STUBBORN = """import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
subprocess.Popen(["sleep", "1000"], start_new_session=True)
open(os.path.join(os.environ["HOME"], os.environ["DISPATCH_RUNNER_TASK_ID"]), "w").close()
while True:
    time.sleep(1000)
"""


@pytest.fixture
def stubborn(cli):
    """An agent that traps every signal. It says that it runs by a file in HOME."""
    script = cli.write("stubborn.py", STUBBORN)

    def define(grace):
        cli.settings(
            f'[agents.s]\ncommand = ["python3", "-S", "{script}"]\ngrace_seconds = {grace}\n'
        )
        return cli

    return define


def begin(cli, *arguments, **options):
    """done -> s1, s2 (stubborn) -> after; returns once s1 and s2 run."""
    tasks = [
        cli.echo("done"),
        cli.task("s1", "s", dependencies=["done"]),
        cli.task("s2", "s", dependencies=["done"]),
        cli.echo("after", ["s1"]),
    ]
    process = cli.start(*arguments, stdin=-1, **options)
    process.stdin.write(json.dumps({"tasks": tasks}).encode())
    process.stdin.close()
    process.stdin = None
    cli.until(lambda: {"s1", "s2"} <= {file.name for file in cli.home.iterdir()}, "the programs")
    return process


def check_interrupted(cli, ran, name):
    assert ran.document["interrupted"] == name
    assert ran.document["status"] == "partial"
    assert ran.statuses == {
        "done": "success",
        "s1": "cancelled",
        "s2": "cancelled",
        "after": "cancelled",
    }
    assert cli.trace_of(ran, "done")["status"] == "success"
    assert cli.trace_of(ran, "s1")["status"] == "cancelled"
    assert name in ran.tasks["s1"]["error"]["message"]
    index = cli.index_of(ran)
    assert (index["status"], index["interrupted"]) == ("partial", name)


@SIGNALS
def test_while_programs_run(stubborn, number):
    cli = stubborn(0.1)
    process = begin(cli)
    process.send_signal(number)
    ran = cli.finish(process)
    assert ran.code == CODES[number]
    check_interrupted(cli, ran, number.name)


def test_exit_zero_does_not_hide_an_interrupt(stubborn):
    cli = stubborn(0.1)
    process = begin(cli, "--exit-zero", "--stdout", "summary")
    process.send_signal(signal.SIGTERM)
    ran = cli.finish(process)
    assert (ran.code, ran.document["interrupted"]) == (143, "SIGTERM")


def test_a_second_signal_skips_the_grace_time(stubborn):
    cli = stubborn(300)
    process = begin(cli, "--progress", "json")
    process.send_signal(signal.SIGINT)
    stopping(cli, process)
    process.send_signal(signal.SIGINT)
    ran = cli.finish(process, timeout=10)
    assert ran.code == 130
    check_interrupted(cli, ran, "SIGINT")


def stopping(cli, process):
    """Waits until the event is told: signals that come at once may be one."""
    while b"dispatch_stopping" not in process.stderr.readline():
        assert process.poll() is None


@pytest.mark.slow
def test_another_signal_after_the_first_keeps_the_first_cause(stubborn):
    cli = stubborn(300)
    process = begin(cli, "--progress", "json")
    process.send_signal(signal.SIGTERM)
    stopping(cli, process)
    process.send_signal(signal.SIGINT)
    ran = cli.finish(process, timeout=10)
    assert (ran.code, ran.document["interrupted"]) == (143, "SIGTERM")


def handled(process):
    """Whether the program has taken SIGINT, SIGTERM and SIGHUP over."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith("SigCgt"))
    return all(int(caught, 16) >> number - 1 & 1 for number in CODES)


@SIGNALS
def test_while_stdin_is_read(cli, number):
    process = cli.start(stdin=-1)
    cli.until(lambda: handled(process), "the handlers")
    process.send_signal(number)
    cli.until(lambda: process.poll() is not None, "the end, although stdin is still open")
    ran = cli.finish(process)
    assert ran.code == CODES[number]
    assert (ran.document["status"], ran.document["interrupted"]) == ("rejected", number.name)
    assert ran.codes == ["interrupted"]
    assert not (cli.folder / "traces").exists()


def test_while_half_a_document_was_read(cli):
    process = cli.start(stdin=-1)
    process.stdin.write(b'{"tasks": [')
    process.stdin.flush()
    cli.until(lambda: handled(process), "the handlers")
    process.send_signal(signal.SIGINT)
    cli.until(lambda: process.poll() is not None, "the end")
    assert cli.finish(process).code == 130


def test_during_the_back_off_before_another_attempt(cli):
    script = cli.write("again.py", "raise SystemExit(75)")
    cli.settings(f'[agents.x]\ncommand = ["python3", "-S", "{script}"]\n')
    process = cli.start("--progress", "json", stdin=-1)
    process.stdin.write(json.dumps({"tasks": [cli.task("a", "x", retries=10)]}).encode())
    process.stdin.close()
    process.stdin = None
    while b"attempt_failed" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    ran = cli.finish(process)
    assert (ran.code, ran.statuses) == (143, {"a": "cancelled"})


def test_an_ignored_hangup_stays_ignored(stubborn):
    cli = stubborn(0.1)
    process = begin(cli, program=("nohup", str(cli.program)))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    ran = cli.finish(process)
    assert (ran.code, ran.document["interrupted"]) == (143, "SIGTERM")


@pytest.mark.slow
def test_a_whole_process_group_gets_ctrl_c(stubborn):
    """As from a terminal: the programs are in sessions of their own and hear of it only from us."""
    cli = stubborn(0.1)
    process = begin(cli, start_new_session=True)
    os.killpg(process.pid, signal.SIGINT)
    ran = cli.finish(process)
    assert ran.code == 130
    check_interrupted(cli, ran, "SIGINT")


@pytest.mark.slow
@pytest.mark.parametrize("delay", [n / 100 for n in range(0, 30, 2)])
def test_at_any_moment_there_is_one_document_or_none_was_promised_yet(cli, delay):
    """Before the handlers are in place Python ends by the signal itself; from then on we answer."""
    tasks = [cli.echo(f"t{n}") for n in range(2_000)]
    cli.write("tasks.json", json.dumps({"tasks": tasks}))
    process = cli.start("run", "-q", "tasks.json")
    try:
        process.wait(delay)
    except Exception:  # noqa: BLE001 - it still runs, which is what is wanted
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode in {0, 143, -signal.SIGTERM}
    if process.returncode >= 0:
        assert json.loads(out)
        assert b"Traceback" not in err
