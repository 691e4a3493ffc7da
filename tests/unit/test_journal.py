"""The journal: one writer, whole lines, honest about what it could not read."""

import fcntl
import os
import threading
import zlib
from pathlib import Path

import orjson
import pytest

from dispatch_runner.clock import Clock
from dispatch_runner.errors import RecordError
from dispatch_runner.records.folder import Folder
from dispatch_runner.records.journal import (
    JOURNAL_NAME,
    LONGEST_LINE,
    Journal,
    JournalBusy,
    is_locked,
    load,
)

HEADER = {"correlation_id": "c", "request_sha256": "0" * 64}


@pytest.fixture
def folder(tmp_path: Path):
    with Folder.open_or_create(tmp_path / "run") as opened:
        yield opened


@pytest.fixture
def journal(folder: Folder):
    opened = Journal.create(folder, HEADER, Clock())
    yield opened
    opened.close()


def path_of(folder: Folder) -> Path:
    return Path(folder.path, JOURNAL_NAME)


def test_first_record_says_format_correlation_id_and_digest(folder, journal):
    header = load(path_of(folder)).header
    assert header is not None
    assert header["event"] == "opened"
    assert header["format"] == 1
    assert header["correlation_id"] == "c"
    assert header["request_sha256"] == "0" * 64
    assert header["pid"] == os.getpid()


def test_a_record_comes_back_with_its_members(folder, journal):
    journal.append("finished", b'"a \\"b\\""', 2, b'{"status":"success"}')
    record = load(path_of(folder)).records[1]
    assert record["seq"] == 1
    assert record["task"] == 'a "b"'
    assert record["attempt"] == 2
    assert record["status"] == "success"
    assert record["time"].endswith("Z")
    assert record["mono"] > 0


def test_crc_covers_the_line_before_it(folder, journal):
    line = path_of(folder).read_bytes().splitlines()[0]
    body, tail = line.rsplit(b',"crc":', 1)
    assert orjson.loads(tail[:-1]) == f"{zlib.crc32(body):08x}"


def test_times_come_from_the_clock(folder):
    journal = Journal.create(folder, HEADER, Clock(monotonic=lambda: 1.5, wall=lambda: 86_400.25))
    journal.close()
    record = load(path_of(folder)).records[0]
    assert (record["time"], record["mono"]) == ("1970-01-02T00:00:00.250Z", 1.5)


def test_a_second_writer_is_refused_and_told_who_holds_it(folder, journal):
    with pytest.raises(JournalBusy, match=f"process {os.getpid()} is writing it") as caught:
        Journal.take_over(path_of(folder), Clock())
    assert caught.value.pid == os.getpid()


def test_who_only_looks_is_waited_for(folder, journal):
    journal.close()
    with path_of(folder).open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        release = threading.Timer(0.02, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        release.start()
        Journal.take_over(path_of(folder), Clock())[0].close()
        release.join()


def test_it_is_locked_as_long_as_it_is_open(folder, journal):
    assert is_locked(folder)
    journal.close()
    assert not is_locked(folder)


def test_reopening_continues_the_numbers_and_cuts_the_torn_tail(folder, journal):
    journal.append("started", b'"a"', 1)
    journal.close()
    with path_of(folder).open("ab") as file:
        file.write(b'{"seq":2,"time":"20')
    again, loaded = Journal.take_over(path_of(folder), Clock())
    again.cut_torn_tail()
    again.append_header({})
    again.append("started", b'"b"', 1)
    again.close()
    assert loaded.torn_bytes == 19
    assert [r["seq"] for r in load(path_of(folder)).records] == [0, 1, 2, 3]
    assert [r["event"] for r in load(path_of(folder)).records][2:] == ["opened", "started"]


def test_reopening_another_format_is_refused(folder, journal):
    journal.close()
    body = b'{"seq":0,"event":"opened","format":2'
    path_of(folder).write_bytes(b'%s,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
    with pytest.raises(RecordError, match="its format is 2, this program writes 1"):
        Journal.take_over(path_of(folder), Clock())


def test_loading_leaves_the_file_alone_unless_asked_to_repair(folder, journal):
    journal.close()
    whole = path_of(folder).read_bytes()
    path_of(folder).write_bytes(whole + b"torn")
    loaded = load(path_of(folder))
    assert loaded.torn_bytes == 4
    assert loaded.warning is not None
    assert "4 bytes" in loaded.warning
    assert path_of(folder).read_bytes() == whole + b"torn"
    load(path_of(folder), repair=True)
    assert path_of(folder).read_bytes() == whole


def test_a_whole_journal_loads_without_a_warning(folder, journal):
    loaded = load(path_of(folder))
    assert (loaded.torn_bytes, loaded.warning) == (0, None)


def test_repair_of_a_journal_in_use_is_refused(folder, journal):
    with pytest.raises(JournalBusy):
        load(path_of(folder), repair=True)


def test_a_record_that_is_out_of_order_ends_the_good_part(folder, journal):
    journal.append("started", b'"a"', 1)
    journal.append("started", b'"b"', 1)
    journal.close()
    lines = path_of(folder).read_bytes().splitlines(keepends=True)
    path_of(folder).write_bytes(lines[0] + lines[2] + lines[1])
    assert len(load(path_of(folder)).records) == 1


def test_a_record_that_is_too_long_is_refused_and_leaves_nothing(folder, journal):
    size = path_of(folder).stat().st_size
    with pytest.raises(RecordError, match="too long"):
        journal.append("x", data=b'{"x":"%s"}' % (b"y" * LONGEST_LINE))
    assert path_of(folder).stat().st_size == size


def test_a_journal_that_is_a_link_or_a_fifo_is_not_opened(tmp_path):
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "missing"):
        with pytest.raises(RecordError):
            load(tmp_path / name)


def test_a_journal_is_private(folder, journal):
    assert path_of(folder).stat().st_mode & 0o777 == 0o600
