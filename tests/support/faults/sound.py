"""A dispatcher in which something goes wrong, and what must hold afterwards, whatever it was."""

import json
import os
import shutil
import signal
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatch_runner.locks import MachineLocks
from dispatch_runner.paths import identity
from dispatch_runner.records import journal, store
from dispatch_runner.records.folder import Folder
from support.command import Cli, Ran, as_bytes
from support.faults.plan import Plan, without_faults

PATIENCE = 100.0
SECONDS_TO_END = 10.0
"""For what a killed dispatcher started; about one is promised, and the machine may be busy."""

PROGRAM = """printf '%s\\n' "$DISPATCH_RUNNER_TASK_ID" >> "$HOME/ran"
printf 'did %s' "$DISPATCH_RUNNER_TASK_ID"
"""
SHARED = "shared.txt"
USUAL_OUTPUTS = {
    "first": {"n": 1},
    "one": {"text": "did one", "exit_code": 0},
    "two": {"text": "did two", "exit_code": 0},
    "alone": {"text": "did alone", "exit_code": 0},
    "last": {"text": "did one, did two"},
}

Task = dict[str, Any]


@dataclass(frozen=True)
class Faulty:
    """How a dispatcher ended in which something went wrong."""

    ran: Ran
    pid: int
    tasks: Sequence[Task]

    @property
    def killed(self) -> bool:
        """Whether it could say nothing at its end."""
        return self.ran.code < 0

    def announced(self) -> set[str]:
        """Tasks whose success it had told of: in events, and in its document unless that says itself, by
        its exit code 3, that something in it may not be on record."""
        events = _events(self.ran.stderr)
        told = {each["task_id"] for each in events if _succeeded(each)}
        if self.ran.code not in {2, 3} and not self.killed and "results" in self.ran.document:
            told |= {n for n, status in self.ran.statuses.items() if status == "success"}
        return told


def _events(stderr: str) -> list[dict[str, Any]]:
    lines = [line for line in stderr.splitlines() if line.startswith('{"event"')]
    return [json.loads(line) for line in lines if line.endswith("}")]


def _succeeded(event: dict[str, Any]) -> bool:
    return event["event"] == "task_finished" and event["status"] == "success"


class Bench:
    """Runs dispatchers with faults in one folder, and counts which programs they ran."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.injected = 0
        self.survived = 0
        self._toml = ""
        script = cli.write("program.sh", PROGRAM)
        self.define(f'[agents.program]\ncommand = ["/bin/sh", "{script}"]\noutput = "text"\n')

    def define(self, toml: str) -> None:
        """An agent beside `program`, which writes its task's id into a file and says `did ID`."""
        self.settings(f"{toml}retries = 0\ngrace_seconds = 0.1\n")

    def settings(self, toml: str) -> None:
        """Further tables of the operator's settings."""
        self._toml += toml
        self.cli.settings(self._toml)

    @property
    def traces(self) -> Path:
        return self.cli.folder / "traces"

    def usual(self) -> list[Task]:
        """first -> one, two (programs that write the same file) -> last, and another for itself."""
        cli, shared = self.cli, [str(self.cli.folder / SHARED)]
        both = {"dependencies": ["first"], "modifies_files": shared}
        text = {"text": "${tasks.one.output.text}, ${tasks.two.output.text}"}
        return [
            cli.echo("first", input_data={"n": 1}),
            cli.task("one", "program", **both),
            cli.task("two", "program", **both),
            cli.task("alone", "program"),
            cli.echo("last", ["one", "two"], input_data=text),
        ]

    def start(
        self, tasks: Sequence[Task], plan: Plan | None = None, *arguments: str, **options: Any
    ) -> "subprocess.Popen[bytes]":
        """Starts one and gives it its request."""
        environ = {**self.cli.environ, **(plan.environ() if plan else {})}
        arguments = arguments or ("--progress", "json")
        given = {"stdin": subprocess.PIPE, "env": environ, **options}
        process = self.cli.start("run", *arguments, **given)
        assert process.stdin is not None
        try:
            process.stdin.write(as_bytes(list(tasks)))
            process.stdin.close()
        except BrokenPipeError:
            pass  # it ended before it read
        process.stdin = None
        return process

    def end(self, process: "subprocess.Popen[bytes]", tasks: Sequence[Task]) -> Faulty:
        """Waits for its end. Nothing that it started may be left."""
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        ran = Ran(process.returncode, out or b"", (err or b"").decode(errors="replace"))
        return Faulty(ran, process.pid, tasks)

    def run(self, tasks: Sequence[Task], plan: Plan | None = None, *arguments: str) -> Faulty:
        """One to its end."""
        return self.end(self.start(tasks, plan, *arguments), tasks)

    def resume(self, *arguments: str) -> Ran:
        """Another process that goes on with a dispatch."""
        environ = without_faults(self.cli.environ)
        places = ("traces", "../home")
        return self.cli("resume", "-q", *arguments, env=environ, timeout=60, writes=places)

    def runs(self) -> Counter[str]:
        """How often a program ran for each task."""
        file = self.cli.home / "ran"
        return Counter(file.read_text().split() if file.exists() else ())

    def folders(self) -> list[Path]:
        """Run folders, the newest last."""
        names = [entry.name for entry in store.list_dispatches(self.traces)]
        return [self.traces / name for name in reversed(names)]

    def clear(self) -> None:
        """As if nothing had been run here."""
        shutil.rmtree(self.traces, ignore_errors=True)
        (self.cli.home / "ran").unlink(missing_ok=True)


def assert_sound(bench: Bench, faulty: Faulty, *, resumes: bool = True) -> None:
    """Whatever went wrong: every task is accounted for, the document is valid, what was announced is on
    disk, no process and no lock is left, and the dispatch can be brought to its end.

    `resumes`: that last part is tried, which takes a process or two.
    """
    bench.injected += 1
    cli, ran = bench.cli, faulty.ran
    assert "Traceback" not in ran.stderr, ran.stderr
    if not faulty.killed:
        cli.check(ran, text=not ran.stdout)
        check_accounted(faulty)
    cli.until(lambda: not left_by(bench, faulty.pid), "the end of what it started", SECONDS_TO_END)
    done = check_records(bench, faulty)
    check_locks(bench)
    if resumes and ran.code != 0:
        check_resume(bench, faulty, done)
    bench.survived += 1


def check_accounted(faulty: Faulty) -> None:
    """Every task of the request has one result, in its place."""
    if faulty.ran.stdout and "results" in faulty.ran.document:
        ids = [task["task_id"] for task in faulty.tasks]
        assert [each["task_id"] for each in faulty.ran.document["results"]] == ids


def left_by(bench: Bench, pid: int) -> list[str]:
    """Processes that a dispatcher left: its programs, and the guardian that watches over it."""
    guardians = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(each.startswith(b"PREFIX=%d-" % pid) for each in variables):
            guardians.append(entry.name)
    return [*guardians, *bench.cli.survivors()]


def check_records(bench: Bench, faulty: Faulty) -> set[str]:
    """What it had announced is on disk, whole. Returns the tasks that are recorded as successful."""
    if not bench.traces.is_dir():
        assert not faulty.announced()
        return set()
    recorded: set[str] = set()
    for folder in bench.folders():
        recorded |= successes(folder)
    assert faulty.announced() <= recorded, "a finished task was lost"
    return recorded


def successes(folder: Path) -> set[str]:
    """Tasks that the journal of a run folder calls successful; their traces are what it says."""
    path = folder / journal.JOURNAL_NAME
    if not path.exists():
        return set()
    done = set()
    for record in journal.load(path).records:
        if record["event"] != "finished":
            continue
        done.discard(record["task"])
        if record["status"] == "success":
            done.add(record["task"])
            trace = (folder / record["trace"]).read_bytes()
            assert f"{zlib.crc32(trace):08x}" == record["trace_crc"]
    return done


def check_locks(bench: Bench) -> None:
    """Neither a journal nor a file is held by anybody any more."""
    for folder in bench.folders() if bench.traces.is_dir() else ():
        with Folder.open_or_create(folder) as opened:
            assert not journal.is_locked(opened), f"{folder} is still locked"
    locks = MachineLocks()
    try:
        wanted = [identity(str(bench.cli.folder / SHARED))]
        bench.cli.until(lambda: locks.try_acquire(wanted) is None, "the file lock")
    finally:
        locks.close()


def check_resume(bench: Bench, faulty: Faulty, done: Iterable[str]) -> None:
    """Another process brings it to its end; what had succeeded is not run again."""
    before, done = bench.runs(), set(done)
    resumable = [each for each in bench.folders() if journal.load(each / "events.ndjson").records]
    if not resumable:
        assert not done
        again = bench.run(faulty.tasks)
        assert again.ran.code == 0, again.ran
        return
    ran = bench.resume(resumable[-1].name, "--retry-failed")
    assert (ran.code, ran.document["status"]) == (0, "success"), (faulty, ran)
    assert [each["task_id"] for each in ran.document["results"]] == [
        task["task_id"] for task in faulty.tasks
    ]
    if faulty.tasks == bench.usual():
        outputs = {name: each["output"] for name, each in ran.tasks.items()}
        assert outputs == USUAL_OUTPUTS, outputs
    assert not left_by(bench, faulty.pid)
    again = bench.runs() - before
    assert not done & set(again), f"finished, and run again: {done & set(again)}"
    assert set(again.values()) <= {1}
    check_locks(bench)


def kill_with_guardian(process: "subprocess.Popen[bytes]") -> None:
    """Kills a dispatcher and the one who would have cleaned up after it, so that its programs live on."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"PREFIX=%d-" % process.pid in environ:
                os.kill(int(entry.name), signal.SIGKILL)
    process.kill()
