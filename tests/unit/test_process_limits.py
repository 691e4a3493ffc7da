"""The kernel holds a program within its limits, and what a limit ended is told."""

import os
import resource
import sys
from pathlib import Path

import pytest

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.process import Completed, ResourceLimits, run, stream
from dispatch_runner.process.dialogue import dialogue

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="not every system holds every limit"),
]

ENVIRONMENT = {"PATH": os.environ["PATH"]}
MEBIBYTE = 1 << 20


async def python(code: str, limits: ResourceLimits) -> Completed:
    return await run([sys.executable, "-I", "-S", "-c", code], env=ENVIRONMENT, limits=limits)


async def test_a_program_that_wants_more_memory_than_its_limit_is_refused_it() -> None:
    limits = ResourceLimits(memory_bytes=100 * MEBIBYTE)
    allowed = await python("bytearray(50 << 20)", limits)
    refused = await python("bytearray(150 << 20)", limits)
    assert allowed.returncode == 0
    assert refused.returncode == 1
    assert "MemoryError" in refused.stderr.text()
    assert refused.exceeded is None, "it ended by itself, so that is not known"


async def test_what_a_program_starts_is_held_too() -> None:
    code = (
        "import os, sys; os.execv('/bin/sh', ['sh', '-c', "
        "sys.executable + ' -I -S -c \"bytearray(150 << 20)\"; echo $?'])"
    )
    completed = await python(code, ResourceLimits(memory_bytes=100 * MEBIBYTE))
    assert completed.stdout.text() == "1\n"


async def test_memory_that_is_only_reserved_does_not_count() -> None:
    code = "import mmap; mmap.mmap(-1, 4 << 30, prot=0)"
    completed = await python(code, ResourceLimits(memory_bytes=100 * MEBIBYTE))
    assert completed.returncode == 0, completed.stderr.text()


@pytest.mark.slow
async def test_a_program_that_burns_its_cpu_time_is_ended_and_that_is_told() -> None:
    completed = await python("while True: pass", ResourceLimits(cpu_seconds=1))
    assert completed.signal == "SIGXCPU"
    assert completed.exceeded == "its limit of 1 second of CPU time"


@pytest.mark.slow
async def test_one_that_ignores_the_signal_is_killed_a_second_later() -> None:
    code = "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    completed = await python(code, ResourceLimits(cpu_seconds=1))
    assert completed.signal == "SIGKILL"
    assert completed.exceeded == "its limit of 1 second of CPU time"


@pytest.mark.slow
async def test_a_shell_whose_program_was_ended_by_a_limit_tells_it_by_its_exit_code() -> None:
    burn = f"{sys.executable} -I -S -c 'while True: pass'"
    completed = await run(
        ["sh", "-c", f"{burn}; exit $?"], env=ENVIRONMENT, limits=ResourceLimits(cpu_seconds=1)
    )
    assert completed.exceeded == "its limit of 1 second of CPU time"


async def test_a_killed_program_that_used_little_was_not_ended_by_a_limit() -> None:
    limits = ResourceLimits(cpu_seconds=1)
    completed = await run(["sh", "-c", "kill -KILL $$"], env=ENVIRONMENT, limits=limits)
    assert (completed.signal, completed.exceeded) == ("SIGKILL", None)


async def test_open_files_are_bounded() -> None:
    code = "import os\nfor n in range(100):\n os.open('/dev/null', 0)"
    completed = await python(code, ResourceLimits(open_files=50))
    assert "Too many open files" in completed.stderr.text()
    assert (await python(code, ResourceLimits(open_files=200))).returncode == 0


async def test_a_file_that_grows_past_its_limit_ends_the_program(tmp_path: Path) -> None:
    limits = ResourceLimits(file_size_bytes=10_240)
    completed = await run(
        ["sh", "-c", f"exec head -c 50000 /dev/zero > {tmp_path}/file"],
        env=ENVIRONMENT,
        limits=limits,
    )
    assert (tmp_path / "file").stat().st_size == 10_240
    assert completed.signal == "SIGXFSZ"
    assert completed.exceeded == "its limit of 10240 bytes for a file"


async def test_output_that_is_read_while_it_comes_is_no_file() -> None:
    lines: list[bytes] = []
    command = ["seq", "5000"]
    limits = ResourceLimits(file_size_bytes=10_240)
    completed = await stream(command, env=ENVIRONMENT, on_line=lines.append, limits=limits)
    assert (completed.returncode, len(lines)) == (0, 5000)
    assert (await run(command, env=ENVIRONMENT, limits=limits)).signal == "SIGXFSZ"


async def test_a_dialogue_tells_which_limit_ended_it(tmp_path: Path) -> None:
    limits = ResourceLimits(file_size_bytes=1024)
    script = f"exec head -c 5000 /dev/zero > {tmp_path}/file"
    async with dialogue(["sh", "-c", script], env=ENVIRONMENT, limits=limits) as program:
        await program.wait_end()
        assert program.epitaph() == "was ended by its limit of 1024 bytes for a file"


async def test_arguments_stdin_and_exit_code_are_the_program_s_own() -> None:
    script = 'cat; printf "[%s]" "$0" "$@"; exit 9'
    completed = await run(
        ["sh", "-c", script, "a b", "", "$HOME", "-x"],
        env=ENVIRONMENT,
        stdin=b"in:",
        limits=ResourceLimits(open_files=100),
    )
    assert completed.stdout.text() == "in:[a b][][$HOME][-x]"
    assert completed.returncode == 9


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("no-such-program", None, "No such file or directory"),
        ("./plain", 0o644, "Permission denied"),
        ("./missing", None, "No such file or directory"),
        ("./folder", None, "Permission denied"),
    ],
)
async def test_a_program_that_cannot_run_is_refused_as_without_limits(
    tmp_path: Path, name: str, mode: int | None, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    if mode is not None:
        (tmp_path / name).touch(mode=mode)
    messages = []
    for limits in (None, ResourceLimits(open_files=100)):
        with pytest.raises(AgentError, match=said) as caught:
            await run([name], env=ENVIRONMENT, cwd=tmp_path, limits=limits)
        assert caught.value.type is ErrorType.UNAVAILABLE
        messages.append((caught.value.message, caught.value.hint))
    assert messages[0] == messages[1]


async def test_a_limit_never_raises_what_holds_already() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    completed = await run(
        ["sh", "-c", "ulimit -Hn"], env=ENVIRONMENT, limits=ResourceLimits(open_files=2**40)
    )
    assert completed.stdout.text().strip() == str(most)
