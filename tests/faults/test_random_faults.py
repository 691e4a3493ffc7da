"""Graphs, faults and moments by chance; what the journal says afterwards is judged record by record.

The seed is FAULTS_SEED: what failed once can be had again.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from dispatch_runner.records import journal
from support.faults import Fault, Plan, assert_sound
from support.faults.sound import Bench, Faulty

UNITS = 2
WRITES = ("write", "rename", "posix_fallocate", "fdatasync", "fsync", "ftruncate")
LIMIT = f"[limits.units]\ncapacity = {UNITS}\n"


@dataclass
class Case:
    """A request, and how each task ends when nobody disturbs it."""

    tasks: list[dict[str, Any]] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)
    workers: int = 1


def drawn(bench: Bench, chance: random.Random) -> Case:
    case = Case(workers=chance.randint(1, 4))
    for number in range(chance.randint(3, 12)):
        name = f"t{number}"
        ups = chance.sample(list(case.statuses), min(len(case.statuses), chance.randrange(4)))
        agent = chance.choice(["echo", "program", "program", "fails"])
        task = bench.cli.task(name, agent, dependencies=ups)
        task["run_when"] = chance.choice(["all_success", "all_success", "all_done", "one_success"])
        if chance.random() < 0.5:
            task["modifies_files"] = [str(bench.cli.folder / chance.choice("ab"))]
        if chance.random() < 0.5:
            task["resources"] = {"units": chance.randint(1, UNITS)}
        case.tasks.append(task)
        case.statuses[name] = _status(task, [case.statuses[up] == "success" for up in ups])
    chance.shuffle(case.tasks)
    return case


def _status(task: dict[str, Any], ups: list[bool]) -> str:
    released = {
        "all_success": all(ups),
        "all_done": True,
        "one_success": any(ups) or not ups,
    }[task["run_when"]]
    if not released:
        return "blocked"
    return "error" if task["agent"] == "fails" else "success"


def fault(chance: random.Random) -> Fault:
    kind = chance.choice(["kill", "kill", "signal", "error", "short"])
    nth = chance.randint(1, 150)
    if kind == "kill":
        return Fault("signal", "SIGKILL", nth, after=chance.random() < 0.5)
    if kind == "signal":
        return Fault("signal", chance.choice(["SIGINT", "SIGTERM", "SIGHUP"]), nth)
    if kind == "error":
        times = chance.choice([1, 1, 1_000])
        return Fault("error", chance.choice(["ENOSPC", "EIO"]), 1 + nth // 4, WRITES, times)
    return Fault("short", nth=1 + nth // 8, calls=("write",))


def dispatch(bench: Bench, case: Case, chance: random.Random, plans: Any) -> Faulty:
    """One process after the other has its faults; the last one has none."""
    arguments = ("-j", str(case.workers), "--progress", "json")
    faulty = bench.run(case.tasks, next(plans), *arguments)
    assert_sound(bench, faulty, resumes=False)
    for attempt in range(chance.randint(1, 4), -1, -1):
        if not bench.traces.is_dir() or not bench.folders():
            return dispatch(bench, case, chance, plans)
        plan = next(plans) if attempt else None
        # a fault may have hit the start of a program, which is a failure of its task
        again = () if plan else ("--retry-failed",)
        process = bench.cli.start(
            "resume", bench.folders()[-1].name, *arguments, *again,
            env={**bench.cli.environ, **(plan.environ() if plan else {})}, stdin=-1,
        )  # fmt: skip
        faulty = bench.end(process, case.tasks)
        if plan:
            assert_sound(bench, faulty, resumes=False)
    return faulty


def check_journal(bench: Bench, case: Case) -> None:
    """Every dependency settled before a start; neither workers, units nor files were ever exceeded; what
    succeeded is not run again."""
    by_id = {task["task_id"]: task for task in case.tasks}
    settled: dict[str, str] = {}
    running: set[str] = set()
    for record in journal.load(bench.folders()[-1] / journal.JOURNAL_NAME).records:
        name = record["task"]
        if record["event"] == "opened":
            running.clear()
        elif record["event"] == "started":
            assert settled.get(name) != "success", f"{name} had succeeded"
            assert set(by_id[name]["dependencies"]) <= set(settled), f"{name} started too early"
            running.add(name)
            check_limits([by_id[each] for each in running], case.workers)
        elif record["event"] == "finished":
            running.discard(name)
            settled[name] = record["status"]
    assert settled == case.statuses
    assert not running


def check_limits(running: list[dict[str, Any]], workers: int) -> None:
    assert len(running) <= workers
    assert sum(task.get("resources", {}).get("units", 0) for task in running) <= UNITS
    files = Counter(path for task in running for path in task.get("modifies_files", ()))
    assert not files or max(files.values()) == 1


def try_one(bench: Bench, tmp_path: Any, chance: random.Random, name: str) -> None:
    bench.clear()
    case = drawn(bench, chance)
    numbers = iter(range(1_000))

    def plans() -> Any:
        while True:
            faults = tuple(fault(chance) for _ in range(chance.randint(1, 2)))
            yield Plan(tmp_path / f"calls-{name}-{next(numbers)}", faults)

    faulty = dispatch(bench, case, chance, plans())
    assert faulty.ran.statuses == case.statuses
    check_journal(bench, case)
    before = bench.runs()
    again = bench.resume(bench.folders()[-1].name)
    assert again.document["results"] == faulty.ran.document["results"]
    assert bench.runs() == before
    assert_sound(bench, faulty, resumes=False)


@pytest.fixture
def limited(bench):
    bench.define('[agents.fails]\ncommand = ["false"]\noutput = "exit"\n')
    bench.settings(LIMIT)
    return bench


def test_a_graph_with_some_faults(limited, tmp_path, chance):
    try_one(limited, tmp_path, chance, "")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_many_graphs_with_many_faults(limited, tmp_path, chance, part):
    for number in range(25):
        try_one(limited, tmp_path, chance, f"{part}-{number}")
