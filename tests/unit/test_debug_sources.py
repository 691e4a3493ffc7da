"""Affected files that are not what they should be."""

import os

import pytest

from dispatch_runner.agents.debug.sources import LARGEST, read_source


def test_a_text_file_is_read_by_lines_as_tracebacks_count_them(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes("one\r\ntwo\x0c\u2028same line\rthree".encode())
    source = read_source(str(path))
    assert (source.status, source.language, len(source.lines)) == ("analysed", "python", 3)
    assert (source.line(1), source.line(3), source.line(4)) == ("one", "three", "")


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda path: None, "missing", "does not exist"),
        (lambda path: path.mkdir(), "not_a_file", "directory"),
        (os.mkfifo, "not_a_file", "special"),
        (lambda path: path.write_bytes(b"\x7fELF\0\0"), "binary", "not text"),
        (lambda path: path.write_bytes(b"x" * (LARGEST + 1)), "too_large", "2,000,001 bytes"),
        (lambda path: path.symlink_to(path), "unreadable", "symbolic links"),
    ],
    ids=["missing", "directory", "pipe", "binary", "huge", "link to itself"],
)
def test_what_cannot_be_analysed_says_why(tmp_path, make, status, said):
    path = tmp_path / "a.py"
    make(path)
    source = read_source(str(path))
    assert source.status == status
    assert said in (source.note or "")
    assert source.lines == ()


def test_bytes_that_are_not_utf8_are_replaced_and_said(tmp_path):
    path = tmp_path / "a.js"
    path.write_bytes(b"ok\nbad \xff byte\n")
    source = read_source(str(path))
    assert (source.status, source.lines) == ("analysed", ("ok", "bad \ufffd byte"))
    assert "byte 7" in (source.note or "")


def test_python_may_declare_its_encoding(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes("# coding: latin-1\nname = 'é'\n".encode("latin-1"))
    assert read_source(str(path)).line(2) == "name = 'é'"


def test_an_unknown_declared_encoding_is_survived(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"# coding: klingon\nx = 1\n")
    source = read_source(str(path))
    assert source.status == "analysed"
    assert "klingon" in (source.note or "")
