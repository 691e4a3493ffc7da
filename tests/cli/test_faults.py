"""What machines and people do to a dispatch, seen from outside: the document stays whole."""

import json
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/no/such", "/dev/null/x"])
def test_a_trace_folder_that_cannot_be_made_is_our_fault_and_starts_nothing(cli, place):
    """Root may write everywhere, but not below a file."""
    cli.write("file", "")
    ran = cli("--trace-dir", place, stdin=[cli.echo()], writes=())
    assert (ran.code, ran.codes) == (3, ["record_error"])
    assert place in ran.errors[0]["message"]
    assert "--trace-dir" in ran.errors[0]["hint"]
    assert "bug" not in ran.stderr


def program(cli, script, **keys):
    path = cli.write("agent.py", "import os, sys, time\n" + script)
    keys = {"output": "exit", "retries": 0, **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    command = json.dumps(["python3", "-S", "-E", str(path)])
    cli.settings("\n".join(["[agents.x]", f"command = {command}", *lines]) + "\n")


def test_the_trace_folder_vanishes_while_tasks_run(cli):
    program(cli, f"import shutil; shutil.rmtree({str(cli.folder / 'traces')!r})")
    tasks = [
        cli.echo("before"),
        cli.task("a", "x", dependencies=["before"]),
        cli.echo("after", ["a"]),
    ]
    process = cli.start("-q", stdin=-1)
    out, err = process.communicate(json.dumps({"tasks": tasks}).encode(), timeout=20)
    document = json.loads(out)
    assert process.returncode == 3
    assert [task["task_id"] for task in document["results"]] == ["before", "a", "after"]
    assert document["results"][0]["status"] == "success"
    assert "failed" in " ".join(document["warnings"])
    assert b"Traceback" not in err
    assert not cli.survivors()


def test_a_full_disk_stops_the_dispatch_and_loses_nothing_that_was_announced(cli):
    """A limit on the size of files is what a test can have instead: the journal hits it."""

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (96 << 10, 96 << 10))

    tasks = [cli.echo(f"t{n:03}") for n in range(600)]
    process = cli.start("-q", stdin=-1, preexec_fn=small_files)
    out, err = process.communicate(json.dumps({"tasks": tasks}).encode(), timeout=30)
    document = json.loads(out)
    assert process.returncode == 3, document["warnings"]
    assert {task["status"] for task in document["results"]} == {"success", "cancelled"}
    assert b"Traceback" not in err
    (folder,) = (cli.folder / "traces").glob("dispatch-*/")
    succeeded = [task["task_id"] for task in document["results"] if task["status"] == "success"]
    assert all((folder / f"{name}.json").is_file() for name in succeeded)


@pytest.mark.slow
def test_few_descriptors_make_programs_wait_and_not_fail(cli):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    program(cli, "")
    tasks = [cli.task(f"t{n}", "x") for n in range(30)]
    ran = cli("-q", "-j", "60", stdin=tasks, preexec_fn=few)
    assert ran.code == 0, {task["error"]["message"] for task in ran.tasks.values() if task["error"]}
    assert "ulimit -n" in " ".join(ran.document["warnings"])


@pytest.mark.slow
def test_killed_outright_it_keeps_what_finished(cli):
    program(cli, "open(os.environ['HOME'] + '/on', 'w').close(); time.sleep(1000)")
    process = cli.start("-q", stdin=-1)
    tasks = [cli.echo("done"), cli.task("a", "x", dependencies=["done"])]
    process.stdin.write(json.dumps({"tasks": tasks}).encode())
    process.stdin.close()
    cli.until((cli.home / "on").exists, "the program")
    process.send_signal(signal.SIGKILL)
    process.wait()
    cli.end_survivors()
    process.stdout.close()
    process.stderr.close()

    (entry,) = cli("traces", "list", "--json").document["dispatches"]
    assert entry["status"] == "crashed"
    assert cli("traces", "show", entry["name"]).document["status"] == "crashed"
    assert cli("traces", "show", entry["name"], "done").document["status"] == "success"
    assert cli("traces", "show", entry["name"], "a").code == 2
    assert cli("traces", "prune", "--keep", "0", text=True).text.strip() == entry["name"]


@pytest.mark.slow
def test_a_dispatch_that_runs_is_listed_so_and_is_not_pruned(cli):
    program(
        cli, "open(os.environ['HOME'] + '/on', 'w').close(); time.sleep(1000)", grace_seconds=0.1
    )
    process = cli.start("-q", stdin=-1)
    process.stdin.write(json.dumps({"tasks": [cli.task("a", "x")]}).encode())
    process.stdin.close()
    process.stdin = None
    cli.until((cli.home / "on").exists, "the program")
    beside = {"env": cli.environ, "cwd": cli.folder, "capture_output": True}
    listed = subprocess.run([cli.program, "traces", "list", "--json"], **beside)
    (entry,) = json.loads(listed.stdout)["dispatches"]
    assert entry["status"] == "running"
    pruned = subprocess.run([cli.program, "traces", "prune", "--keep", "0"], **beside)
    assert pruned.stdout == b""
    process.send_signal(signal.SIGTERM)
    assert cli.finish(process).code == 143


@pytest.mark.slow
def test_dispatches_side_by_side_in_one_folder(cli):
    text = json.dumps({"tasks": [cli.echo(f"t{n}") for n in range(50)]}).encode()
    running = [cli.start("-q", stdin=-1) for _ in range(4)]
    documents = [json.loads(process.communicate(text, timeout=30)[0]) for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert len({document["result_file"] for document in documents}) == 4
    assert cli("traces", "list", "--json").document["total"] == 4


@pytest.mark.slow
def test_a_file_lock_holds_across_dispatches(cli):
    script = """
inside = os.environ["HOME"] + "/inside"
os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
time.sleep(0.05)
os.remove(inside)
"""
    program(cli, script)
    text = json.dumps({"tasks": [
        cli.task(f"t{n}", "x", modifies_files=[str(cli.folder / "shared.txt")]) for n in range(2)
    ]}).encode()  # fmt: skip
    running = [cli.start("-q", stdin=-1) for _ in range(3)]
    for process in running:
        process.stdin.write(text)
        process.stdin.close()
        process.stdin = None
    for process in running:
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, (out, err)


@pytest.mark.parametrize("missing", ["HOME", "PATH", "LANG", "TMPDIR"])
def test_a_poor_environment_is_enough(cli, missing):
    cli.environ.pop(missing, None)
    if missing == "TMPDIR":
        cli.environ["TMPDIR"] = "/no/such/folder"
    assert cli(stdin=[cli.echo()]).code == 0


def test_a_restrictive_umask(cli):
    ran = cli(stdin=[cli.echo()], preexec_fn=lambda: os.umask(0o777))
    assert ran.code == 0
    folder = Path(ran.document["result_file"]).parent
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_trace_folder_through_a_link_and_a_planted_link(cli):
    victim = cli.write("victim", "precious")
    cli.folder.joinpath("real").mkdir()
    cli.folder.joinpath("traces").symlink_to("real")
    ran = cli(stdin=[cli.echo()], writes=("traces", "real"))
    assert ran.code in {0, 3}
    shutil.rmtree(cli.folder / "real")
    cli.folder.joinpath("traces").unlink()
    cli.folder.joinpath("traces").symlink_to("victim")
    assert cli(stdin=[cli.echo()], writes=()).code == 3
    assert victim.read_text() == "precious"
