"""The store of results: whole or not there, bounded, private, safe with many processes at once."""

import fcntl
import hashlib
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dispatch_runner.cache.entries import Entry
from dispatch_runner.cache.folder import CacheUnusableError
from dispatch_runner.cache.produced import Produced
from dispatch_runner.cache.store import KNOWN_PER_TASK, Store
from dispatch_runner.models import Usage

MIB = 1 << 20
CONTENT = b"made by a task\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def entry(key: str = "k" * 64, **fields) -> Entry:
    made = Entry(
        key=key,
        parts={"role": "r", "input/a": "1"},
        backend="offline",
        output={"text": "é", "big": 1 << 80},
        warnings=["w"],
        files=[Produced("/x", "missing", SHA256, 0o640)],
        usage=Usage(1, 2, None, 1, 0.5),
        dispatch="d",
        stored_at="2026-01-01T00:00:00Z",
    )
    return replace(made, **fields)


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path / "cache", MIB)
    yield made
    made.close()


def test_what_is_kept_is_given_back_equal(store):
    store.keep("t", entry(), {SHA256: CONTENT})
    assert store.entry("k" * 64) == entry()
    assert store.content(SHA256) == CONTENT
    assert store.known("t") == [entry().known()]


def test_an_unknown_key_has_no_result(store):
    assert store.entry("0" * 64) is None
    assert store.content("0" * 64) is None
    assert store.known("t") == []


@pytest.mark.parametrize("damage", [b"", b"x", CONTENT[:-1], b"0" * 500])
@pytest.mark.parametrize("folder", ["entries", "files", "tasks"])
def test_a_damaged_file_is_as_good_as_none(store, folder, damage):
    store.keep("t", entry(), {SHA256: CONTENT})
    (file,) = (store.folder / folder).iterdir()
    file.write_bytes(damage)
    answers = {
        "entries": store.entry("k" * 64),
        "files": store.content(SHA256),
        "tasks": store.known("t") or None,
    }
    assert answers[folder] is None


def test_an_entry_under_another_key_is_not_believed(store):
    store.keep("t", entry(), {})
    (file,) = (store.folder / "entries").iterdir()
    file.rename(file.with_name("f" * 64))
    assert store.entry("f" * 64) is None


def test_a_damaged_file_is_written_anew(store):
    store.keep("t", entry(), {SHA256: CONTENT})
    (store.folder / "files" / SHA256).write_bytes(b"damaged")
    store.keep("t", entry(), {SHA256: CONTENT})
    assert store.content(SHA256) == CONTENT


def test_the_last_results_of_a_task_are_known_the_latest_first(store):
    keys = [f"{number:064}" for number in range(KNOWN_PER_TASK + 3)]
    for key in keys:
        store.keep("t", entry(key), {})
    assert [known.key for known in store.known("t")] == keys[:2:-1]
    store.keep("t", entry(keys[4]), {})
    assert store.known("t")[0].key == keys[4]


def test_folders_and_files_are_for_their_user_alone(store):
    store.keep("t", entry(), {SHA256: CONTENT})
    for path in [store.folder, *store.folder.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_folder_that_others_may_read_is_closed_to_them(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o755)
    Store(folder, MIB).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["cache", "cache/entries", "cache/files"])
def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(CacheUnusableError, match="cannot use the cache in"):
        Store(tmp_path / "cache", MIB)
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_not_followed(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    (store.folder / "files" / SHA256).symlink_to(secret)
    assert store.content(SHA256) is None
    store.keep("t", entry(), {SHA256: CONTENT})
    assert not (store.folder / "files" / SHA256).is_symlink()
    assert secret.read_bytes() == CONTENT


def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(store):
    os.mkfifo(store.folder / "entries" / ("k" * 64))
    assert store.entry("k" * 64) is None


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(CacheUnusableError, match="no folder"):
        Store(tmp_path / "cache", MIB)


def used_at(store: Store, seconds: dict[str, float]) -> None:
    for key, moment in seconds.items():
        os.utime(store.folder / "entries" / key, (moment, moment))


def test_what_was_used_least_lately_goes_first(store):
    keys = [f"{number:064}" for number in range(4)]
    for key in keys:
        store.keep(key, entry(key), {})
    used_at(store, dict(zip(keys, (40, 10, 30, 20), strict=True)))
    size = store._entries.size(keys[0])
    store.prune(max_bytes=store.info().bytes - 2 * size)
    assert [store.entry(key) is None for key in keys] == [False, True, False, True]


def test_a_result_that_is_used_stays(store):
    keys = [f"{number:064}" for number in range(2)]
    for key in keys:
        store.keep(key, entry(key), {})
    used_at(store, dict.fromkeys(keys, 10))
    assert store.entry(keys[0]) is not None
    store.prune(older_than=3600)
    assert [store.entry(key) is None for key in keys] == [False, True]


def test_the_size_is_kept_by_whoever_stores(tmp_path):
    store = Store(tmp_path / "cache", 20_000)
    for number in range(50):
        store.keep(str(number), entry(f"{number:064}", output={"text": "x" * 1000}), {})
        assert store.info().bytes <= 20_000
    assert store.entry(f"{49:064}") is not None
    assert store.entry(f"{0:064}") is None
    store.close()


@pytest.mark.parametrize("damage", [b"", b"many"])
def test_a_size_that_cannot_be_read_is_counted_anew(store, damage):
    store.keep("t", entry(), {SHA256: CONTENT})
    (store.folder / "size").write_bytes(damage)
    store.keep("t", entry("j" * 64), {})
    assert int((store.folder / "size").read_bytes()) == store.info().bytes


def test_the_size_that_is_kept_up_is_the_true_one(store):
    for number in (0, 1, 1, 2):
        content = b"x" * (number + 1)
        store.keep("t", entry(f"{number:064}"), {hashlib.sha256(content).hexdigest(): content})
    assert int((store.folder / "size").read_bytes()) == store.info().bytes


def test_pruning_tells_what_it_took_away(store):
    store.keep("t", entry(), {SHA256: CONTENT})
    before = store.info()
    assert (before.entries, before.files) == (1, 1)
    assert store.prune(max_bytes=0) == (3, before.bytes)
    assert store.info() == (0, 0, 0, None)


def test_what_another_process_is_writing_is_left_until_it_is_old(tmp_path):
    now = 10_000.0
    store = Store(tmp_path / "cache", MIB, now=lambda: now)
    young, old = (store.folder / "files" / f".new-{name}" for name in ("young", "old"))
    for path, moment in ((young, now - 10), (old, now - 4_000)):
        path.write_bytes(b"half")
        os.utime(path, (moment, moment))
    store.prune(max_bytes=0)
    assert (young.exists(), old.exists()) == (True, False)
    store.close()


def test_a_process_that_holds_the_lock_for_ever_holds_nobody_up(tmp_path):
    store = Store(tmp_path / "cache", MIB, patience=0.02)
    store.keep("t", entry(), {})
    with (store.folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        store.keep("t", entry("j" * 64), {})
        with pytest.raises(OSError, match="another process is pruning it"):
            store.prune(max_bytes=0)
    assert store.entry("j" * 64) is not None
    store.keep("t", entry("i" * 64), {})
    assert int((store.folder / "size").read_bytes()) == store.info().bytes, "counted anew"
    store.close()


STORES = """
import hashlib, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_cache_store import entry
from dispatch_runner.cache.store import Store
store = Store(Path(sys.argv[1]), 30_000)
for number in range(60):
    content = b"x" * (number * 10)
    sha256 = hashlib.sha256(content).hexdigest()
    store.keep("t", entry(f"{number:064}", output={"by": sys.argv[2]}), {sha256: content})
    found = store.entry(f"{number // 2:064}")
    assert found is None or found.output["by"] in "ab"
"""


def test_processes_that_store_at_once_leave_nothing_half_done(tmp_path):
    folder = tmp_path / "cache"
    arguments = [str(folder), str(Path(__file__).parent)]
    workers = [
        subprocess.Popen([sys.executable, "-c", STORES, arguments[0], name, arguments[1]])
        for name in "ab"
    ]
    assert [worker.wait(30) for worker in workers] == [0, 0]
    store = Store(folder, 30_000)
    assert store.info().bytes <= 30_000
    assert not list(folder.rglob(".new-*"))
    for file in (folder / "entries").iterdir():
        assert store.entry(file.name) is not None
    for file in (folder / "files").iterdir():
        assert store.content(file.name) is not None
    store.close()
