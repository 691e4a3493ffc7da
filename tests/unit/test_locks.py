"""Locks between dispatches: two `MachineLocks` on one folder stand for two dispatches."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dispatch_runner.errors import InternalError, RecordError
from dispatch_runner.locks import (
    BUSY,
    COMPACT_LINES,
    MachineLocks,
    default_folder,
    private_folder,
)
from dispatch_runner.paths import overlap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def here(folder: Path) -> Iterator[MachineLocks]:
    locks = MachineLocks(folder)
    yield locks
    locks.close()


@pytest.fixture
def there(folder: Path) -> Iterator[MachineLocks]:
    locks = MachineLocks(folder)
    yield locks
    locks.close()


def test_nothing_is_touched_before_the_first_lock(folder: Path) -> None:
    locks = MachineLocks(folder)
    locks.release(["/x/a"])
    locks.close()
    assert not folder.exists()


def test_a_lock_excludes_the_other_dispatch_until_it_is_given_back(
    here: MachineLocks, there: MachineLocks
) -> None:
    assert here.try_acquire(["/x/a"]) is None
    assert there.try_acquire(["/x/a"]) is not None
    here.release(["/x/a"])
    assert there.try_acquire(["/x/a"]) is None
    assert here.try_acquire(["/x/a"]) is not None


def test_a_refusal_names_the_process_and_the_path(here: MachineLocks, there: MachineLocks) -> None:
    here.try_acquire(["/x/*.py"])
    refusal = there.try_acquire(["/x/a.py"])
    assert refusal is not None
    assert f"process {os.getpid()}" in refusal
    assert "'/x/a.py'" in refusal
    assert "'/x/*.py'" in refusal


@pytest.mark.parametrize(
    ("held", "wanted", "free"),
    [
        ("/x/*.py", "/x/a.py", False),
        ("/x/a.py", "/x/*.py", False),
        ("/x/**", "/x/y/*.py", False),
        ("/x/*.py", "/x/a.txt", True),
        ("/x/a.py", "/x/b.py", True),
        ("/x/*.py", "/y/*.py", True),
    ],
)
def test_globs_conflict_with_what_they_may_match(
    here: MachineLocks, there: MachineLocks, held: str, wanted: str, free: bool
) -> None:
    here.try_acquire([held])
    assert (there.try_acquire([wanted]) is None) is free


def test_of_several_entries_all_are_taken_or_none(here: MachineLocks, there: MachineLocks) -> None:
    here.try_acquire(["/x/b"])
    assert there.try_acquire(["/x/a", "/x/b"]) is not None
    assert here.try_acquire(["/x/a"]) is None


def test_one_of_several_given_back_leaves_the_others_held(
    here: MachineLocks, there: MachineLocks
) -> None:
    here.try_acquire(["/x/a", "/x/b", "/x/c"])
    here.release(["/x/b"])
    assert there.try_acquire(["/x/b"]) is None
    assert there.try_acquire(["/x/a"]) is not None
    assert there.try_acquire(["/x/c"]) is not None


def test_an_entry_named_twice_in_one_call_is_one_lock(
    here: MachineLocks, there: MachineLocks
) -> None:
    assert here.try_acquire(["/x/a", "/x/a"]) is None
    here.release(["/x/a", "/x/a"])
    assert there.try_acquire(["/x/a"]) is None


def test_taking_twice_what_is_held_is_a_bug_of_the_caller(here: MachineLocks) -> None:
    here.try_acquire(["/x/a"])
    with pytest.raises(InternalError, match="/x/a"):
        here.try_acquire(["/x/b", "/x/a"])


def test_releasing_what_is_not_held_changes_nothing(
    here: MachineLocks, there: MachineLocks
) -> None:
    here.try_acquire(["/x/a"])
    there.try_acquire(["/x/b"])
    there.release(["/x/a"])
    assert there.try_acquire(["/x/a"]) is not None


@pytest.mark.parametrize(
    "path", ["/x/a\nb", "/x/50%25", "/x/%0A", "/x/\udcff", "/x/+", "/x/ä😀", "/x/" + "n" * 250]
)
def test_any_name_of_a_file_is_held_as_it_is(
    here: MachineLocks, there: MachineLocks, path: str
) -> None:
    here.try_acquire([path])
    assert there.try_acquire([path]) is not None
    assert there.try_acquire(["/x/a"]) is None


def test_closing_gives_everything_back_and_leaves_no_file(
    folder: Path, here: MachineLocks, there: MachineLocks
) -> None:
    here.try_acquire(["/x/a", "/x/b"])
    here.close()
    here.close()
    assert [item.name for item in folder.iterdir()] == ["mutex"]
    assert there.try_acquire(["/x/a", "/x/b"]) is None


def test_a_closed_one_can_be_used_again(here: MachineLocks, there: MachineLocks) -> None:
    here.try_acquire(["/x/a"])
    here.close()
    assert here.try_acquire(["/x/a"]) is None
    assert there.try_acquire(["/x/a"]) is not None


def test_the_folder_and_its_files_are_private(folder: Path, here: MachineLocks) -> None:
    here.try_acquire(["/x/a"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(item.stat().st_mode) for item in folder.iterdir()} == {0o600}


def test_an_open_folder_of_ours_is_made_private(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_instead_of_the_folder_is_refused(folder: Path, here: MachineLocks) -> None:
    folder.write_text("")
    with pytest.raises(RecordError, match="not a folder"):
        here.try_acquire(["/x/a"])


def test_the_default_folder_is_the_same_whatever_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = default_folder()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert default_folder() == before
    assert before.name == f"dispatch-runner-{os.geteuid()}"


def test_history_is_forgotten_while_something_is_always_held(
    folder: Path, here: MachineLocks, there: MachineLocks
) -> None:
    here.try_acquire(["/x/always"])
    for number in range(2 * COMPACT_LINES + 1):
        here.try_acquire([f"/x/{number}"])
        here.release([f"/x/{number}"])
    (file,) = folder.glob("*.held")
    assert len(file.read_bytes().splitlines()) <= COMPACT_LINES
    assert there.try_acquire(["/x/always"]) is not None
    assert there.try_acquire(["/x/0", "/x/5", f"/x/{COMPACT_LINES}"]) is None


def test_a_list_that_is_all_given_back_is_empty(folder: Path, here: MachineLocks) -> None:
    here.try_acquire(["/x/a", "/x/b"])
    here.release(["/x/a", "/x/b"])
    (file,) = folder.glob("*.held")
    assert file.read_bytes() == b""


def test_a_refused_dispatch_is_not_told_busy(here: MachineLocks, there: MachineLocks) -> None:
    here.try_acquire(["/x/a"])
    assert there.try_acquire(["/x/a"]) != BUSY


ENTRIES = ["/x/a", "/x/b", "/x/*", "/y/a", "/**/b"]
steps = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.booleans(), st.sampled_from(ENTRIES)), max_size=25
)


@given(steps)
@hypothesis_settings(max_examples=50)
def test_two_dispatches_never_hold_what_overlaps(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[int, bool, str]]
) -> None:
    folder = tmp_path_factory.mktemp("locks")
    dispatches = [MachineLocks(folder), MachineLocks(folder)]
    held: list[set[str]] = [set(), set()]
    for who, take, entry in script:
        if not take:
            dispatches[who].release([entry])
            held[who].discard(entry)
        elif entry not in held[who]:
            free = not any(overlap(entry, other) for other in held[1 - who])
            assert (dispatches[who].try_acquire([entry]) is None) is free
            held[who] |= {entry} if free else set()
    for dispatch in dispatches:
        dispatch.close()
