"""Files that a task produced come back as they were, or not at all, and nothing else is touched."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.cache.digests import MISSING, Uncacheable, digest_at
from dispatch_runner.cache.produced import Stale, collect, put_back, snapshot
from dispatch_runner.paths import AllowedRoots


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def roots(folder: Path) -> AllowedRoots:
    return AllowedRoots((str(folder),))


class Task:
    """Something that declares files, writes some, and claims some."""

    def __init__(self, folder: Path, *declared: str, claims: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.declared = tuple(str(folder / each) for each in declared)
        self.claims = tuple(str(folder / each) for each in claims)
        self.before = snapshot(self.declared)

    def end(self):
        self.files, self.contents = collect(
            self.declared, self.claims, self.before, roots(self.folder)
        )
        return self

    def again(self) -> list[str]:
        """Names of the files that are written when the result is used again."""
        now = snapshot(self.declared)
        written = put_back(self.files, self.contents, now, roots(self.folder))
        return [os.path.relpath(path, self.folder) for path in written]


def test_a_file_that_was_made_comes_back(folder):
    task = Task(folder, claims=("out.txt",))
    (folder / "out.txt").write_text("made")
    (folder / "out.txt").chmod(0o750)
    task.end()
    (folder / "out.txt").unlink()
    assert task.again() == ["out.txt"]
    assert (folder / "out.txt").read_text() == "made"
    assert stat.S_IMODE((folder / "out.txt").stat().st_mode) == 0o750


def test_a_folder_that_is_gone_is_made_again(folder):
    task = Task(folder, claims=("a/b/out.txt",))
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/out.txt").write_text("made")
    task.end()
    (folder / "a/b/out.txt").unlink()
    (folder / "a/b").rmdir()
    (folder / "a").rmdir()
    assert task.again() == ["a/b/out.txt"]


def test_a_file_that_is_still_so_is_left_alone(folder):
    task = Task(folder, claims=("out.txt",))
    (folder / "out.txt").write_text("made")
    task.end()
    os.utime(folder / "out.txt", (1, 1))
    assert task.again() == []
    assert (folder / "out.txt").stat().st_mtime == 1


def test_a_file_that_was_changed_in_place_is_changed_again(folder):
    (folder / "f").write_text("old")
    task = Task(folder, "f")
    (folder / "f").write_text("new")
    task.end()
    (folder / "f").write_text("old")
    assert task.again() == ["f"]
    assert (folder / "f").read_text() == "new"


@pytest.mark.parametrize("declared", ["f", "*"])
def test_a_file_of_somebody_else_is_never_written_over(folder, declared):
    (folder / "f").write_text("old")
    task = Task(folder, declared)
    (folder / "f").write_text("new")
    task.end()
    (folder / "f").write_text("mine")
    with pytest.raises(Stale, match="neither as that run found it nor as it left it"):
        task.again()
    assert (folder / "f").read_text() == "mine"


def test_a_declared_file_that_the_task_left_alone_must_be_as_it_was(folder):
    (folder / "f").write_text("clean")
    task = Task(folder, "f").end()
    assert task.again() == []
    (folder / "f").write_text("dirty")
    with pytest.raises(Stale):
        task.again()


def test_a_new_file_where_a_glob_looks_makes_a_result_stale(folder):
    (folder / "a.py").write_text("clean")
    task = Task(folder, "*.py").end()
    (folder / "b.py").write_text("dirty")
    with pytest.raises(Stale, match="was not there in that run"):
        task.again()


def test_a_declared_file_that_was_never_made_must_still_be_missing(folder):
    task = Task(folder, "f").end()
    assert task.again() == []
    (folder / "f").write_text("here")
    with pytest.raises(Stale):
        task.again()


def test_none_is_written_when_one_is_stale(folder):
    task = Task(folder, claims=("a", "b"))
    for name in "ab":
        (folder / name).write_text("made")
    task.end()
    (folder / "a").unlink()
    (folder / "b").write_text("mine")
    with pytest.raises(Stale):
        task.again()
    assert not (folder / "a").exists()


def test_none_is_written_when_one_cannot_be(folder):
    task = Task(folder, claims=("a", "z/b"))
    (folder / "z").mkdir()
    for name in ("a", "z/b"):
        (folder / name).write_text("made")
    task.end()
    (folder / "a").unlink()
    (folder / "z/b").unlink()
    (folder / "z").rmdir()
    (folder / "z").write_text("a file where a folder was")
    with pytest.raises(Stale):
        task.again()
    assert [path.name for path in folder.iterdir()] == ["z"]


def test_a_link_that_leads_out_is_not_followed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    task = Task(folder, claims=("d/out.txt",))
    (folder / "d").mkdir()
    (folder / "d/out.txt").write_text("made")
    task.end()
    (folder / "d/out.txt").unlink()
    (folder / "d").rmdir()
    (folder / "d").symlink_to(elsewhere)
    with pytest.raises(Stale, match="not inside the allowed folders"):
        task.again()
    assert list(elsewhere.iterdir()) == []


def test_folders_that_are_not_allowed_any_more_are_not_written_to(folder):
    task = Task(folder, claims=("out.txt",))
    (folder / "out.txt").write_text("made")
    task.end()
    (folder / "out.txt").unlink()
    with pytest.raises(Stale, match="not inside the allowed folders"):
        put_back(task.files, task.contents, {}, AllowedRoots(("/nowhere",)))
    assert not (folder / "out.txt").exists()


def test_a_file_outside_of_the_allowed_folders_is_not_kept(folder):
    (folder / "in").mkdir()
    (folder / "out.txt").write_text("made")
    with pytest.raises(Uncacheable, match="outside the allowed folders"):
        collect((), [str(folder / "out.txt")], {}, roots(folder / "in"))


def test_a_task_that_takes_a_file_away_has_no_result_to_keep(folder):
    (folder / "f").write_text("old")
    task = Task(folder, "f")
    (folder / "f").unlink()
    with pytest.raises(Uncacheable, match="changed"):
        task.end()


def test_a_claimed_file_that_is_a_link_is_kept_as_the_file_it_leads_to(folder):
    task = Task(folder, claims=("link",))
    (folder / "file").write_text("made")
    (folder / "link").symlink_to("file")
    task.end()
    (folder / "file").unlink()
    assert task.again() == ["file"]
    assert (folder / "link").read_text() == "made"


STATE = st.sampled_from([None, "one", "two", "three"])


@given(st.tuples(STATE, STATE), st.tuples(STATE, STATE), st.tuples(STATE, STATE))
def test_files_end_as_the_task_left_them_or_as_they_were(tmp_path_factory, before, after, now):
    folder = tmp_path_factory.mktemp("files").resolve()

    def make(states):
        for name, state in zip("ab", states, strict=True):
            (folder / name).unlink(missing_ok=True)
            if state is not None:
                (folder / name).write_text(state)

    def states():
        paths = (folder / name for name in "ab")
        return tuple(path.read_text() if path.exists() else None for path in paths)

    make(before)
    task = Task(folder, "a", "b")
    make(after)
    try:
        task.end()
    except Uncacheable:
        assert any(one and not other for one, other in zip(before, after, strict=True))
        return
    make(now)
    usable = all(n in {b, a} for b, a, n in zip(before, after, now, strict=True))
    try:
        task.again()
    except Stale:
        assert not usable
        assert states() == now
    else:
        assert usable
        assert states() == after
    assert {path.name for path in folder.iterdir()} <= {"a", "b"}


def test_a_snapshot_tells_what_is_missing(folder):
    assert snapshot([str(folder / "f")]) == {str(folder / "f"): MISSING}
    (folder / "f").write_text("x")
    assert snapshot([str(folder / "*")]) == {str(folder / "f"): digest_at(str(folder / "f"))}
