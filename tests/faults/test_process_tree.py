"""Nothing that a program started outlives it: real processes, counted by their marker."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from dispatch_runner.process import MARKER, Completed, end_everything, run

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc"),
]

ENVIRONMENT = {"PATH": os.environ["PATH"]}

STUBBORN = 'trap "" INT TERM'
"""For a shell script: not to be asked."""


def marked(marker: str) -> list[int]:
    """Ids of the living processes that carry a marker."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(v.startswith(f"{MARKER}={marker}".encode()) for v in variables):
            found.append(int(folder.name))
    return found


def zombies() -> list[int]:
    """Ids of this process's dead children that nobody has reaped."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    stats = {int(pid): Path(f"/proc/{pid}/stat").read_text() for pid in pids}
    return [pid for pid, stat in stats.items() if stat.rpartition(")")[2].split()[0] == "Z"]


@pytest.fixture
def marker() -> Iterator[str]:
    value = f"test-{os.urandom(8).hex()}"
    yield value
    for pid in marked(value):  # so that a failing test leaves nothing either
        os.kill(pid, signal.SIGKILL)


async def shell(script: str, marker: str, **options: object) -> Completed:
    return await run(["sh", "-c", script], env=ENVIRONMENT, marker=marker, **options)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for another process to say something, which is all that it can do: write a file."""
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.002)


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def cancelled_when(
    condition: Callable[[], bool],
    action: Callable[[], Awaitable[object]],
) -> float:
    """Starts the action, cancels it once the condition holds, and gives the seconds it took to end."""
    async with anyio.create_task_group() as group:
        group.start_soon(action)
        await until(condition)
        start = anyio.current_time()
        group.cancel_scope.cancel()
    return anyio.current_time() - start


def appeared(path: Path, lines: int = 1) -> Callable[[], bool]:
    """Whether a file has so many lines: how a script says that it is where we want it."""
    return lambda: path.exists() and path.read_text().count("\n") >= lines


async def test_cancelling_ends_a_program_that_does_nothing(marker: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"echo >> {ready}; exec sleep 60"
    before = zombies()
    seconds = await cancelled_when(appeared(ready), lambda: shell(script, marker))
    assert marked(marker) == []
    assert zombies() == before
    assert seconds < 2


async def test_cancelling_ends_a_program_that_ignores_interrupt_and_terminate(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = f"{STUBBORN}; echo >> {ready}; while :; do sleep 60; done"
    seconds = await cancelled_when(appeared(ready), lambda: shell(script, marker))
    assert marked(marker) == []
    assert seconds < 2, "grace times are not spent on those who cannot hear"


async def test_cancelling_asks_before_it_kills(marker: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"trap 'echo INT >> {said}' INT; trap 'echo TERM >> {said}; exit' TERM; echo >> {said}; while :; do sleep 0.01; done"
    await cancelled_when(appeared(said), lambda: shell(script, marker, grace_seconds=0.1))
    assert said.read_text().split() == ["INT", "TERM"]
    assert marked(marker) == []


async def test_a_polite_program_gets_its_grace_time(marker: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"trap 'sleep 0.2; echo saved >> {said}; exit' INT; echo >> {said}; while :; do sleep 0.01; done"
    await cancelled_when(appeared(said), lambda: shell(script, marker))
    assert said.read_text().split() == ["saved"]


async def test_a_hurry_skips_the_grace_times(marker: str, tmp_path: Path) -> None:
    ready, hurry = tmp_path / "ready", anyio.Event()
    script = f"trap : INT TERM; echo >> {ready}; while :; do sleep 0.01; done"

    async def hurried() -> None:
        await shell(script, marker, grace_seconds=60, hurry=hurry)

    async with anyio.create_task_group() as group:
        group.start_soon(hurried)
        await until(appeared(ready))
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.05)
            assert marked(marker), "it is still within its grace time"
            hurry.set()
    assert marked(marker) == []


async def test_cancelling_ends_grandchildren_in_sessions_of_their_own(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    grandchild = f"setsid sh -c '{STUBBORN}; echo >> {ready}; while :; do sleep 60; done' &"
    script = f"{grandchild} {grandchild} echo >> {ready}; wait"
    await cancelled_when(appeared(ready, 3), lambda: shell(script, marker))
    assert marked(marker) == []


async def test_cancelling_ends_a_daemon_whose_parent_has_gone(marker: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    daemon = f"(setsid sh -c 'echo >> {ready}; exec sleep 60' &) ; echo >> {ready}; exec sleep 60"
    await cancelled_when(appeared(ready, 2), lambda: shell(daemon, marker))
    assert marked(marker) == []


async def test_cancelling_ends_a_stopped_program(marker: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"sleep 60 & echo >> {ready}; kill -STOP $! $$"
    seconds = await cancelled_when(appeared(ready), lambda: shell(script, marker))
    assert marked(marker) == []
    assert seconds < 2


async def test_cancelling_ends_a_process_that_emptied_its_environment_inside_the_tree(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = f"env -i /bin/sh -c 'echo $$ >> {ready}; exec /bin/sleep 60'; wait"
    await cancelled_when(appeared(ready), lambda: shell(script, marker))
    assert not exists(int(ready.read_text()))


async def test_an_orphan_without_environment_is_known_by_its_session(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    script = f"(env -i /bin/sh -c 'echo $$ >> {ready}; exec /bin/sleep 60' &); while ! [ -s {ready} ]; do :; done"
    completed = await shell(script, marker)
    assert completed.leftovers == 1
    assert not exists(int(ready.read_text()))


async def test_a_daemon_that_holds_the_output_open_does_not_hold_us(
    marker: str, tmp_path: Path
) -> None:
    completed = await shell("setsid sleep 60 & echo done", marker)
    assert completed.stdout.text() == "done\n"
    assert completed.leftovers == 1
    assert marked(marker) == []


async def test_what_a_program_left_behind_is_ended_and_counted(marker: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    daemon = f"(setsid sh -c '{STUBBORN}; echo >> {ready}; while :; do sleep 60; done' &)"
    script = f"{daemon}; {daemon}; sleep 60 & while [ $(wc -l < {ready}) -lt 2 ]; do :; done"
    ready.touch()
    completed = await shell(script, marker)
    assert completed.returncode == 0
    assert completed.leftovers >= 3
    assert marked(marker) == []


async def test_what_ends_by_itself_at_once_is_not_a_leftover(marker: str) -> None:
    completed = await shell("(setsid sleep 0.02 &) ; exit 3", marker)
    assert (completed.returncode, completed.leftovers) == (3, 0)


async def test_adopted_zombies_are_reaped(marker: str, tmp_path: Path) -> None:
    before = zombies()
    await shell("(sleep 0.01 &); (setsid sleep 60 &); sleep 0.05", marker)
    assert zombies() == before


async def test_one_program_s_end_does_not_touch_another_s_daemon(
    marker: str, tmp_path: Path
) -> None:
    ready, done = tmp_path / "ready", tmp_path / "done"
    first = f"(setsid sh -c 'echo >> {ready}; exec sleep 60' &); while ! [ -e {done} ]; do sleep 0.01; done"

    async with anyio.create_task_group() as group:
        group.start_soon(shell, first, marker)
        await until(appeared(ready))
        other = await shell("true", f"{marker}x")
        daemons_then = len(marked(marker))
        done.touch()
    assert other.leftovers == 0
    assert daemons_then >= 2
    assert marked(marker) == []


async def test_a_child_of_this_process_that_others_started_is_left_alone(marker: str) -> None:
    async with await anyio.open_process(["sleep", "60"], start_new_session=True) as other:
        await shell("(setsid sleep 60 &)", marker)
        assert other.returncode is None
        os.kill(other.pid, 0)
        other.kill()
        assert await other.wait() == -signal.SIGKILL


async def test_programs_of_a_dispatcher_that_was_killed_inside_a_program_are_ended(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    daemon = f"setsid sh -c 'echo >> {ready}; exec sleep 60' &"
    innermost = f"{daemon} while ! [ -e {ready} ]; do sleep 0.01; done; kill -KILL $PPID; wait"
    inner = (
        "import anyio, os\n"
        "from dispatch_runner.process import run\n"
        f'command = ["sh", "-c", {innermost!r}]\n'
        "anyio.run(lambda: run(command, env=os.environ))\n"
    )
    completed = await run([sys.executable, "-c", inner], env=ENVIRONMENT, marker=marker)
    assert completed.signal == "SIGKILL"  # its guardian may be quicker than we
    assert marked(marker) == []


async def test_a_daemon_without_environment_in_its_own_session_is_known_by_its_tag(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    hidden = f"(setsid env -i /bin/sh -c 'echo $$ >> {ready}; exec /bin/sleep 60' &)"
    completed = await shell(f"{hidden}; while ! [ -s {ready} ]; do :; done", marker)
    assert completed.leftovers == 1
    assert not exists(int(ready.read_text()))


async def test_a_process_that_hid_in_every_way_is_found_by_the_last_act(
    marker: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    code = (
        "import os, resource\n"
        "os.fork() and os._exit(0)\n"
        "os.setsid()\n"
        "resource.setrlimit(resource.RLIMIT_RTTIME, (resource.RLIM_INFINITY,) * 2)\n"
        f"open({str(ready)!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
        "os.execve('/bin/sleep', ['sleep', '60'], {})\n"
    )
    script = f'env -i {sys.executable} -I -S -c "$CODE"; until [ -s {ready} ]; do sleep 0.01; done; sleep 0.1'
    completed = await run(["sh", "-c", script], env={**ENVIRONMENT, "CODE": code}, marker=marker)
    pid = int(ready.read_text())
    assert completed.leftovers == 0
    assert exists(pid)
    assert await end_everything(grace_seconds=1, hurry=anyio.Event()) >= 1
    assert not exists(pid)


async def test_many_at_once_leave_nothing(marker: str, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"(setsid sleep 60 &); sleep 60 & echo >> {ready}; wait"

    async def many() -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(shell, script, f"{marker}-{number}")

    await cancelled_when(appeared(ready, 20), many)
    assert marked(marker) == []


async def test_a_daemon_is_found_however_early_its_program_ends(marker: str) -> None:
    # The daemon is often just becoming another program then, and shows no environment.
    found = []

    async def leave_a_daemon(number: int) -> None:
        completed = await shell("(setsid sleep 60 &)", f"{marker}-{number}")
        found.append(completed.leftovers)

    for _ in range(3):
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(leave_a_daemon, number)
    assert found == [1] * 60
    assert marked(marker) == []
