"""Writing to streams that are slow, stuck, closed, in memory, or cannot say what we say."""

import io
import os
import stat
import threading
from pathlib import Path

import pytest

from dispatch_runner.report.output import LineWriter, Output, Pump, open_private


@pytest.fixture
def pipe():
    """The reading end as a file, and the writing end as a descriptor to give away."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as reader:
        yield reader, writing


def put_until_refused(lines):
    while True:
        lines.put("more")


def test_lines_arrive_whole_and_in_order(pipe):
    reader, writer = pipe
    lines = LineWriter(Output(writer))
    for number in range(1000):
        lines.put(f"line {number}")
    lines.close()
    assert reader.read().decode().splitlines() == [f"line {n}" for n in range(1000)]


def test_a_line_arrives_without_waiting_for_the_next(pipe):
    reader, writer = pipe
    lines = LineWriter(Output(writer))
    lines.put("first")
    assert reader.read(100) == b"first\n"
    lines.put("second")
    assert reader.read(100) == b"second\n"
    lines.close()


def test_the_streams_own_descriptor_stays_open(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        lines = LineWriter(Output(stream))
        lines.put("ours")
        lines.close()
        stream.write("theirs\n")
    assert (tmp_path / "log").read_text() == "ours\ntheirs\n"


def test_a_stream_in_memory_is_written_too():
    stream = io.StringIO()
    lines = LineWriter(Output(stream))
    lines.put("hello")
    lines.close()
    assert stream.getvalue() == "hello\n"


def test_what_an_encoding_lacks_is_replaced(tmp_path):
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        output = Output(stream)
        output.write("✓ ✗ ━ … é \ud800")
        output.close()
    assert (tmp_path / "log").read_bytes() == b"+ x # ~ ? ?"


def test_a_stuck_reader_delays_neither_the_events_nor_the_end(pipe):
    reader, writer = pipe
    pump = Pump(Output(writer), lambda closing: "x" * 1_000_000, pause=0.0, patience=0.02)
    pump.notify()
    pump.notify()
    with pytest.raises(TimeoutError, match=r"nobody took the report's text for 0\.02 s"):
        pump.close()
    reader.close()  # lets the thread go


def test_a_slow_reader_gets_everything(pipe):
    reader, writer = pipe
    texts = ["x" * 1_000_000]
    pump = Pump(Output(writer), lambda closing: texts.pop() if texts else "", pause=0.0)
    got = []
    thread = threading.Thread(target=lambda: got.append(reader.read()))
    pump.notify()
    thread.start()
    pump.close()
    thread.join()
    assert len(got[0]) == 1_000_000


def test_a_reader_that_is_hopelessly_behind_is_given_up(pipe):
    reader, writer = pipe
    lines = LineWriter(Output(writer), backlog=10)
    lines.put("x" * 1_000_000)  # nobody reads: nothing after this line is ever taken
    with pytest.raises(BufferError, match="too far behind"):
        put_until_refused(lines)
    reader.close()


def test_a_terminal_that_somebody_made_non_blocking_gets_everything(pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    got = []
    thread = threading.Thread(target=lambda: got.append(reader.read()))
    thread.start()
    lines = LineWriter(Output(writer))
    lines.put("x" * 1_000_000)
    lines.close()
    thread.join()
    assert len(got[0]) == 1_000_001


def test_a_reader_that_went_away_is_an_error_for_a_later_event_and_at_the_end(pipe):
    reader, writer = pipe
    reader.close()
    lines = LineWriter(Output(writer))
    with pytest.raises(BrokenPipeError):
        put_until_refused(lines)
    with pytest.raises(BrokenPipeError):
        lines.close()


def test_a_closed_stream_is_an_error_at_the_end(tmp_path):
    stream = (tmp_path / "log").open("w")
    stream.close()
    lines = LineWriter(Output(stream))
    lines.put("lost")
    with pytest.raises(ValueError, match="closed file"):
        lines.close()


def test_nothing_is_started_for_nothing():
    before = threading.active_count()
    stream = io.StringIO()
    LineWriter(Output(stream)).close()
    assert threading.active_count() == before
    assert stream.getvalue() == ""


def test_an_idle_pump_produces_all_the_same():
    ticked = threading.Event()
    pump = Pump(Output(io.StringIO()), lambda closing: ticked.set() or "", pause=0.0, idle=0.001)
    pump.notify()
    assert ticked.wait(5)
    ticked.clear()
    assert ticked.wait(5)
    pump.close()


def test_a_stream_that_is_no_terminal_has_a_usual_size():
    assert Output(io.StringIO()).size() == (80, 24)


def test_an_events_file_is_private_even_when_it_was_not(tmp_path):
    path = tmp_path / "events"
    path.write_text("old")
    path.chmod(0o644)
    output = open_private(path)
    output.write("new")
    output.close()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_events_file_is_never_written_through_a_symbolic_link(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "link")
    assert target.read_text() == "precious"


def test_a_named_pipe_without_a_reader_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        open_private(tmp_path / "pipe")


def test_a_descriptor_of_the_shell_can_be_named(pipe):
    reader, writer = pipe
    output = open_private(Path(f"/dev/fd/{writer}"))
    output.write("through")
    output.close()
    os.close(writer)
    assert reader.read() == b"through"
