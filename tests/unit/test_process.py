"""Programs start, their output is kept within bounds, and what goes wrong is said."""

import errno
import itertools
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.models import ErrorType
from dispatch_runner.process import (
    MARKER,
    Completed,
    cut,
    descriptor_headroom,
    raise_descriptor_limit,
    run,
)
from dispatch_runner.process.family import group
from dispatch_runner.process.launch import Child, patiently

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"PATH": os.environ["PATH"]}


async def shell(script: str, **options: object) -> Completed:
    return await run(["sh", "-c", script], env=ENVIRONMENT, **options)  # type: ignore[arg-type]


async def refusal(*command: str, **options: object) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await run(command, **{"env": ENVIRONMENT, **options})  # type: ignore[arg-type]
    return caught.value


def open_descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@contextmanager
def descriptors_limited_to(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def started(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, start_new_session=True)


@pytest.mark.parametrize("code", [0, 1, 75, 127, 255])
async def test_an_exit_code_is_reported_as_it_is(code: int) -> None:
    completed = await shell(f"exit {code}")
    assert (completed.returncode, completed.signal, completed.leftovers) == (code, None, 0)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGPIPE"])
async def test_a_signal_that_killed_the_program_is_named(name: str) -> None:
    completed = await shell(f"kill -{name[3:]} $$")
    assert (completed.returncode, completed.signal) == (-signal.Signals[name], name)


async def test_standard_input_arrives_whole_and_ends() -> None:
    content = os.urandom(300_000)
    completed = await run(["cat"], env=ENVIRONMENT, stdin=content)
    assert completed.stdout.content() == content


async def test_a_program_that_never_reads_its_input_does_not_hold_us() -> None:
    completed = await shell("exit 4", stdin=b"x" * 5_000_000)
    assert completed.returncode == 4


async def test_without_input_standard_input_is_empty() -> None:
    assert (await run(["cat"], env=ENVIRONMENT)).stdout.size == 0


async def test_the_environment_is_what_was_given_and_the_marker() -> None:
    completed = await run(["env"], env={"PATH": os.environ["PATH"], "A": "é"}, marker="m-1")
    lines = set(completed.stdout.text().splitlines())
    assert lines - {f"PATH={os.environ['PATH']}"} == {"A=é", f"{MARKER}=m-1"}


async def test_markers_are_unique_for_each_start() -> None:
    seen = {(await shell(f"echo ${MARKER}")).stdout.text() for _ in range(5)}
    assert len(seen) == 5


async def test_the_program_leads_its_own_session_in_its_own_directory(tmp_path: Path) -> None:
    script = "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid(), os.getcwd())"
    completed = await run([sys.executable, "-c", script], env=ENVIRONMENT, cwd=tmp_path)
    assert completed.stdout.text() == f"True {tmp_path}\n"


async def test_output_goes_to_the_named_files_which_only_the_owner_reads(tmp_path: Path) -> None:
    out, err = tmp_path / "a.out", tmp_path / "a.err"
    completed = await shell("echo one; echo two >&2", stdout=out, stderr=err)
    assert (out.read_text(), err.read_text()) == ("one\n", "two\n")
    assert (completed.stdout.path, completed.stdout.size) == (out, 4)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


async def test_temporary_output_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    completed = await shell("echo one")
    assert files_in(tmp_path) == []
    assert completed.stdout.text() == "one\n"


async def test_no_descriptor_is_left_open() -> None:
    await shell("true")
    before = open_descriptors()
    for _ in range(3):
        await shell("echo x; exit 1")
        await refusal("no-such-program")
    assert open_descriptors() == before


async def test_an_output_file_is_never_opened_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)
    with suppress(
        RecordError
    ):  # where the file has its name from the start; else the link is replaced
        await shell("echo x", stdout=link)
    assert target.read_text() == "precious"


async def test_bytes_that_are_not_text_survive() -> None:
    completed = await shell(r"printf 'a\377\000\033[31mb\r\n'")
    assert completed.stdout.content() == b"a\xff\0\x1b[31mb\r\n"
    assert completed.stdout.text() == "a\ufffd\0\x1b[31mb\r\n"


async def test_text_is_cut_in_the_middle_and_its_tail_can_be_had() -> None:
    completed = await shell("printf 'é%.0s' $(seq 3000)")
    text = completed.stdout.text(100)
    assert len(text) == 100
    assert text.startswith("éé")
    assert "omitted" in text
    assert text.endswith("éé")
    assert completed.stdout.tail(7) == "é" * 7


@pytest.mark.parametrize("limit", [1, 10, 60, 99, 100, 101])
def test_a_cut_text_is_never_longer_than_its_limit(limit: int) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(100))
    result = cut(text, limit)
    assert len(result) <= limit
    assert result == text or result.endswith(text[-min(limit, 8) :])


@pytest.mark.parametrize("size", [1023, 1024, 1025, 1088, 5000, 3_000_000])
async def test_a_large_output_keeps_head_and_tail_around_a_mark(tmp_path: Path, size: int) -> None:
    out = tmp_path / "out"
    content = b"".join(b"%09d\n" % number for number in range(size // 10 + 1))[:size]
    completed = await run(["cat"], env=ENVIRONMENT, stdin=content, stdout=out, output_limit=1024)
    kept = out.read_bytes()
    assert completed.stdout.size == size
    assert completed.stdout.truncated is (size > 1024)
    if size <= 1024:
        assert kept == content
    else:
        omitted = size - 512 - 448
        assert kept[:512] == content[:512]
        assert kept[512:576].strip() == f"[... {omitted} bytes omitted ...]".encode()
        assert kept[576:] == content[-448:]


async def test_a_missing_program_is_unavailable_for_good() -> None:
    error = await refusal("no-such-program")
    assert (error.type, error.retryable) == (ErrorType.UNAVAILABLE, False)
    assert error.message == "cannot start 'no-such-program': No such file or directory"
    assert error.hint is not None
    assert "install" in error.hint


async def test_the_program_is_looked_for_on_the_path_that_it_will_see(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    completed = await run(["tool"], env={"PATH": str(tmp_path)})
    assert completed.stdout.text() == "found\n"
    assert (await refusal("tool")).type is ErrorType.UNAVAILABLE


async def test_a_program_that_moved_between_two_starts_is_found_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    tool = first / "tool"
    tool.write_text("#!/bin/sh\necho moved\n")
    tool.chmod(0o755)
    env = {"PATH": f"{first}:{second}:{os.environ['PATH']}"}
    assert (await run(["tool"], env=env)).stdout.text() == "moved\n"
    tool.rename(second / "tool")
    assert (await run(["tool"], env=env)).stdout.text() == "moved\n"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("not a program", 0o755, "Exec format error"),
        ("#!/no/such/interpreter\n", 0o755, "No such file"),
    ],
)
async def test_a_file_that_is_no_program_is_unavailable(
    tmp_path: Path, content: str, mode: int, said: str
) -> None:
    tool = tmp_path / "tool"
    tool.write_text(content)
    tool.chmod(mode)
    error = await refusal(str(tool))
    assert (error.type, error.retryable) == (ErrorType.UNAVAILABLE, False)
    assert said in error.message
    assert error.hint


@pytest.mark.parametrize("kind", ["missing", "file"])
async def test_a_working_directory_that_is_none_is_a_missing_file(
    tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / kind
    if kind == "file":
        folder.touch()
    error = await refusal("true", cwd=folder)
    assert error.type is ErrorType.MISSING_FILE
    assert f"working directory '{folder}'" in error.message


@pytest.mark.parametrize("argument", ["a\0b", "\ud800", "x" * 200_000])
async def test_arguments_that_the_system_refuses_are_invalid_input(argument: str) -> None:
    error = await refusal("echo", argument)
    assert (error.type, error.retryable) == (ErrorType.INVALID_INPUT, False)
    assert len(str(error.as_value())) < 1000


async def test_variables_that_the_system_refuses_are_invalid_input() -> None:
    error = await refusal("true", env={**ENVIRONMENT, "A": "a\0b"})
    assert error.type is ErrorType.INVALID_INPUT


def free_numbers() -> Iterator[int]:
    """Numbers of descriptors that are not in use: a limit bounds the numbers, not how many there are."""
    used = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return (number for number in itertools.count() if number not in used)


async def test_a_lack_of_descriptors_is_transient() -> None:
    one, two = itertools.islice(free_numbers(), 2)
    assert one < two
    with descriptors_limited_to(two):
        error = await refusal("true")
    assert (error.type, error.retryable) == (ErrorType.UNAVAILABLE, True)


async def test_a_lack_that_passes_is_waited_for() -> None:
    answers = iter([errno.EAGAIN, errno.EMFILE, None])

    def scarce() -> str:
        if (number := next(answers)) is not None:
            raise OSError(number, os.strerror(number))
        return "there"

    assert await patiently(scarce) == "there"


async def test_other_errors_are_not_waited_for() -> None:
    calls = []

    def wrong() -> None:
        calls.append(1)
        raise PermissionError(errno.EACCES, "no")

    with pytest.raises(PermissionError):
        await patiently(wrong)
    assert calls == [1]


async def test_without_handles_of_processes_the_end_is_found_by_polling() -> None:
    child = Child(started("sh", "-c", "sleep 0.02; exit 9"), "m", 0)
    assert await child.wait_by_polling() == 9


async def test_an_exit_code_that_someone_else_took_is_not_guessed() -> None:
    popen = started("true")
    child = Child(popen, "m", 0)
    popen.wait()
    with pytest.raises(AgentError, match="taken by someone else"):
        await child.wait()


async def test_without_a_process_table_the_family_is_the_process_group() -> None:
    popen = started("sleep", "60")
    assert [member.pid for member in group(popen.pid)] == [-popen.pid]
    popen.kill()
    popen.wait()
    assert group(popen.pid) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the signal mask is read in a child")
def test_exit_codes_are_right_although_sigchld_was_ignored_by_our_parent() -> None:
    script = (
        "import anyio, os\n"
        "from dispatch_runner.process import run\n"
        "print(anyio.run(lambda: run(['sh', '-c', 'exit 3'], env=os.environ)).returncode)\n"
    )
    shell_line = f'trap "" CHLD; exec {sys.executable} -c "$SCRIPT"'
    done = subprocess.run(
        ["bash", "-c", shell_line],
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_the_descriptor_limit_is_raised_and_never_lowered() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with descriptors_limited_to(200):
        raise_descriptor_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised == (min(hard, 65_536), hard)


def test_the_headroom_shrinks_with_every_open_file() -> None:
    before = descriptor_headroom()
    null = Path(os.devnull)
    with null.open("rb"), null.open("rb"):
        assert descriptor_headroom() == before - 2


async def test_programs_run_at_the_same_time(tmp_path: Path) -> None:
    # each waits until all are there: one after the other, the first would wait for ever
    together = (
        f'touch {tmp_path}/$$; until [ "$(ls {tmp_path} | wc -l)" -ge 5 ]; do sleep 0.01; done'
    )
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(shell, together)
    assert len(files_in(tmp_path)) == 5
