"""Locks between dispatches when processes die or stop, and when the folder is not what it should be."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dispatch_runner.errors import RecordError
from dispatch_runner.locks import BUSY, MachineLocks

HOLDER = """
import sys, pathlib
from dispatch_runner.locks import MachineLocks
locks = MachineLocks(pathlib.Path(sys.argv[1]))
assert locks.try_acquire(sys.argv[2:]) is None
print("held", flush=True)
sys.stdin.read()
"""

MUTEX_HOLDER = """
import sys, fcntl
file = open(sys.argv[1] + "/mutex", "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A real process that has said "held", and is gone afterwards."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def locks(folder: Path) -> Iterator[MachineLocks]:
    locks = MachineLocks(folder)
    yield locks
    locks.close()


def test_a_killed_dispatch_gives_its_locks_back(folder: Path, locks: MachineLocks) -> None:
    with process(HOLDER, str(folder), "/x/a", "/x/*.py") as holder:
        refusal = locks.try_acquire(["/x/b.py"])
        assert refusal is not None
        assert f"process {holder.pid}" in refusal
        holder.kill()
        holder.wait()
        assert locks.try_acquire(["/x/a", "/x/b.py"]) is None
        assert not list(folder.glob(f"{holder.pid}-*"))


def test_a_stopped_dispatch_keeps_its_locks_and_hangs_nobody(
    folder: Path, locks: MachineLocks
) -> None:
    with process(HOLDER, str(folder), "/x/a") as holder:
        holder.send_signal(signal.SIGSTOP)
        assert locks.try_acquire(["/x/a"]) is not None
        assert locks.try_acquire(["/x/b"]) is None
        holder.send_signal(signal.SIGCONT)


def test_whoever_sits_on_the_mutex_hangs_nobody(folder: Path, locks: MachineLocks) -> None:
    assert locks.try_acquire(["/x/a"]) is None
    with process(MUTEX_HOLDER, str(folder)) as holder:
        assert locks.try_acquire(["/x/b"]) == BUSY
        locks.release(["/x/a"])
        holder.kill()
        holder.wait()
        assert locks.try_acquire(["/x/a", "/x/b"]) is None


def test_a_lock_given_back_while_the_mutex_is_taken_is_given_back(
    folder: Path, locks: MachineLocks
) -> None:
    other = MachineLocks(folder)
    locks.try_acquire(["/x/a", "/x/b"])
    with process(MUTEX_HOLDER, str(folder)):
        locks.release(["/x/a"])
    assert other.try_acquire(["/x/a"]) is None
    assert other.try_acquire(["/x/b"]) is not None
    other.close()


def test_a_program_that_outlives_its_dispatch_does_not_hold_the_locks(folder: Path) -> None:
    script = HOLDER.replace(
        "print(",
        "import subprocess; child = subprocess.Popen(['sleep', '30'], stdout=subprocess.DEVNULL,"
        " stderr=subprocess.DEVNULL); print(child.pid, file=sys.stderr, flush=True); print(",
    )
    command = [sys.executable, "-c", script, str(folder), "/x/a"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        survivor = int(holder.stderr.readline())
        holder.stdout.readline()
        holder.kill()
    try:
        os.kill(survivor, 0)
        locks = MachineLocks(folder)
        assert locks.try_acquire(["/x/a"]) is None
        locks.close()
    finally:
        os.kill(survivor, signal.SIGKILL)


def test_a_removed_folder_is_made_anew_with_what_is_held(folder: Path, locks: MachineLocks) -> None:
    locks.try_acquire(["/x/a"])
    shutil.rmtree(folder)
    assert locks.try_acquire(["/x/b"]) is None
    other = MachineLocks(folder)
    assert other.try_acquire(["/x/a"]) is not None
    assert other.try_acquire(["/x/b"]) is not None
    other.close()


def test_a_removed_list_is_written_anew_with_what_is_held(
    folder: Path, locks: MachineLocks
) -> None:
    locks.try_acquire(["/x/a"])
    for file in folder.glob("*.held"):
        file.unlink()
    assert locks.try_acquire(["/x/b"]) is None
    locks.release(["/x/b"])
    other = MachineLocks(folder)
    assert other.try_acquire(["/x/a"]) is not None
    assert other.try_acquire(["/x/b"]) is None
    other.close()


def test_a_symbolic_link_instead_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    with pytest.raises(RecordError, match="not a folder"):
        MachineLocks(folder).try_acquire(["/x/a"])
    assert not list(elsewhere.iterdir())


def test_a_symbolic_link_instead_of_the_mutex_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "mutex").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError):
        MachineLocks(folder).try_acquire(["/x/a"])
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    with pytest.raises(RecordError, match="belongs to user 12345"):
        MachineLocks(folder).try_acquire(["/x/a"])


def test_a_folder_that_cannot_be_made_is_an_error_and_not_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="take file locks"):
        MachineLocks(tmp_path / "missing" / "locks").try_acquire(["/x/a"])


def test_a_full_disk_is_an_error_and_takes_nothing(folder: Path, locks: MachineLocks) -> None:
    locks.try_acquire(["/x/a"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(RecordError):
            locks.try_acquire(["/x/" + "b" * 100])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    other = MachineLocks(folder)
    assert other.try_acquire(["/x/a"]) is not None
    assert other.try_acquire(["/x/" + "b" * 100, "/x/" + "b" * 13]) is None
    other.close()
