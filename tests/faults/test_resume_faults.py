"""A dispatch that dies anywhere goes on: real processes killed at every write, journals cut at every byte."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner import Flags
from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.dispatching.resume import Wish, resumption
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.events import Event, TasksAdded, TaskStarted
from dispatch_runner.marks import MARKER
from dispatch_runner.records.journal import JOURNAL_NAME, load
from dispatch_runner.records.register import Place
from dispatch_runner.records.restore import Earlier
from dispatch_runner.records.store import list_dispatches
from support.processes import carrying, outlive

TASKS: list[dict[str, Any]] = [
    {"task_id": "a", "agent": "count", "input_data": {"n": 1}},
    {"task_id": "b", "agent": "count", "input_data": {"n": 2}, "dependencies": ["a"]},
    {"task_id": "fails", "agent": "count", "input_data": {"fail": True}},
    {"task_id": "blocked", "agent": "echo", "input_data": {}, "dependencies": ["fails"]},
    {
        "task_id": "c",
        "agent": "echo",
        "input_data": {"n": "${tasks.b.output.n}"},
        "dependencies": ["b"],
    },
]
PROGRAM = """
import json, os, sys
task = json.load(sys.stdin)
with open("ran", "a") as file:
    file.write(task["task_id"] + "\\n")
sys.exit(3) if "fail" in task["input"] else print(json.dumps(task["input"]))
"""


class Machine:
    """Runs dispatchers in a folder, kills them, and knows what their programs did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "count.py").write_text(PROGRAM)
        command = json.dumps([sys.executable, "-S", "-E", str(folder / "count.py")])
        (folder / "agents.toml").write_text(
            f'[agents.count]\ncommand = {command}\noutput = "json"\nretries = 0\n'
        )
        self.marker = f"test-{os.urandom(8).hex()}"
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(folder), MARKER: self.marker,
        }  # fmt: skip

    def start(
        self, *arguments: str, crash_at: str = "", tasks: Any = None
    ) -> "subprocess.Popen[bytes]":
        environ = {**self.environ, **({"DISPATCH_RUNNER_CRASH_AT": crash_at} if crash_at else {})}
        process = subprocess.Popen(
            [sys.executable, "-m", "dispatch_runner", *arguments, "-q", "--config", "agents.toml"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.folder, env=environ,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps({"tasks": tasks}).encode() if tasks else b"")
        process.stdin.close()
        return process

    def __call__(self, *arguments: str, **options: Any) -> tuple[int, dict[str, Any] | None]:
        """Exit code and document of a dispatcher that ended."""
        process = self.start(*arguments, **options)
        assert process.stdout is not None
        with process.stdout as stdout:
            out = stdout.read()
        return process.wait(timeout=30), json.loads(out) if out else None

    def ran(self) -> Counter[str]:
        path = self.folder / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def recorded(self) -> set[str]:
        """Tasks that have their `finished` record."""
        (path,) = (self.folder / "traces").glob("*/events.ndjson")
        return {each["task"] for each in load(path).records if each["event"] == "finished"}

    def forget(self) -> None:
        shutil.rmtree(self.folder / "traces", ignore_errors=True)
        (self.folder / "ran").unlink(missing_ok=True)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def essence(document: dict[str, Any] | None) -> list[tuple[Any, ...]]:
    assert document is not None
    return [(t["task_id"], t["status"], t["output"], t["blocked_by"]) for t in document["results"]]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["before", "middle", "after"])
def test_killed_at_every_write_of_the_journal_it_goes_on_and_repeats_nothing_that_finished(
    machine: Machine, place: str
) -> None:
    _, whole = machine("run", tasks=TASKS)
    expected = essence(whole)
    for n in range(1, 100):
        machine.forget()
        code, _ = machine("run", tasks=TASKS, crash_at=f"{n}:{place}")
        if code == 1:
            break
        assert code == -signal.SIGKILL
        if not list_dispatches(machine.folder / "traces"):
            assert not machine.ran()
            continue  # it died before it was on record
        before, finished = machine.ran(), machine.recorded()
        code, document = machine("resume")
        assert code == 1, document
        assert essence(document) == expected
        again = machine.ran() - before
        assert not finished & again.keys(), f"write {n}"
        assert max(machine.ran().values()) <= 2
        assert not carrying(machine.marker)
    else:
        pytest.fail("it never came to its end")
    assert n > 10


@pytest.mark.slow
def test_killed_again_and_again_it_comes_to_its_end(machine: Machine) -> None:
    machine("run", tasks=TASKS, crash_at="4")
    for _ in range(20):
        code, document = machine("resume", crash_at="6")
        if code != -signal.SIGKILL:
            break
    assert code == 1
    assert [status for _, status, *_ in essence(document)] == [
        "success", "success", "error", "blocked", "success",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_any_moment_no_finished_task_is_lost(machine: Machine) -> None:
    chance = random.Random(5)
    tasks = [
        {"task_id": f"t{n}", "agent": "count", "input_data": {"n": n, "text": "x" * (n % 3) * 9_000},
         "dependencies": [f"t{n - 5}"] if n >= 5 else []}
        for n in range(25)
    ]  # fmt: skip
    kills = 0
    while kills < 200:
        machine.forget()
        arguments: tuple[str, ...] = ("run",)
        given: list[dict[str, Any]] | None = tasks
        finished: set[str] = set()
        for _ in range(60):
            process = machine.start(*arguments, tasks=given)
            try:
                process.wait(timeout=chance.uniform(0.02, 0.5))
            except subprocess.TimeoutExpired:
                process.kill()
            code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
            if code != -signal.SIGKILL:
                break
            kills += 1
            for entry in list_dispatches(machine.folder / "traces"):
                arguments, given = ("resume", entry.name), None  # perhaps it had just ended
                now = machine.recorded()
                assert finished <= now
                assert machine.ran().keys() >= now
                finished = now
        else:
            code, _ = machine(*arguments, tasks=given)
        assert code == 0
        (index,) = (machine.folder / "traces").glob("*.json")
        result = json.loads(index.with_suffix("").joinpath("result.json").read_bytes())
        assert [t["output"]["n"] for t in result["results"]] == list(range(25))
    assert not carrying(machine.marker)


@pytest.mark.slow
def test_of_several_that_resume_at_once_one_does(machine: Machine) -> None:
    machine("run", tasks=TASKS, crash_at="6")
    assert not outlive(carrying(machine.marker), 10.0)  # what it had started may still count itself
    (name,) = (entry.name for entry in list_dispatches(machine.folder / "traces"))
    before, finished = machine.ran(), machine.recorded()
    processes = [machine.start("resume", name) for _ in range(4)]
    documents = []
    for process in processes:
        assert process.stdout is not None
        with process.stdout as stdout:
            documents.append(json.loads(stdout.read()))
        process.wait(timeout=30)
    whole = [each for each in documents if "results" in each]
    refused = [each["errors"][0]["code"] for each in documents if "results" not in each]
    assert whole, "one of them does it"
    assert set(refused) <= {"dispatch_busy"}
    assert all(each == whole[0] for each in whole), "who comes later finds it complete"
    again = machine.ran() - before
    assert not finished & again.keys()
    assert max(again.values()) == 1


ECHOES: list[dict[str, Any]] = [
    {"task_id": "a", "agent": "echo", "input_data": {"n": 1}},
    {
        "task_id": "b",
        "agent": "echo",
        "input_data": {"n": "${tasks.a.output.n}"},
        "dependencies": ["a"],
    },
]


class Cut:
    """A dispatch in this process, as it was when its process died: journal and traces at their end, the
    index at its beginning."""

    def __init__(self, folder: Path) -> None:
        self.traces = folder / "traces"
        self.operator = Operator.of(Flags(durability="process"), {"HOME": str(folder)}, folder)
        anyio.run(self._run)
        self.kept = folder / "kept"
        (index,) = self.traces.glob("*.json")
        self.name = index.stem
        index.write_bytes(self.index)
        self.traces.rename(self.kept)
        self.journal = self.kept.joinpath(self.name, JOURNAL_NAME).read_bytes()

    async def _run(self) -> None:
        def keep(event: Event) -> None:
            if isinstance(event, TasksAdded):
                (index,) = self.traces.glob("*.json")
                self.index = index.read_bytes()

        await Dispatch.of(prepare(self.operator, {"tasks": ECHOES}), [keep]).run()

    def try_at(self, size: int) -> None:
        """Everything is as it should be when the journal is cut there."""
        shutil.copytree(self.kept, self.traces)
        place = Place(self.traces, self.name)
        path = place.run_folder / JOURNAL_NAME
        path.write_bytes(self.journal[:size])
        finished = {r["task"] for r in load(path).records if r["event"] == "finished"}
        ran = anyio.run(self._resume, place)
        assert finished.isdisjoint(ran), size
        assert finished | ran == {"a", "b"}, size
        result = json.loads((place.run_folder / "result.json").read_bytes())
        assert [task["output"] for task in result["results"]] == [{"n": 1}, {"n": 1}], size
        assert load(path).torn_bytes == 0
        shutil.rmtree(self.traces)

    async def _resume(self, place: Place) -> set[str]:
        ran = set()

        def see(event: Event) -> None:
            if isinstance(event, TaskStarted):
                ran.add(event.task_id)

        found = resumption(self.operator, Earlier.hold(place), Wish(Flags()))
        result = await Dispatch.of(found.prepared, [see], found.past).run()
        assert result.status == "success"
        return ran


def test_a_journal_that_is_cut_resumes_correctly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ends of its records, and around them."""
    monkeypatch.chdir(tmp_path)
    cut = Cut(tmp_path)
    ends = [place + 1 for place, byte in enumerate(cut.journal) if byte == ord("\n")]
    for size in sorted({0, 1, *(end + shift for end in ends for shift in (-1, 0, 7))}):
        cut.try_at(size)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_journal_that_is_cut_at_any_byte_resumes_correctly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cut = Cut(tmp_path)
    for size in range(len(cut.journal) + 1):
        cut.try_at(size)


@pytest.mark.slow
def test_programs_of_a_killed_dispatcher_are_gone_before_theirs_run_again(machine: Machine) -> None:
    """Also when the guardian was killed with it."""
    script = f"touch {machine.folder}/up; [ -e {machine.folder}/go ] || sleep 60; echo done"
    (machine.folder / "agents.toml").write_text(
        f'[agents.slow]\ncommand = ["sh", "-c", {json.dumps(script)}]\nstdin = "none"\noutput = "text"\n'
    )
    process = machine.start("run", tasks=[{"task_id": "s", "agent": "slow", "input_data": {}}])
    deadline = time.monotonic() + 20
    while not (machine.folder / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    guardians = _guardians_of(process.pid)
    assert guardians
    for pid in (*guardians, process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    left = carrying(machine.marker)
    assert left, "the program should outlive both"
    (machine.folder / "go").touch()
    code, document = machine("resume")
    assert code == 0
    assert essence(document)[0][2]["text"] == "done\n"
    assert not left.keys() & carrying(machine.marker).keys()


def _guardians_of(dispatcher: int) -> list[int]:
    children = Path(f"/proc/{dispatcher}/task/{dispatcher}/children").read_text().split()
    environs = {int(child): Path(f"/proc/{child}/environ").read_bytes() for child in children}
    return [child for child, environ in environs.items() if b"SWEEP=" in environ]
