"""Trace folders in which somebody planted something, ids made to leave them, and two at once."""

import json
import os
from pathlib import Path

import pytest

from support.faults import Fault, Plan, assert_sound

PLANTS = {
    "symbolic link": 'ln -s "$VICTIM" "$1"',
    "dangling link": 'ln -s "$VICTIM.new" "$1"',
    "hard link": 'ln "$VICTIM" "$1"',
    "FIFO": 'mkfifo "$1"',
}
NAMES = ("later.json", ".new", "result.json", "later.1.stdout", ".reserve")


@pytest.mark.parametrize("plant", PLANTS)
def test_nothing_is_written_through_what_a_program_plants_in_the_trace_folder(bench, plant):
    cli = bench.cli
    victim = cli.write("victim", "precious")
    script = cli.write(
        "plant.sh",
        f"VICTIM='{victim}'\ncd '{bench.traces}'/dispatch-*/ || exit 1\n"
        f'put() {{ {PLANTS[plant]} 2>/dev/null; }}\n'
        f'for name in {" ".join(NAMES)}; do put "$name"; done\n'
        'rm "$PWD.json"; put "$PWD.json"; printf done',
    )  # fmt: skip
    bench.define(f'[agents.plant]\ncommand = ["/bin/sh", "{script}"]\noutput = "text"\n')
    tasks = [cli.task("plant", "plant"), cli.task("later", "program", dependencies=["plant"])]
    # a sync that meets the link would refuse it, and end the dispatch with exit code 3
    faulty = bench.run(tasks, None, "--durability", "process")
    assert (faulty.ran.code, faulty.ran.document["status"]) == (0, "success"), faulty
    assert victim.read_text() == "precious"
    assert not Path(f"{victim}.new").exists()
    assert cli.index_of(faulty.ran)["status"] == "success"
    assert_sound(bench, faulty)


HOSTILE = [
    "../x", "../../../../../../tmp/x", "/etc/passwd", ".", "..", "...", "-rf", "--help", "~", "$HOME",
    "CON", "con", "Con", "nul", "aux.json", "a/b", "a\\b", "a:b", "a*?", "%2e%2e", "%", "%%", "x.json",
    "request", "result", "events", "events.ndjson", "request.json", "result.json", ".new", ".reserve",
    "A", "a", "É", "é", "e\u0301", "ﬁ", "fi", "ß", "SS", "x" * 200, "X" * 200, "日本" * 100,
    "😀" * 100, "\ufeff", "\u200b", " a", "a ", "'", '"', "`id`", "$(id)", ";", "|", "&", "x.1.stdout", "a.output",
]  # fmt: skip


def test_whatever_a_task_is_called_its_files_stay_where_they_belong_and_apart(bench, tmp_path):
    program = [bench.cli.task(f"{name}!", "program") for name in HOSTILE[:8]]
    tasks = [*(bench.cli.echo(name, input_data={"id": name}) for name in HOSTILE), *program]
    before = bench.cli.files()
    faulty = bench.run(tasks, Plan(tmp_path / "calls", (Fault("signal", "SIGKILL", 250),)))
    assert faulty.killed
    assert_sound(bench, faulty)
    ran = bench.resume(bench.folders()[-1].name)
    files = [each["trace_file"] for each in ran.document["results"]]
    assert len({file.casefold() for file in files}) == len(tasks)
    assert {Path(file).parent for file in files} == {bench.folders()[-1]}
    for name in HOSTILE:
        assert json.loads(Path(ran.tasks[name]["trace_file"]).read_bytes())["task_id"] == name
        assert ran.tasks[name]["output"] == {"id": name}
    places = ("traces", "../home", "../calls")
    assert all(name.startswith(places) for name in bench.cli.files() - before)


@pytest.mark.parametrize(
    "name", ["", "a" * 201, "a\nb", "a\0b", "\x1b[2J", "a\u202eb", "\ud800", "a\u0085b", " "]
)
def test_ids_that_nobody_can_print_are_refused_and_start_nothing(bench, name):
    faulty = bench.run([bench.cli.echo("good"), bench.cli.echo(name)])
    assert (faulty.ran.code, faulty.ran.document["status"]) == (2, "rejected")
    assert not bench.traces.exists()
    assert_sound(bench, faulty, resumes=False)


@pytest.mark.parametrize("mask", [0o777, pytest.param(0o000, marks=pytest.mark.slow)])
def test_whatever_the_umask_records_are_private_and_can_be_resumed(bench, tmp_path, mask):
    plan = Plan(tmp_path / "calls", (Fault("signal", "SIGKILL", 60),))
    tasks = bench.usual()
    process = bench.start(tasks, plan, preexec_fn=lambda: os.umask(mask))
    faulty = bench.end(process, tasks)
    assert_sound(bench, faulty)
    for path in bench.folders()[-1].iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert bench.folders()[-1].stat().st_mode & 0o777 == 0o700


def test_dispatches_side_by_side_in_one_folder_do_not_meet(bench):
    tasks = bench.usual()
    racing = [bench.start(tasks) for _ in range(3)]
    ended = [bench.end(process, tasks) for process in racing]
    for faulty in ended:
        assert faulty.ran.code == 0
        assert_sound(bench, faulty)
    assert len(bench.folders()) == 3
    assert set(bench.runs().values()) == {3}


@pytest.mark.slow
def test_a_killed_one_among_others_gives_its_file_locks_back(bench, tmp_path):
    tasks = bench.usual()
    plan = Plan(tmp_path / "calls", (Fault("signal", "SIGKILL", 75),))
    racing = [bench.start(tasks, plan if n == 0 else None) for n in range(4)]
    ended = [bench.end(process, tasks) for process in racing]
    assert [faulty.killed for faulty in ended] == [True, False, False, False]
    assert all(faulty.ran.code == 0 for faulty in ended[1:])
    assert_sound(bench, ended[1])
