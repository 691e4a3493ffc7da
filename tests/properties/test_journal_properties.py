"""Whatever is cut off or damaged, what loads is a prefix of what was written."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.clock import Clock
from dispatch_runner.records.folder import Folder
from dispatch_runner.records.journal import JOURNAL_NAME, Journal, load
from dispatch_runner.records.text import encode

records = st.lists(
    st.tuples(
        st.sampled_from(["started", "finished", "attempt_failed"]),
        st.text(max_size=30),
        st.integers(0, 11),
        st.dictionaries(st.sampled_from(["status", "trace", "type"]), st.text(max_size=20)),
    ),
    max_size=8,
)


def written(path: Path, entries) -> tuple[bytes, list]:
    with Folder.open_or_create(path) as folder:
        journal = Journal.create(folder, {"correlation_id": "c"}, Clock())
        for event, task, attempt, data in entries:
            journal.append(event, encode(task), attempt, encode(data))
        journal.close()
    return (path / JOURNAL_NAME).read_bytes(), load(path / JOURNAL_NAME).records


@given(records)
def test_everything_that_was_appended_comes_back(entries):
    with tempfile.TemporaryDirectory() as folder:
        _, loaded = written(Path(folder), entries)
    assert [(r["event"], r["task"], r["attempt"]) for r in loaded[1:]] == [e[:3] for e in entries]
    assert all(r.items() >= e[3].items() for r, e in zip(loaded[1:], entries, strict=True))


def test_a_journal_cut_at_any_byte_loads_as_a_prefix(tmp_path):
    data, whole = written(
        tmp_path / "run",
        [("started", f"t{i}é", 1, {}) for i in range(4)] + [("finished", "t0", 1, {"status": "x"})],
    )
    cut = tmp_path / "cut"
    lengths = set()
    for size in range(len(data) + 1):
        cut.write_bytes(data[:size])
        loaded = load(cut)
        assert loaded.records == whole[: len(loaded.records)]
        assert len(loaded.records) == data[:size].count(b"\n")
        assert loaded.good_bytes + loaded.torn_bytes == size
        lengths.add(len(loaded.records))
    assert lengths == set(range(len(whole) + 1))


@given(st.data(), records)
def test_a_damaged_byte_loses_nothing_before_its_line(data, entries):
    with tempfile.TemporaryDirectory() as folder:
        content, whole = written(Path(folder), entries)
        position = data.draw(st.integers(0, len(content) - 1))
        flipped = content[position] ^ data.draw(st.integers(1, 255))
        damaged = content[:position] + bytes([flipped]) + content[position + 1 :]
        (Path(folder) / "damaged").write_bytes(damaged)
        loaded = load(Path(folder) / "damaged").records
    line = content[:position].count(b"\n")
    assert loaded == whole[:line]


@given(st.binary(max_size=300))
def test_no_content_makes_loading_fail(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        path.write_bytes(content)
        loaded = load(path)
    assert loaded.good_bytes + loaded.torn_bytes == len(content)
