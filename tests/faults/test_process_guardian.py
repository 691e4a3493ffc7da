"""A dispatcher that is killed with SIGKILL leaves nothing: real dispatchers, processes counted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from dispatch_runner.process import MARKER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="searches /proc")

STUBBORN = 'trap "" HUP INT TERM'
SECONDS_TO_END = 3.0
"""About one is promised; the machine may be busy."""


class Killed:
    """Dispatchers to kill, and whoever carries the marker of this test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ready = folder / "ready"
        self.ready.touch()
        self.marker = f"test-{os.urandom(8).hex()}"
        self.started: list[subprocess.Popen[bytes]] = []

    def dispatcher(self, script: str, *, count: int = 1) -> "subprocess.Popen[bytes]":
        """One that runs the shell script as a task, so many times."""
        config = self.folder / "agents.toml"
        program = json.dumps(["/bin/sh", "-c", script])
        config.write_text(
            f'[agents.program]\nbackend = "command"\ncommand = {program}\nstdin = "none"\noutput = "exit"\n'
        )
        tasks = [{"task_id": str(n), "agent": "program", "input_data": {}} for n in range(count)]
        request = self.folder / "request.json"
        request.write_text(json.dumps({"tasks": tasks}))
        command = [sys.executable, "-m", "dispatch_runner", "--quiet", "--config", str(config)]
        with request.open("rb") as stdin:
            return self.start(command, stdin)

    def start(self, command: Sequence[str], stdin: IO[bytes] | int) -> "subprocess.Popen[bytes]":
        """A process whose programs' markers begin with the one of this test."""
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, MARKER: self.marker},
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def wait_for(self, lines: int) -> list[str]:
        """What the programs wrote to the file `ready`, once it is so many lines."""
        self._until(lambda: self.ready.read_text().count("\n") >= lines, 20)
        return self.ready.read_text().split()

    def left(self) -> list[int]:
        """Ids of living processes that carry the marker."""
        needle = f"{MARKER}={self.marker}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(variable.startswith(needle) for variable in variables):
                found.append(int(folder.name))
        return found

    def assert_nothing_is_left(self) -> None:
        self._until(lambda: not self.left(), SECONDS_TO_END)

    def assert_ended(self, pid: int) -> None:
        self._until(lambda: not is_alive(pid), SECONDS_TO_END)

    def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        # other processes cannot tell us of their end, so they are looked at
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"still there: {self.left()}"
            time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether it runs; its parent may be slow to take note of its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Killed]:
    value = Killed(tmp_path)
    yield value
    for process in value.started:  # so that a failing test leaves nothing either
        with process:
            process.kill()
    for pid in value.left():
        os.kill(pid, signal.SIGKILL)


def kill(process: "subprocess.Popen[bytes]") -> bytes:
    """Ends it like the kernel does when memory is short; gives what it printed until its end."""
    process.kill()
    printed, _ = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    return printed


@pytest.mark.parametrize(
    ("script", "processes"),
    [
        ("echo >> ready; exec sleep 60", 1),
        ("sleep 60 & (sleep 60 &) ; echo >> ready; wait; sleep 60", 1),
        ("(setsid sh -c 'echo >> ready; exec sleep 60' &) ; exec sleep 60", 1),
        (f"{STUBBORN}; echo >> ready; while :; do sleep 60; done", 1),
        (f"setsid sh -c '{STUBBORN}; echo >> ready; while :; do sleep 60; done' & wait", 1),
        ("echo >> ready; kill -STOP $$", 1),
    ],
    ids=["plain", "grandchildren", "daemon", "stubborn", "stubborn-session", "stopped"],
)
def test_what_a_killed_dispatcher_started_ends(killed: Killed, script: str, processes: int) -> None:
    dispatcher = killed.dispatcher(script)
    killed.wait_for(processes)
    kill(dispatcher)
    killed.assert_nothing_is_left()


def test_a_program_without_environment_is_found_below_its_parent(killed: Killed) -> None:
    dispatcher = killed.dispatcher(
        "env -i /usr/bin/setsid /bin/sh -c 'echo $$ >> ready; exec /bin/sleep 60' & wait"
    )
    (pid,) = killed.wait_for(1)
    kill(dispatcher)
    killed.assert_nothing_is_left()
    killed.assert_ended(int(pid))


def test_an_orphan_without_environment_is_found_by_its_session(killed: Killed) -> None:
    dispatcher = killed.dispatcher(
        "(env -i /bin/sh -c 'echo $$ >> ready; exec /bin/sleep 60' &) ; exec sleep 60"
    )
    (pid,) = killed.wait_for(1)
    kill(dispatcher)
    killed.assert_nothing_is_left()
    killed.assert_ended(int(pid))


def test_a_daemon_without_environment_in_its_own_session_is_found_by_its_tag(
    killed: Killed,
) -> None:
    dispatcher = killed.dispatcher(
        "(env -i /usr/bin/setsid /bin/sh -c 'echo $$ >> ready; exec /bin/sleep 60' &) ; exec sleep 60"
    )
    (pid,) = killed.wait_for(1)
    kill(dispatcher)
    killed.assert_nothing_is_left()
    killed.assert_ended(int(pid))


def test_all_of_many_programs_end(killed: Killed) -> None:
    dispatcher = killed.dispatcher("(setsid sleep 60 &) ; echo >> ready; exec sleep 60", count=5)
    killed.wait_for(5)
    kill(dispatcher)
    killed.assert_nothing_is_left()


def test_programs_of_a_dispatcher_inside_end_with_the_outer_one(killed: Killed) -> None:
    inner = killed.folder / "inner"
    inner.mkdir()
    nested = Killed(inner)
    nested.marker = killed.marker
    innermost = f"(setsid sh -c 'echo >> {killed.ready}; exec sleep 60' &) ; exec sleep 60"
    config = inner / "agents.toml"
    config.write_text(
        f'[agents.program]\nbackend = "command"\ncommand = {json.dumps(["sh", "-c", innermost])}\nstdin = "none"\n'
    )
    request = inner / "request.json"
    request.write_text('{"tasks": [{"task_id": "a", "agent": "program", "input_data": {}}]}')
    dispatcher = killed.dispatcher(
        f"cd {inner}; {sys.executable} -m dispatch_runner --quiet --config {config} < {request}"
    )
    killed.wait_for(1)
    kill(dispatcher)
    killed.assert_nothing_is_left()


@pytest.mark.parametrize("way", ["dialogue", "stream"])
def test_it_does_not_matter_how_the_program_is_talked_to(killed: Killed, way: str) -> None:
    code = (
        "import anyio, os, sys\n"
        "from dispatch_runner.process import stream\n"
        "from dispatch_runner.process.dialogue import dialogue\n"
        "command = ['sh', '-c', '(setsid sleep 60 &) ; echo >> ready; exec sleep 60']\n"
        "async def in_dialogue():\n"
        "    async with dialogue(command, env=os.environ) as program:\n"
        "        await program.wait_end()\n"
        "async def in_stream():\n"
        "    await stream(command, env=os.environ, on_line=print)\n"
        f"anyio.run(in_{way})\n"
    )
    killed.start([sys.executable, "-c", code], subprocess.DEVNULL)
    killed.wait_for(1)
    kill(killed.started[0])
    killed.assert_nothing_is_left()


def test_a_library_s_process_that_just_ends_leaves_no_guardian(killed: Killed) -> None:
    code = (
        "import anyio, os\n"
        "from dispatch_runner.process import run\n"
        "anyio.run(lambda: run(['true'], env=os.environ))\n"
    )
    process = killed.start([sys.executable, "-W", "error", "-c", code], subprocess.DEVNULL)
    printed, _ = process.communicate(timeout=20)
    assert (process.returncode, printed) == (0, b"")
    assert killed.left() == []


def test_who_reads_the_output_of_a_killed_dispatcher_sees_its_end(killed: Killed) -> None:
    dispatcher = killed.dispatcher("echo >> ready; exec sleep 60")
    killed.wait_for(1)
    assert kill(dispatcher) == b""  # and not a time-out, as nobody else holds the pipe


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_its_whole_session_leave_the_guardian_alone(
    killed: Killed, number: signal.Signals
) -> None:
    stubborn = f"{STUBBORN}; echo >> ready; while :; do sleep 60; done"
    dispatcher = killed.dispatcher(stubborn)
    killed.wait_for(1)
    os.killpg(dispatcher.pid, number)
    kill(dispatcher)
    killed.assert_nothing_is_left()


def test_a_dispatch_that_ends_by_itself_leaves_no_guardian(killed: Killed) -> None:
    dispatcher = killed.dispatcher("echo >> ready")
    dispatcher.communicate(timeout=20)
    assert dispatcher.returncode == 0
    assert killed.left() == []
