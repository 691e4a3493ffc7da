"""`start`, and `status`, `wait`, `cancel`, `result` from other processes: bytes out, exit codes, no lies."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest


class Gate:
    """An agent `gate` that runs until it is let go: it reads a FIFO."""

    def __init__(self, cli):
        self.cli = cli
        self.fifo = cli.folder / "gate"
        os.mkfifo(self.fifo)
        cli.settings(
            f'[agents.gate]\ncommand = ["cat", "{self.fifo}"]\noutput = "text"\nstdin = "none"\n'
            '[agents.bad]\ncommand = ["false"]\nretries = 0\n'
        )
        self.tasks = [
            cli.echo("done", input_data={"n": 1}),
            cli.task("bad", "bad"),
            cli.echo("after bad", ["bad"]),
            cli.task("gate", "gate", dependencies=["done"]),
            cli.echo("last", ["gate"]),
        ]

    def start(self, *arguments, tasks=None):
        """Starts a dispatch and returns what `start` said, when its program runs."""
        ran = self.cli("start", *arguments, stdin=tasks or self.tasks, background=True)
        assert ran.code == 0, ran
        self.cli.valid(ran.document, "started")
        self.cli.until(lambda: self.is_reached(ran.document["dispatch"]), "the program")
        return ran.document

    def state(self, *arguments):
        ran = self.cli("status", *arguments, background=True)
        assert ran.code == 0
        self.cli.valid(ran.document, "status")
        return ran.document

    def is_reached(self, name):
        """Whether all that can be done before the program ends is done."""
        state = self.state(name)
        return state["running"] and state["tasks"]["blocked"]

    def let_go(self):
        """Returns when the program has what it waited for."""
        self.fifo.write_text("through")


@pytest.fixture
def gate(cli):
    return Gate(cli)


def ended(cli, *arguments, **options):
    """What `wait` says. The process goes a moment after the dispatch has ended."""
    ran = cli("wait", *arguments, background=True, **options)
    cli.until(lambda: not cli.survivors(), "the end of its process")
    return ran


def whole(document):
    return Path(document["result_file"]).read_bytes()


def test_start_returns_at_once_and_the_others_follow_the_dispatch_to_its_end(gate):
    cli = gate.cli
    started = gate.start()  # its pipes were closed, else this had waited for the gate
    name = started["dispatch"]
    assert os.getsid(started["pid"]) == started["pid"]
    state = gate.state(name)
    assert (state["status"], state["pid"]) == ("running", started["pid"])
    assert state["tasks"] == {
        "total": 5, "pending": 1, "running": 1, "lost": 0, "success": 1, "error": 1, "timeout": 0,
        "blocked": 1, "cancelled": 0,
    }  # fmt: skip
    assert [each["task_id"] for each in state["running"]] == ["gate"]
    assert [each["task_id"] for each in state["unsuccessful"]] == ["bad", "after bad"]
    assert state["unsuccessful"][0]["error"]["type"] == "crashed"
    assert state["result_file"] is None

    late = cli("wait", name, "--timeout", "0.05", background=True)
    assert (late.code, late.document["status"]) == (124, "running")

    gate.let_go()
    ran = ended(cli, name)
    assert (ran.code, ran.document["status"]) == (1, "partial")
    cli.valid(ran.document, "status")
    assert ran.document["pid"] is None
    assert cli("wait", name, "--exit-zero").code == 0
    result = cli("result", name)
    assert (result.code, result.stdout) == (1, whole(started))
    assert result.tasks["gate"]["output"]["text"] == "through"
    assert "1 failed" in Path(started["stderr_file"]).read_text()


def test_nothing_of_the_caller_is_kept_open(gate):
    reader, writer = os.pipe()
    process = gate.cli.start("start", stdin=-1, pass_fds=[writer])
    os.close(writer)
    request = json.dumps({"tasks": gate.tasks}).encode()
    started = gate.cli.finish(process, request, background=True).document
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b""  # the end comes although the dispatch goes on
    assert gate.state(started["dispatch"])["status"] == "running"
    gate.let_go()
    assert ended(gate.cli).code == 1


def test_what_is_wrong_is_said_by_start_itself(cli):
    ran = cli("start", stdin=b"{}")
    assert (ran.code, ran.codes) == (2, ["missing_field"])
    ran = cli("start", "--max-workers", "none")
    assert (ran.code, ran.codes) == (2, ["usage"])


def test_a_start_whose_stdout_is_gone_says_on_stderr_what_runs(cli):
    reader, writer = os.pipe()
    os.close(reader)
    process = cli.start("start", stdin=-1, stdout=writer)
    os.close(writer)
    request = json.dumps({"tasks": [cli.echo()]}).encode()
    ran = cli.finish(process, request, text=True, background=True)
    (index,) = (cli.folder / "traces").glob("*.json")
    assert (ran.code, f"'{index.stem}' runs all the same" in ran.stderr) == (3, True)
    assert ended(cli).code == 0


def test_a_start_that_fails_says_so_with_one_document(cli):
    cli.write("file", "")
    ran = cli("start", "--trace-dir", "file", stdin=[cli.echo()])
    assert (ran.code, ran.codes) == (3, ["record_error"])


def test_a_dispatch_is_found_from_any_folder(cli):
    ran = cli("start", "--trace-dir", "deep/traces", stdin=[cli.echo()], writes=("deep",),
              background=True)  # fmt: skip
    elsewhere = cli.folder.parent / "elsewhere"
    elsewhere.mkdir()
    found = ended(cli, ran.document["dispatch"][-8:], cwd=elsewhere, writes=("deep",))
    assert (found.code, found.document["dispatch"]) == (0, ran.document["dispatch"])


def test_without_a_state_folder_the_hints_say_where_the_records_are(cli):
    del cli.environ["HOME"]
    ran = cli("start", "--trace-dir", "here", stdin=[cli.echo()], writes=("here",), background=True)
    _, _, *wanted = ran.document["next"]["wait"].split()
    assert wanted[-2:] == ["--trace-dir", str(cli.folder / "here")]
    assert ended(cli, *wanted, writes=("here",)).code == 0


def test_the_newest_of_this_folder_is_meant_when_none_is_named(cli):
    first = cli("run", stdin=[cli.echo()]).document
    cli("run", "--trace-dir", "other", stdin=[cli.echo()], writes=("other",))
    assert cli("result").document == first


@pytest.mark.parametrize("command", ["status", "wait", "cancel", "result"])
def test_a_dispatch_that_does_not_exist_is_a_usage_error(cli, command):
    for wanted in ([], ["nothing"], ["/nowhere/at-all.json"]):
        ran = cli(command, *wanted)
        assert (ran.code, ran.codes) == (2, ["usage"])


def test_cancel_ends_a_dispatch_and_asking_again_changes_nothing(gate):
    cli, started = gate.cli, gate.start()
    ran = cli("cancel", started["dispatch"], background=True)
    assert (ran.code, ran.document["interrupted"]) == (0, "SIGTERM")
    assert ran.document["tasks"]["cancelled"] == 2
    again = cli("cancel", started["dispatch"], background=True)
    assert again.code == 0
    assert "had ended before" in again.document["hint"]
    assert ended(cli).code == cli("result").code == 143


def test_cancel_works_on_a_run_in_the_foreground(gate):
    cli = gate.cli
    process = cli.start(stdin=-1)
    process.stdin.write(json.dumps({"tasks": gate.tasks}).encode())
    process.stdin.close()
    process.stdin = None
    cli.until(lambda: list((cli.folder / "traces").glob("*.json")), "the index")
    cli.until(lambda: gate.state()["running"], "the program")
    assert cli("cancel", background=True).document["status"] == "partial"
    ran = cli.finish(process)
    assert (ran.code, ran.document["interrupted"]) == (143, "SIGTERM")


@pytest.mark.slow
def test_what_a_task_starts_ends_with_the_task(gate):
    cli = gate.cli
    request = cli.write("inner.json", json.dumps({"tasks": [cli.task("inner", "gate")]}))
    config = cli.write("inner.toml", Path(cli.environ["DISPATCH_RUNNER_CONFIG"]).read_bytes())
    start = [str(cli.program), "start", "--config", str(config), "--trace-dir", "inner"]
    command = json.dumps([*start, str(request)])
    cli.settings(f'[agents.starter]\ncommand = {command}\nstdin = "none"\n')
    ran = cli(stdin=[cli.task("outer", "starter")], writes=("traces", "inner"))
    assert ran.tasks["outer"]["output"]["status"] == "running"  # and nothing is left, checks `cli`


STUBBORN = """import signal, sys, os
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
open(os.environ["HOME"] + "/ready", "w").close()
while True:
    signal.pause()
"""


def test_cancel_now_skips_the_grace_times_that_cancel_leaves(cli):
    script = cli.write("stubborn.py", STUBBORN)
    cli.settings(f'[agents.s]\ncommand = ["python3", "-S", "{script}"]\ngrace_seconds = 300\n')
    cli("start", stdin=[cli.task("a", "s")], background=True)
    cli.until((cli.home / "ready").exists, "the program")
    patient = cli("cancel", "--timeout", "0.1", background=True)
    assert (patient.code, patient.document["stopping"]) == (124, True)
    again = cli("cancel", "--timeout", "0.1", background=True)  # no second signal by asking again
    assert (again.code, again.document["status"]) == (124, "running")
    assert cli("cancel", "--now", background=True).document["status"] == "failure"
    assert ended(cli).code == 143


def test_wait_notices_that_the_dispatcher_was_killed(gate):
    cli, started = gate.cli, gate.start()
    waiting = cli.start("wait", started["dispatch"])
    os.kill(started["pid"], signal.SIGKILL)
    ran = cli.finish(waiting, background=True)
    assert (ran.code, ran.document["status"]) == (3, "crashed")
    assert (ran.document["tasks"]["lost"], ran.document["tasks"]["pending"]) == (1, 1)
    cli.valid(ran.document, "status")
    result = cli("result", background=True)
    assert result.code == 3
    cli.valid(result.document, "partial-result")
    assert result.statuses == {
        "done": "success", "bad": "error", "after bad": "blocked", "gate": "lost", "last": "pending",
    }  # fmt: skip
    with contextlib.suppress(OSError):
        os.close(os.open(gate.fifo, os.O_WRONLY | os.O_NONBLOCK))


def test_result_of_a_running_dispatch_has_the_whole_results_of_finished_tasks(gate):
    cli = gate.cli
    big = cli.echo("big", input_data={"text": "x" * 300_000})
    gate.start(tasks=[big, *gate.tasks])
    ran = cli("result", background=True)
    assert (ran.code, ran.document["status"]) == (124, "running")
    cli.valid(ran.document, "partial-result")
    assert ran.tasks["big"]["output"] == {"text": "x" * 300_000}
    assert ran.tasks["gate"] == {"task_id": "gate", "agent": "gate", "status": "running"}
    assert len(cli("result", "--stdout", "summary", background=True).stdout) < 8_000
    gate.let_go()
    assert ended(cli).code == 1
    final = cli("result").tasks
    assert final["big"] == ran.tasks["big"]
    assert final["bad"] == ran.tasks["bad"]


def test_a_signal_ends_the_waiting_and_not_the_dispatch(gate):
    cli, started = gate.cli, gate.start()
    waiting = cli.start("wait")
    cli.until(lambda: _sleeps(waiting.pid), "the wait")
    waiting.send_signal(signal.SIGINT)
    ran = cli.finish(waiting, background=True)
    assert (ran.code, ran.document["status"]) == (130, "running")
    gate.let_go()
    assert ended(cli, started["dispatch"]).code == 1


def _sleeps(pid):
    """Whether the process is in its loop: it has looked at the journal's lock and sleeps."""
    return b"sleep" in Path(f"/proc/{pid}/wchan").read_bytes()


def test_a_summary_is_bounded_and_says_what_it_leaves_out(cli):
    bad = {"x": "${tasks.a.output.nothing}" + "y" * 500}
    tasks = [cli.echo("a", input_data={"n": 1})]
    tasks += [cli.echo(f"b{n}", ["a"], input_data=bad) for n in range(300)]
    tasks += [cli.echo(f"c{n}", [f"b{n}"]) for n in range(300)]
    ran = cli("--stdout", "summary", "--durability", "process", "-q", stdin=tasks)
    assert (ran.code, len(ran.stdout) <= 8_000) == (1, True)
    cli.valid(ran.document, "summary")
    assert next(iter(ran.document)) == "result_file"
    shown = ran.document["unsuccessful"]
    assert len(shown) > 5
    assert {each["status"] for each in shown} == {"error"}
    assert len(shown) + ran.document["unsuccessful_omitted"] == 600
    assert cli("result", "--stdout", "summary").document == ran.document
    state = cli("status")
    assert len(state.stdout) <= 8_000
    assert len(state.document["unsuccessful"]) + state.document["unsuccessful_omitted"] == 600
    assert cli("result", "--stdout", "none", text=True).stdout == b""
