"""Closed, broken, slow and odd streams: a result is never lost."""

import fcntl
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

BIG = 5 << 20


def one(cli, size=0):
    return json.dumps({"tasks": [cli.echo(input_data={"text": "x" * size})]}).encode()


def shell(cli, line, **options):
    """Runs a shell line, in which $D is the program and one.json a request."""
    cli.write("one.json", one(cli))
    environ = cli.environ | {"D": str(cli.program)}
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cli.folder,
        env=environ,
        capture_output=True,
        timeout=20,
        **options,
    )


def kept(cli):
    """The only result on disk."""
    (file,) = (cli.folder / "traces").glob("*/result.json")
    return json.loads(file.read_bytes())


def test_stdout_closed(cli):
    done = shell(cli, "$D -q < one.json >&-")
    assert done.returncode == 3
    assert b"stdout is closed" in done.stderr
    assert b"result.json" in done.stderr
    assert kept(cli)["status"] == "success"


def test_stdout_a_pipe_that_nobody_reads_any_more(cli):
    done = shell(cli, "$D -q < one.json | head -c 0; exit ${PIPESTATUS[0]}")
    assert done.returncode == 3
    assert b"Broken pipe" in done.stderr
    assert b"result.json" in done.stderr
    assert kept(cli)["status"] == "success"


def test_stdout_a_full_device(cli):
    done = shell(cli, "$D -q < one.json > /dev/full")
    assert done.returncode == 3
    assert b"No space left" in done.stderr
    assert kept(cli)["status"] == "success"


@pytest.mark.parametrize("closing", ["2>&-", "2>/dev/full", "2> >(exec 0<&-; sleep 0.2)"])
def test_stderr_gone_changes_nothing_on_stdout(cli, closing):
    done = shell(cli, f"$D < one.json {closing}")
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "success"
    done = shell(cli, f"$D no-such-file {closing}")
    assert done.returncode == 2
    assert json.loads(done.stdout)["status"] == "rejected"


def test_stdin_closed_is_an_empty_document(cli):
    done = shell(cli, "$D <&-")
    assert done.returncode == 2
    (error,) = json.loads(done.stdout)["errors"]
    assert error["code"] == "empty_document"


def test_stdin_that_can_only_be_written(cli):
    done = shell(cli, "$D 0>/dev/null")
    assert done.returncode == 2
    assert "cannot read stdin" in json.loads(done.stdout)["errors"][0]["message"]


def test_all_streams_closed(cli):
    assert shell(cli, "$D <&- >&- 2>&-").returncode == 3
    assert not (cli.folder / "traces").exists()
    assert shell(cli, "$D run one.json <&- >&- 2>&-").returncode == 3
    assert kept(cli)["status"] == "success"


def test_no_record_lands_where_a_closed_stream_was(cli):
    """Descriptor 1 is free when files are opened: none of them may get it."""
    done = shell(cli, "$D run one.json --progress json <&- 2>&-")
    assert json.loads(done.stdout)["status"] == "success"
    for path in (cli.folder / "traces").rglob("*.json"):
        json.loads(path.read_bytes())


def test_stdin_a_directory_is_pythons_own_refusal(cli):
    """Python ends before our first line does; what matters is that it is no success."""
    done = shell(cli, "$D < /")
    assert done.returncode != 0
    assert not (cli.folder / "traces").exists()


@pytest.mark.parametrize("file", ["folder", "missing.json", "no/such/folder.json"])
def test_a_file_that_cannot_be_read(cli, file):
    cli.folder.joinpath("folder").mkdir()
    ran = cli("run", file, writes=())
    assert (ran.code, ran.codes) == (2, ["usage"])
    assert file in ran.errors[0]["message"]


def test_the_working_directory_is_gone(cli):
    done = shell(cli, "mkdir gone; cd gone; rmdir ../gone; $D -q < ../one.json")
    assert done.returncode == 2
    assert "working directory" in json.loads(done.stdout)["errors"][0]["message"]
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["--version", "--help", "version", "run --help", "agents"])
@pytest.mark.slow
def test_text_that_nobody_takes_is_no_traceback(cli, flag):
    done = shell(cli, f"$D {flag} | head -c 0; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    assert b"stdout" in done.stderr


def test_a_slow_reader_gets_all_of_a_large_result(cli):
    process = cli.start("-q", stdin=-1)
    process.stdin.write(one(cli, BIG))
    process.stdin.close()
    process.stdin = None
    cli.until(lambda: list(cli.folder.glob("traces/*/result.json")), "the result on disk")
    cli.until(lambda: sleeping(process.pid), "the program to wait for us")
    ran = cli.finish(process)
    assert ran.code == 0
    document = ran.document
    assert len(document["results"][0]["output"]["text"]) == BIG


@pytest.mark.parametrize("kind", ["pipe", pytest.param("socket", marks=pytest.mark.slow)])
def test_a_stdout_that_does_not_block_gets_all_of_it(cli, kind):
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        pair = socket.socketpair()
        reader, writer = (os.dup(end.fileno()) for end in pair)
        for end in pair:
            end.close()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    process = cli.start("-q", stdin=-1, stdout=writer)
    os.close(writer)
    process.stdin.write(one(cli, BIG))
    process.stdin.close()
    with os.fdopen(reader, "rb") as file:
        document = json.loads(file.read())
    assert process.wait(20) == 0
    assert len(document["results"][0]["output"]["text"]) == BIG
    process.stderr.close()


def test_a_stdin_that_does_not_block_is_read_to_its_end(cli):
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
    process = cli.start("-q", stdin=reader)
    os.close(reader)
    text = one(cli, 100)
    os.write(writer, text[:20])
    cli.until(lambda: sleeping(process.pid), "the program to wait for more")
    os.write(writer, text[20:])
    os.close(writer)
    assert cli.finish(process).code == 0


def test_a_signal_ends_the_wait_for_a_reader_that_takes_nothing(cli):
    process = cli.start("-q", stdin=-1)
    process.stdin.write(one(cli, BIG))
    process.stdin.close()
    cli.until(lambda: list(cli.folder.glob("traces/*/result.json")), "the result on disk")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 3
    assert b"result.json" in process.stderr.read()
    assert kept(cli)["status"] == "success"
    process.stdout.close()
    process.stderr.close()


def test_nothing_that_runs_below_us_can_write_to_stdout(cli):
    script = cli.write(
        "noisy.sh", "#!/bin/sh\necho to stdout\necho x > /proc/$PPID/fd/1 2>/dev/null\n", mode=0o755
    )
    cli.settings(f'[agents.noisy]\ncommand = ["{script}"]\nstdin = "none"\noutput = "text"\n')
    ran = cli("-q", stdin=[cli.task("a", "noisy")])
    assert ran.code == 0


def sleeping(pid):
    """Whether a process waits for something, and has not just been begun."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "S" and b"dispatch" in Path(f"/proc/{pid}/cmdline").read_bytes()
