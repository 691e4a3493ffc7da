"""A program that is talked to while it runs."""

import os
from pathlib import Path

import anyio
import pytest

from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.models import ErrorType
from dispatch_runner.process.dialogue import STDERR_LIMIT, Dialogue, dialogue

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def all_of(program: Dialogue) -> bytes:
    parts = []
    while part := await program.receive():
        parts.append(part)
    return b"".join(parts)


async def test_what_is_sent_is_read_and_what_it_prints_is_received() -> None:
    async with dialogue(["cat"], env=ENVIRONMENT) as program:
        for word in (b"one\n", b"two\n"):
            await program.send(word)
            assert await program.receive() == word
        assert not program.ended()


async def test_both_sides_may_say_much_at_once() -> None:
    size = 2_000_000
    async with dialogue(["cat"], env=ENVIRONMENT) as program:
        received = bytearray()
        async with anyio.create_task_group() as group:
            group.start_soon(program.send, b"x" * size)
            while len(received) < size:
                received += await program.receive()
    assert len(received) == size


async def test_the_end_of_its_output_is_no_bytes_and_its_death_is_told_with_its_last_line() -> None:
    script = "echo bye; echo first >&2; echo out of cheese >&2; echo >&2; exit 3"
    async with dialogue(["sh", "-c", script], env=ENVIRONMENT) as program:
        assert await all_of(program) == b"bye\n"
        await program.wait_end()
        assert program.ended()
        assert program.epitaph() == "ended with exit code 3: out of cheese"


async def test_a_program_that_reads_no_more_is_a_broken_pipe() -> None:
    async with dialogue(["true"], env=ENVIRONMENT) as program:
        await program.wait_end()
        with pytest.raises(BrokenPipeError):
            await program.send(b"hello")
        assert program.epitaph() == "ended with exit code 0"


async def test_leaving_closes_its_stdin_and_waits_for_its_end(tmp_path: Path) -> None:
    done = tmp_path / "done"
    async with dialogue(["sh", "-c", f"cat; echo > {done}"], env=ENVIRONMENT):
        pass
    assert done.exists()


async def test_stderr_is_kept_within_its_limit() -> None:
    script = f"head -c {4 * STDERR_LIMIT} /dev/zero >&2; echo the end >&2"
    async with dialogue(["sh", "-c", script], env=ENVIRONMENT) as program:
        await program.wait_end()
        assert program.epitaph() == "ended with exit code 0: the end"


async def test_a_program_that_cannot_start_is_told_and_leaves_no_descriptor() -> None:
    before = descriptors()
    with pytest.raises(AgentError) as caught:
        async with dialogue(["no-such-program"], env=ENVIRONMENT):
            pass
    assert caught.value.type is ErrorType.UNAVAILABLE
    assert descriptors() == before


async def test_no_descriptor_is_left() -> None:
    async with dialogue(["cat"], env=ENVIRONMENT):
        pass
    before = descriptors()
    for _ in range(5):
        async with dialogue(["cat"], env=ENVIRONMENT) as program:
            await program.send(b"x")
    assert descriptors() == before


async def test_what_is_received_and_its_stderr_can_be_kept_in_files(tmp_path: Path) -> None:
    said, complained, silent = (tmp_path / name for name in ("stdout", "stderr", "silent"))
    script = "echo one; echo two; echo ouch >&2"
    async with dialogue(
        ["sh", "-c", script], env=ENVIRONMENT, stdout=said, stderr=complained
    ) as program:
        received = await all_of(program)
        await program.wait_end()
        assert program.epitaph() == "ended with exit code 0: ouch"
    assert said.read_bytes() == received == b"one\ntwo\n"
    assert complained.read_text() == "ouch\n"
    async with dialogue(["true"], env=ENVIRONMENT, stderr=silent):
        pass
    assert not silent.exists() or silent.read_bytes() == b""


async def test_what_it_leaves_behind_is_counted_when_it_ended_by_itself() -> None:
    script = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & read -r line"
    async with dialogue(["sh", "-c", script], env=ENVIRONMENT, grace_seconds=5) as left:
        await left.send(b"\n")
    assert left.leftovers == 1
    async with dialogue(["sleep", "1000"], env=ENVIRONMENT, grace_seconds=0.01) as ended:
        pass
    assert ended.leftovers == 0


async def test_a_file_that_cannot_be_made_is_a_broken_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        async with dialogue(["true"], env=ENVIRONMENT, stderr=tmp_path / "none" / "stderr"):
            pass
