"""Disks that are full, cannot be written, or lose the trace folder while tasks run."""

import json
import shutil
import subprocess

import pytest

from support.faults import assert_sound
from support.faults.sound import Faulty

NAMESPACE = ("unshare", "-rm", "sh", "-c")
"""A private view of the mounts, as root of it: what is mounted there, nobody else sees."""


@pytest.fixture
def disk(bench):
    """Runs dispatchers on a small disk at the trace folder: `disk(script, tasks)`, where `D NAME COMMAND` runs one,
    whose document, messages and exit code go to files named after its first argument."""
    cli = bench.cli
    bench.traces.mkdir()
    if shutil.which("unshare") is None or not _can_mount(bench):
        pytest.skip("cannot mount a disk here")
    run = 'D() { "$PROGRAM" $2 -q < request.json > $1.out 2> $1.err; echo $? > $1.code; }\n'
    environ = {**cli.environ, "PROGRAM": str(cli.program)}

    def on(script, tasks=()):
        cli.write("request.json", json.dumps({"tasks": list(tasks)}))
        command = [*NAMESPACE, run + script]
        subprocess.run(
            command, cwd=cli.folder, env=environ, check=True, timeout=60, capture_output=True
        )
        shutil.rmtree(bench.traces)  # the mount has gone with the namespace; this is what was below
        kept = cli.folder / "kept"
        if kept.exists():
            kept.rename(bench.traces)

    return on


def _can_mount(bench):
    line = [*NAMESPACE, 'mount -t tmpfs tmpfs "$0"', str(bench.traces)]
    return subprocess.run(line, capture_output=True).returncode == 0


def ended(bench, name, tasks):
    """How a dispatcher of the script ended."""
    from support.command import Ran

    out, err, code = (bench.cli.folder / f"{name}.{part}" for part in ("out", "err", "code"))
    return Faulty(Ran(int(code.read_text()), out.read_bytes(), err.read_text()), 0, tasks)


def large(bench, count):
    """Tasks with some kilobytes of output each, and programs among them."""
    copy = {"text": "${tasks.t0.output.text}"}
    tasks = [bench.cli.echo("t0", input_data={"text": "x" * 5_000})]
    tasks += [bench.cli.echo(f"t{n}", ["t0"], input_data=copy) for n in range(1, count)]
    return [*tasks, *(bench.cli.task(f"p{n}", "program", dependencies=["t0"]) for n in range(3))]


@pytest.mark.parametrize("size", [pytest.param("200k", marks=pytest.mark.slow), "400k"])
def test_a_disk_that_gets_full_stops_the_dispatch_which_goes_on_when_there_is_space(
    bench, disk, size
):
    tasks = large(bench, 100)
    disk(
        f"mount -t tmpfs -o size={size} tmpfs traces; D full run; cp -r traces before\n"
        "mount -o remount,size=20m traces; D again resume; cp -r traces kept",
        tasks,
    )
    full, again = ended(bench, "full", tasks), ended(bench, "again", tasks)
    assert full.ran.code == 3
    assert "no space left on device" in " ".join(full.ran.document["warnings"])
    assert {"success", "cancelled"} == set(full.ran.statuses.values())
    assert_sound(bench, again)
    assert (again.ran.code, again.ran.document["status"]) == (0, "success")
    assert set(bench.runs().values()) <= {1}


def test_on_a_disk_without_room_for_the_first_records_nothing_is_started(bench, disk):
    tasks = large(bench, 1)
    disk("mount -t tmpfs -o size=40k tmpfs traces; D full run; ls -A traces > left", tasks)
    full = ended(bench, "full", tasks)
    assert (full.ran.code, full.ran.codes) == (3, ["record_error"])
    assert str(bench.traces) in full.ran.errors[0]["message"]
    assert (bench.cli.folder / "left").read_text() == ""
    assert not bench.runs()
    assert_sound(bench, full)


def test_on_a_disk_that_cannot_be_written_nothing_is_started(bench, disk):
    tasks = large(bench, 1)
    disk("mount -t tmpfs -o ro tmpfs traces; D full run", tasks)
    full = ended(bench, "full", tasks)
    assert (full.ran.code, full.ran.codes) == (3, ["record_error"])
    assert "read-only file system" in full.ran.errors[0]["message"]
    assert not bench.runs()
    assert_sound(bench, full)


def vandal(bench, line):
    """An agent that does something to the trace folder while it runs."""
    script = bench.cli.write("vandal.sh", f"cd {bench.cli.folder}\n{line}\n")
    bench.define(f'[agents.vandal]\ncommand = ["/bin/sh", "{script}"]\noutput = "exit"\n')
    cli = bench.cli
    return [
        cli.echo("before"),
        cli.task("vandal", "vandal", dependencies=["before"]),
        cli.echo("after", ["vandal"]),
    ]


def test_a_trace_folder_that_is_removed_midway_ends_the_dispatch(bench):
    tasks = vandal(bench, "rm -r traces")
    faulty = bench.run(tasks, None, "-q")
    assert (faulty.ran.code, faulty.ran.statuses["before"]) == (3, "success")
    bench.injected += 1
    assert not bench.cli.survivors()
    assert not bench.traces.exists()
    bench.survived += 1


def test_a_trace_folder_that_is_renamed_midway_takes_its_records_along(bench):
    tasks = vandal(bench, "mv traces moved")
    faulty = bench.run(tasks, None, "-q")
    assert faulty.ran.code in {0, 3}
    assert "moved" in " ".join(faulty.ran.document["warnings"])
    bench.cli.folder.joinpath("moved").rename(bench.traces)
    assert_sound(bench, faulty)
