"""Programs that behave in ways that have hurt others: no terminal, floods, outputs closed early."""

import os
import resource
import sys
from pathlib import Path

import anyio
import pytest

from dispatch_runner.process import Completed, run, stream

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"PATH": os.environ["PATH"]}
MEBIBYTE = 1 << 20


async def shell(script: str) -> Completed:
    with anyio.fail_after(20):
        return await run(["sh", "-c", script], env=ENVIRONMENT)


async def test_a_program_that_asks_a_terminal_is_refused_and_not_waited_for() -> None:
    completed = await shell("read answer < /dev/tty")
    assert completed.returncode != 0
    assert "/dev/tty" in completed.stderr.text()
    assert (await shell("test -t 0 || test -t 1 || test -t 2")).returncode == 1


async def test_a_program_that_closes_its_outputs_early_is_waited_for(tmp_path: Path) -> None:
    done = tmp_path / "done"
    completed = await shell(f"echo a; exec >&- 2>&-; sleep 0.05; touch {done}; exit 7")
    assert done.exists()
    assert (completed.returncode, completed.stdout.text()) == (7, "a\n")


async def test_a_program_that_reads_for_ever_finds_the_end_of_its_input() -> None:
    assert (await shell("cat; cat; cat; exit 5")).returncode == 5


@pytest.mark.slow
async def test_every_exit_code_is_reported_as_it_is() -> None:
    seen = {}

    async def exits_with(code: int) -> None:
        seen[code] = (await shell(f"exit {code}")).returncode

    async with anyio.create_task_group() as group:
        for code in range(256):
            group.start_soon(exits_with, code)
    assert seen == {code: code for code in range(256)}


async def test_a_line_of_ten_megabytes_is_handed_over_whole() -> None:
    sizes: list[int] = []
    completed = await stream(
        ["head", "-c", "10000000", "/dev/zero"],
        env=ENVIRONMENT,
        on_line=lambda line: sizes.append(len(line)),
    )
    assert (sizes, completed.lines_skipped) == ([10_000_000], 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
async def test_a_flood_without_newlines_takes_no_memory_of_ours() -> None:
    lines: list[bytes] = []
    await stream(["true"], env=ENVIRONMENT, on_line=lines.append)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    completed = await stream(
        ["head", "-c", "100000000", "/dev/zero"],
        env=ENVIRONMENT,
        on_line=lines.append,
        line_limit=MEBIBYTE,
        output_limit=MEBIBYTE,
    )
    assert (lines, completed.lines_skipped) == ([], 1)
    assert completed.stdout.size == 100_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024
