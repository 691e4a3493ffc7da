"""Files without a name: used again while empty, named once something is in them, never shared."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatch_runner.process import run, spares
from dispatch_runner.process.output import OutputFile

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="O_TMPFILE and leases are Linux's"),
]
ENV = {"PATH": os.environ["PATH"]}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_a_program_that_prints_nothing_leaves_no_file(tmp_path: Path) -> None:
    done = await run(["true"], env=ENV, stdout=tmp_path / "out", stderr=tmp_path / "err")
    assert done.returncode == 0
    assert done.stdout.text() == ""
    assert names(tmp_path) == []


async def test_what_was_printed_has_its_name_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    done = await run(
        ["sh", "-c", "echo a; echo b >&2"],
        env=ENV,
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
    )
    assert done.stdout.text() == "a\n"
    assert done.stderr.text() == "b\n"
    assert names(tmp_path) == ["err", "out"]
    assert mode(tmp_path / "out") == 0o600


def test_an_empty_file_serves_the_next_program(tmp_path: Path) -> None:
    first = OutputFile(tmp_path / "first", 1024)
    first.open()
    inode = os.fstat(first.descriptor).st_ino
    first.started()
    first.finish()
    second = OutputFile(tmp_path / "second", 1024)
    second.open()
    assert os.fstat(second.descriptor).st_ino == inode
    second.close()


def test_a_file_that_somebody_still_has_open_is_never_used_again(tmp_path: Path) -> None:
    first = OutputFile(tmp_path / "first", 1024)
    first.open()
    inode = os.fstat(first.descriptor).st_ino
    held = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=first.descriptor)
    try:
        first.started()
        first.finish()
        second = OutputFile(tmp_path / "second", 1024)
        second.open()
        assert os.fstat(second.descriptor).st_ino != inode
        second.close()
    finally:
        held.communicate()


def test_a_file_gets_its_name_while_the_program_runs(tmp_path: Path) -> None:
    file = OutputFile(tmp_path / "out", 1024)
    file.open()
    file.look()
    assert not (tmp_path / "out").exists()
    os.write(file.descriptor, b"first words")
    file.look()
    assert (tmp_path / "out").read_bytes() == b"first words"
    os.write(file.descriptor, b", and more")
    file.finish()
    assert (tmp_path / "out").read_bytes() == b"first words, and more"


def test_an_earlier_file_of_that_name_is_replaced_and_a_link_is_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").symlink_to(victim)
    file = OutputFile(tmp_path / "out", 1024)
    file.open()
    os.write(file.descriptor, b"new")
    file.finish()
    assert victim.read_text() == "mine"
    assert (tmp_path / "out").read_text() == "new"
    assert not (tmp_path / "out").is_symlink()


def test_spares_are_bounded(tmp_path: Path) -> None:
    taken = [spares.take(tmp_path) for _ in range(spares.MOST + 5)]
    for descriptor in taken:
        assert descriptor is not None
        spares.give_back(tmp_path, descriptor)
    assert len(spares._spares) <= spares.MOST
