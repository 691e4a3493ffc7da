"""A program that floods its output neither fills the disk nor holds us."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from dispatch_runner.process import Completed, run
from dispatch_runner.process.output import OutputFile

pytestmark = pytest.mark.anyio

ENVIRONMENT = {"PATH": os.environ["PATH"]}
LIMIT = 1 << 20


async def shell(script: str, out: Path) -> Completed:
    return await run(["sh", "-c", script], env=ENVIRONMENT, stdout=out, output_limit=LIMIT)


def used(path: Path) -> int:
    return path.stat().st_blocks * 512 if path.exists() else 0


def written(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.slow
async def test_an_endless_flood_is_cut_while_it_runs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    most = 0
    async with anyio.create_task_group() as group:
        group.start_soon(shell, "exec yes", out)
        with anyio.fail_after(20):
            while written(out) < 600 * LIMIT:
                await anyio.sleep(0.01)  # the flood is looked at as it grows
                most = max(most, used(out))
        group.cancel_scope.cancel()
    assert most < 500 * LIMIT, "most of what was written was given back"
    assert out.stat().st_size <= LIMIT
    assert b"bytes omitted" in out.read_bytes()


async def test_the_last_words_of_a_flood_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    completed = await shell("echo first; head -c 50000000 /dev/zero; echo; echo last words", out)
    content = completed.stdout.content()
    assert completed.stdout.size == 50_000_018
    assert completed.stdout.truncated
    assert len(content) == LIMIT
    assert content.startswith(b"first\n")
    assert content.endswith(b"\0\nlast words\n")


async def test_a_flood_into_a_temporary_file_is_cut_too() -> None:
    completed = await run(
        ["head", "-c", "5000000", "/dev/zero"], env=ENVIRONMENT, output_limit=LIMIT
    )
    assert (completed.stdout.size, completed.stdout.kept) == (5_000_000, LIMIT)


def test_a_file_that_grows_is_trimmed_in_its_middle(tmp_path: Path) -> None:
    file = OutputFile(tmp_path / "out", LIMIT)
    file.open()
    for letter in b"abcdefgh":
        os.write(file.descriptor, bytes([letter]) * LIMIT)
        file.look()
        assert used(tmp_path / "out") <= 5 * LIMIT // 2
    captured = file.finish()
    content = captured.content()
    assert (captured.size, len(content)) == (8 * LIMIT, LIMIT)
    assert content[: LIMIT // 2] == b"a" * (LIMIT // 2)
    assert content[-LIMIT // 2 + 64 :] == b"h" * (LIMIT // 2 - 64)


def test_where_files_can_have_no_holes_the_tail_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "another")
    file = OutputFile(tmp_path / "out", LIMIT)
    file.open()
    for letter in b"abcdefgh":
        os.write(file.descriptor, bytes([letter]) * LIMIT)
        file.look()
        assert written(tmp_path / "out") <= 2 * LIMIT
    captured = file.finish()
    content = captured.content()
    assert (captured.size, len(content)) == (8 * LIMIT, LIMIT)
    assert content[: LIMIT // 2] == b"a" * (LIMIT // 2)
    assert content[-LIMIT // 2 + 64 :] == b"h" * (LIMIT // 2 - 64)


def test_a_file_within_its_limit_is_not_touched(tmp_path: Path) -> None:
    file = OutputFile(tmp_path / "out", 1024)
    file.open()
    os.write(file.descriptor, b"a" * 1024)
    file.look()
    captured = file.finish()
    assert (captured.content(), captured.truncated) == (b"a" * 1024, False)


def test_a_closed_file_is_not_touched(tmp_path: Path) -> None:
    file = OutputFile(tmp_path / "out", LIMIT)
    file.open()
    os.write(file.descriptor, b"x" * 4 * LIMIT)
    file.look()
    size = written(tmp_path / "out")
    file.close()
    file.look()
    file.close()
    assert written(tmp_path / "out") == size
