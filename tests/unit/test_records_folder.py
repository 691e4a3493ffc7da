"""Files are private, whole or not at all, and never written through a link."""

# ruff: noqa: PTH102, PTH104, PTH114, PTH116, PTH208, PTH211 - what descriptors did is looked at in their terms

import os
import stat

import pytest

from dispatch_runner.errors import RecordError
from dispatch_runner.records.folder import RESERVE_BYTES, TEMPORARY, Folder, Reserve
from dispatch_runner.records.run_folder import RUN_NAME, create_run_folder


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def folder(tmp_path):
    with Folder.open_or_create(tmp_path / "traces") as opened:
        yield opened


@pytest.fixture(params=[0o022, 0o777, 0o000])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_and_folders_are_private_whatever_the_umask(folder, umask):
    with folder.create_folder("run") as run:
        run.write("a.json", b"{}")
        assert mode(run.path) == 0o700
        assert mode(run.path_of("a.json")) == 0o600


def test_writing_replaces_a_file_and_leaves_no_temporary(folder):
    folder.write("a.json", b"one")
    folder.write("a.json", b"two", sync=True)
    assert os.listdir(folder.path) == ["a.json"]
    assert folder.read("a.json") == b"two"


def test_a_link_in_the_files_place_is_replaced_and_its_target_untouched(folder, tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    os.symlink(target, folder.path_of("a.json"))
    folder.write("a.json", b"ours")
    assert target.read_text() == "mine"
    assert not os.path.islink(folder.path_of("a.json"))


@pytest.mark.parametrize("plant", ["link", "fifo", "hard link", "file"])
def test_what_was_planted_under_the_temporary_name_is_removed_not_written(folder, tmp_path, plant):
    target = tmp_path / "target"
    target.write_text("mine")
    place = folder.path_of(TEMPORARY)
    if plant == "link":
        os.symlink(target, place)
    elif plant == "fifo":
        os.mkfifo(place)
    elif plant == "hard link":
        os.link(target, place)
    else:
        (tmp_path / "traces" / TEMPORARY).write_text("stale")
    folder.write("a.json", b"ours")
    assert target.read_text() == "mine"
    assert folder.read("a.json") == b"ours"


def test_a_folder_planted_in_a_files_place_is_an_error_with_the_path(folder):
    os.mkdir(folder.path_of("a.json"))
    with pytest.raises(RecordError, match=r"cannot write '.*/a\.json': is a directory"):
        folder.write("a.json", b"x")
    assert os.listdir(folder.path) == ["a.json"]


def test_a_link_in_a_folders_place_is_not_opened(folder, tmp_path):
    os.symlink(tmp_path, folder.path_of("run"))
    with pytest.raises(OSError, match="Not a directory"):
        folder.open_folder("run")
    with pytest.raises(FileExistsError):
        folder.create_folder("run")


@pytest.mark.parametrize("plant", ["link", "fifo"])
def test_only_regular_files_are_read(folder, tmp_path, plant):
    if plant == "link":
        os.symlink(tmp_path / "x", folder.path_of("a"))
    else:
        os.mkfifo(folder.path_of("a"))
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the plant
        folder.read("a")


def test_the_operators_trace_folder_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "traces").symlink_to(tmp_path / "real")
    with Folder.open_or_create(tmp_path / "traces") as folder:
        folder.write("a", b"x")
    assert (tmp_path / "real" / "a").read_bytes() == b"x"


def test_a_folder_swapped_for_a_link_does_not_move_the_files(folder, tmp_path):
    with folder.create_folder("run") as run:
        os.rename(run.path, tmp_path / "moved")
        (tmp_path / "elsewhere").mkdir()
        os.symlink(tmp_path / "elsewhere", run.path)
        run.write("a", b"x")
    assert os.listdir(tmp_path / "elsewhere") == []
    assert os.listdir(tmp_path / "moved") == ["a"]


def test_a_file_in_the_place_of_the_trace_folder_is_an_error(tmp_path):
    (tmp_path / "traces").write_text("")
    with pytest.raises(RecordError, match="cannot open trace folder"):
        Folder.open_or_create(tmp_path / "traces")


def test_run_folders_are_named_for_the_time_in_utc_and_never_meet(folder):
    names = set()
    for _ in range(20):
        name, run = create_run_folder(folder, 1_759_752_000.9)
        run.close()
        names.add(name)
    assert len(names) == 20
    assert all(RUN_NAME.fullmatch(n) and n.startswith("dispatch-20251006_120000-") for n in names)


def test_the_reserve_is_given_up_once(folder):
    reserve = Reserve(folder)
    assert os.stat(folder.path_of(".reserve")).st_blocks * 512 >= RESERVE_BYTES
    assert reserve.release()
    assert not reserve.release()
    assert reserve.spent
    assert os.listdir(folder.path) == []
