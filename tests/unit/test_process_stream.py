"""Lines are handed over while a program runs, and all that it printed is kept."""

import os
import resource
import signal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.process import Completed, stream
from dispatch_runner.process.stream import CHUNK_BYTES

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"PATH": os.environ["PATH"]}


async def shell(script: str, lines: list[bytes], **options: object) -> Completed:
    command = ["sh", "-c", script]
    return await stream(command, env=ENVIRONMENT, on_line=lines.append, **options)  # type: ignore[arg-type]


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("", []),
        ("a\\nb\\n", [b"a", b"b"]),
        ("a\\n\\nb", [b"a", b"", b"b"]),
        ("\\n", [b""]),
        ("a\\r\\n\\377\\000\\n", [b"a\r", b"\xff\0"]),
    ],
)
async def test_every_line_is_handed_over_without_its_newline(
    printed: str, expected: list[bytes]
) -> None:
    lines: list[bytes] = []
    completed = await shell(f"printf '{printed}'; echo err >&2; exit 3", lines)
    assert lines == expected
    assert (completed.returncode, completed.lines_skipped) == (3, 0)
    assert completed.stderr.text() == "err\n"


async def test_a_line_is_handed_over_as_soon_as_it_is_written(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    heard: list[bytes] = []

    def reply(line: bytes) -> None:
        heard.append(line)
        answer.write_bytes(line)

    # the program prints the second line only when the first was heard
    script = f"echo one; until [ -s {answer} ]; do sleep 0.005; done; echo two"
    with anyio.fail_after(10):
        await stream(["sh", "-c", script], env=ENVIRONMENT, on_line=reply)
    assert heard == [b"one", b"two"]


async def test_stdin_is_read_and_all_of_stdout_is_kept_in_its_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    content = b"".join(b"%09d\n" % number for number in range(50_000))
    lines: list[bytes] = []
    completed = await stream(
        ["cat"], env=ENVIRONMENT, on_line=lines.append, stdin=content, stdout=out
    )
    assert b"\n".join([*lines, b""]) == content == out.read_bytes()
    assert completed.stdout.size == len(content)


async def test_a_large_output_keeps_head_and_tail_and_every_line_is_handed_over(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    lines: list[bytes] = []
    completed = await shell("seq 100000", lines, stdout=out, output_limit=2048)
    assert len(lines) == 100_000
    assert (completed.stdout.size, completed.stdout.kept) == (588_895, 2048)
    assert out.read_bytes().startswith(b"1\n2\n")
    assert out.read_bytes().endswith(b"99999\n100000\n")


@pytest.mark.parametrize("end", ["\n", ""])
async def test_a_line_that_is_too_long_is_counted_and_not_handed_over(end: str) -> None:
    lines: list[bytes] = []
    script = f"echo a; head -c 300000 /dev/zero; printf '\\nb\\n'; printf 'x%.0s' $(seq 101); printf '{end}'"
    completed = await shell(script, lines, line_limit=100)
    assert lines == [b"a", b"b"]
    assert completed.lines_skipped == 2


async def test_a_line_of_just_the_limit_is_handed_over() -> None:
    lines: list[bytes] = []
    completed = await shell("printf 'x%.0s' $(seq 100)", lines, line_limit=100)
    assert (lines, completed.lines_skipped) == ([b"x" * 100], 0)


async def test_what_on_line_raises_ends_the_program_and_is_raised(tmp_path: Path) -> None:
    heard: list[bytes] = []
    out = tmp_path / "out"

    def refuse(line: bytes) -> None:
        heard.append(line)
        raise LookupError("enough")

    with anyio.fail_after(10), pytest.raises(LookupError, match="enough"):
        await stream(
            ["sh", "-c", "printf 'a\\nb\\n'; exec sleep 60"],
            env=ENVIRONMENT,
            on_line=refuse,
            stdout=out,
            grace_seconds=0.1,
        )
    assert heard == [b"a"]
    assert out.read_bytes() == b"a\nb\n"


async def test_what_on_line_raises_at_the_very_end_is_raised() -> None:
    def refuse(line: bytes) -> None:
        raise LookupError(line)

    with pytest.raises(LookupError):
        await stream(["printf", "x"], env=ENVIRONMENT, on_line=refuse)


async def test_a_program_that_closes_its_stdout_early_is_waited_for() -> None:
    lines: list[bytes] = []
    completed = await shell("echo a; exec >&-; sleep 0.05; exit 7", lines)
    assert (completed.returncode, lines) == (7, [b"a"])


async def test_who_holds_the_pipe_open_is_ended_and_not_waited_for() -> None:
    lines: list[bytes] = []
    with anyio.fail_after(10):
        completed = await shell("setsid sleep 60 & echo done", lines)
    assert (completed.leftovers, lines) == (1, [b"done"])


async def test_last_words_of_a_program_that_is_being_ended_are_heard(tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines: list[bytes] = []
    cancelled = anyio.Event()

    def hear(line: bytes) -> None:
        lines.append(line)
        cancelled.set()

    async def talk() -> None:
        # more than a pipe holds: who is not read would wait for ever
        script = "trap 'seq 30000; exit' INT; echo ready; while :; do sleep 0.005; done"
        await stream(["sh", "-c", script], env=ENVIRONMENT, on_line=hear, stdout=out)

    async with anyio.create_task_group() as group:
        group.start_soon(talk)
        await cancelled.wait()
        group.cancel_scope.cancel()
    assert lines[-1] == b"30000"
    assert out.read_bytes().endswith(b"\n30000\n")


async def test_a_program_that_cannot_start_leaves_no_descriptor() -> None:
    await shell("true", [])
    before = descriptors()
    for _ in range(3):
        with pytest.raises(AgentError, match="cannot start 'no-such-program'"):
            await stream(["no-such-program"], env=ENVIRONMENT, on_line=print)
        await shell("echo a", [])
    assert descriptors() == before


async def test_a_killed_program_is_told_and_its_half_line_is_heard() -> None:
    lines: list[bytes] = []
    completed = await shell("printf half; kill -KILL $$", lines)
    assert (completed.signal, lines) == (signal.SIGKILL.name, [b"half"])


async def test_a_file_that_cannot_be_written_ends_the_program(tmp_path: Path) -> None:
    lines: list[bytes] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with anyio.fail_after(10), pytest.raises(RecordError, match=f"cannot write '{tmp_path}"):
            await shell("seq 1000; sleep 60", lines, stdout=tmp_path / "out", grace_seconds=0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_many_programs_with_much_to_say_leave_others_their_turn() -> None:
    line = b"x" * 99 + b"\n"
    heard: list[int] = []

    async def talk() -> None:
        await stream(
            ["cat"],
            env=ENVIRONMENT,
            on_line=lambda got: heard.append(len(got)),
            stdin=line * 10_000,
        )

    turns = 0
    async with anyio.create_task_group() as group:

        async def count() -> None:
            nonlocal turns
            while len(heard) < 100_000:
                await anyio.lowlevel.checkpoint()
                turns += 1

        group.start_soon(count)
        for _ in range(10):
            group.start_soon(talk)
    assert heard == [99] * 100_000
    assert turns > len(line) * 10_000 // CHUNK_BYTES
