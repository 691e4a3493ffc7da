"""`resume` as a caller meets it: documents, exit codes, what is refused, and who holds what."""

import json
import signal
from pathlib import Path

import pytest
from typer.main import get_command

from dispatch_runner.cli.app import app

SECRET = "AKIA" + "IOSFODNN7EXAMPLE"


class Gate:
    """An agent `gate` that runs until a file is there, and counts its runs."""

    def __init__(self, cli):
        self.cli = cli
        script = "echo run >> ran; until [ -e go ]; do sleep 0.01; done; echo through"
        cli.settings(
            f'[agents.gate]\ncommand = ["sh", "-c", "{script}"]\noutput = "text"\nstdin = "none"\n'
            '[agents.bad]\ncommand = ["test", "-e", "go"]\noutput = "exit"\nretries = 0\n'
        )
        self.tasks = [
            cli.echo("done", input_data={"n": 1}),
            cli.task("gate", "gate", dependencies=["done"]),
            cli.echo("last", ["gate"], input_data={"text": "${tasks.gate.output.text}"}),
        ]

    def run(self, *arguments):
        """A dispatch in the foreground, when its program runs."""
        process = self.cli.start("-q", *arguments, stdin=-1)
        process.stdin.write(json.dumps({"tasks": self.tasks}).encode())
        process.stdin.close()
        process.stdin = None
        self.cli.until(lambda: self.runs() == 1, "the program")
        return process

    def runs(self):
        ran = self.cli.folder / "ran"
        return ran.read_text().count("run") if ran.exists() else 0

    def open(self):
        (self.cli.folder / "go").touch()

    def resume(self, *arguments, **options):
        return self.cli("resume", "-q", *arguments, writes=("traces", "ran"), **options)


@pytest.fixture
def gate(cli):
    return Gate(cli)


def killed(gate, *arguments):
    process = gate.run(*arguments)
    process.kill()
    process.communicate()
    gate.cli.until(lambda: not gate.cli.survivors(), "the end of its programs")
    (index,) = (gate.cli.folder / "traces").glob("*.json")
    return index.stem


def test_a_killed_dispatch_goes_on_and_gives_the_whole_result(gate):
    cli, name = gate.cli, killed(gate)
    listed = cli("traces", "list", text=True)
    assert "crashed" in listed.text
    assert f"dispatch-runner resume {name}" in listed.stderr
    (entry,) = cli("traces", "list", "--json").document["dispatches"]
    assert entry["resumable"] is True
    assert f"dispatch-runner resume {name}" in cli("status").document["hint"]

    gate.open()
    ran = gate.resume()
    assert (ran.code, set(ran.statuses.values())) == (0, {"success"})
    assert ran.tasks["last"]["output"] == {"text": "through\n"}
    assert gate.runs() == 2
    assert [t["attempts"] for t in ran.document["results"]] == [1, 2, 1]
    cli.valid(cli.trace_of(ran, "gate"), "trace")
    cli.valid(cli.index_of(ran), "index")
    assert Path(ran.document["trace_index"]).stem == name
    assert ran.stdout == Path(ran.document["result_file"]).read_bytes()
    assert cli("status").document["status"] == "success"

    again = gate.resume(name)
    assert (again.code, again.stdout) == (0, ran.stdout)
    assert gate.runs() == 2
    assert "nothing is left to run" in again.stderr
    nothing = gate.resume()
    assert (nothing.code, nothing.codes) == (2, ["usage"])
    assert "no dispatch was killed or interrupted" in nothing.errors[0]["message"]


def test_an_interrupted_dispatch_says_how_it_goes_on_and_does(gate):
    process = gate.run()
    process.send_signal(signal.SIGINT)
    interrupted = gate.cli.finish(process)
    assert interrupted.code == 130
    (hint,) = interrupted.document["warnings"]
    assert hint.startswith("interrupted by SIGINT; 'dispatch-runner resume dispatch-")
    gate.open()
    ran = gate.resume()
    assert (ran.code, set(ran.statuses.values())) == (0, {"success"})
    assert ran.document["warnings"] == []
    first, second = gate.cli.trace_of(ran, "gate")["attempts"]
    assert (first["error"]["type"], second["error"]) == ("cancelled", None)


@pytest.mark.slow
def test_a_second_process_is_refused_and_told_who_has_it(gate):
    killed(gate)
    process = gate.cli.start("resume", "-q")
    gate.cli.until(lambda: gate.runs() == 2, "the program")
    (index,) = (gate.cli.folder / "traces").glob("*.json")
    ran = gate.resume(index.stem, background=True)
    assert (ran.code, ran.codes) == (2, ["dispatch_busy"])
    assert f"process {process.pid} runs it" in ran.errors[0]["message"]
    gate.open()
    assert gate.cli.finish(process).code == 0
    assert gate.runs() == 2


def test_a_second_process_is_refused_while_the_first_one_runs(gate):
    process = gate.run()
    (index,) = (gate.cli.folder / "traces").glob("*.json")
    ran = gate.resume(index.stem, background=True)
    assert (ran.code, ran.codes) == (2, ["dispatch_busy"])
    assert f"process {process.pid} runs it" in ran.errors[0]["message"]
    assert index.stem in gate.resume(background=True).errors[0]["hint"]
    gate.open()
    assert gate.cli.finish(process).code == 0


@pytest.mark.slow
def test_it_can_be_killed_again(gate):
    killed(gate)
    process = gate.cli.start("resume", "-q")
    gate.cli.until(lambda: gate.runs() == 2, "the program")
    process.kill()
    process.communicate()
    gate.cli.until(lambda: not gate.cli.survivors(), "the end of its programs")
    gate.open()
    ran = gate.resume()
    assert (ran.code, ran.tasks["gate"]["attempts"], gate.runs()) == (0, 3, 3)


@pytest.mark.slow
def test_failures_are_run_again_only_when_asked(gate):
    cli = gate.cli
    first = cli("-q", stdin=[cli.task("bad", "bad"), cli.echo("after", ["bad"])])
    assert first.code == 1
    name = Path(first.document["trace_index"]).stem
    gate.open()
    ran = gate.resume(name)
    assert (ran.code, ran.stdout) == (1, first.stdout)
    ran = gate.resume(name, "--retry-failed")
    assert (ran.code, ran.statuses) == (0, {"bad": "success", "after": "success"})


@pytest.mark.slow
def test_another_request_is_refused_unless_it_is_accepted(gate):
    cli, name = gate.cli, killed(gate)
    gate.open()
    tasks = [*gate.tasks[:2], cli.echo("more")]
    changed = {"tasks": tasks}
    ran = gate.resume(name, "-", stdin=changed)
    assert (ran.code, ran.codes) == (2, ["request_changed"] * 2)
    assert {e["message"] for e in ran.errors} == {
        "task 'last' was removed",
        "task 'more' was added",
    }
    assert "--accept-changes" in ran.errors[0]["hint"]
    assert cli("traces", "list", text=True).text.count("crashed") == 1
    file = cli.write("changed.json", json.dumps(changed))
    ran = gate.resume(name, str(file), "--accept-changes")
    assert (ran.code, set(ran.tasks)) == (0, {"done", "gate", "more"})
    assert ran.tasks["done"]["attempts"] == 1


@pytest.mark.slow
def test_secrets_are_asked_for_again(gate):
    cli = gate.cli
    gate.tasks[0]["input_data"] = {"key": SECRET}
    name = killed(gate)
    gate.open()
    ran = gate.resume()
    assert (ran.code, ran.codes) == (2, ["request_needed"])
    assert f"dispatch-runner resume {name} FILE" in ran.errors[0]["hint"]
    ran = gate.resume(name, "-", stdin={"tasks": gate.tasks})
    assert ran.code == 0
    assert SECRET.encode() not in ran.stdout
    assert "task 'gate' gets the output of 'done' without its secrets" in ran.document["warnings"]
    files = (p for p in (cli.folder / "traces").rglob("*") if p.is_file())
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_other_settings_are_refused(gate):
    killed(gate)
    del gate.cli.environ["DISPATCH_RUNNER_CONFIG"]
    ran = gate.resume()
    assert (ran.code, ran.codes) == (2, ["settings_changed"])
    assert "operator.toml" in ran.errors[0]["message"]
    ran = gate.resume("--backend", "llm", "--config", "operator.toml")
    assert (ran.code, ran.codes) == (2, ["settings_changed"])
    assert "the backend was 'offline', now it is 'llm'" in ran.errors[0]["message"]


@pytest.mark.slow
def test_the_way_to_merge_is_that_of_before_unless_another_is_named(gate):
    killed(gate, "--merge", "topological")
    ran = gate.resume("--merge", "none")
    assert (ran.code, ran.codes) == (2, ["settings_changed"])
    gate.cli.environ["DISPATCH_RUNNER_MERGE"] = "none"
    assert gate.resume().codes == ["settings_changed"]
    del gate.cli.environ["DISPATCH_RUNNER_MERGE"]
    gate.open()
    assert gate.resume().code == 0


def test_damaged_records_are_our_fault_and_nothing_starts(gate):
    name = killed(gate)
    (gate.cli.folder / "traces" / name / "events.ndjson").unlink()
    ran = gate.resume()
    assert (ran.code, ran.codes) == (3, ["record_error"])
    assert gate.runs() == 1


def test_it_has_all_flags_of_run():
    """What is meant by `--trace-dir` differs, and the request comes after the dispatch."""
    commands = get_command(app).commands
    run, resume = ({p.name for p in commands[name].params} for name in ("run", "resume"))
    assert run - resume == {"carry_changes"}, "what was carried over is in the worktrees"
    assert resume - run == {"dispatch", "retry_failed", "accept_changes"}


def test_a_crash_that_is_asked_for_wrongly_is_told(cli):
    cli.environ["DISPATCH_RUNNER_CRASH_AT"] = "soon"
    ran = cli(stdin=[cli.echo()])
    assert (ran.code, ran.codes) == (3, ["record_error"])
    assert "n:before" in ran.errors[0]["message"]
