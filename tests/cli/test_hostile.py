"""100 MB of anything: exit 2, one document, in bounded time and memory, nothing written."""

import resource
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SIZE = 100 << 20
SECONDS = 20.0
MEMORY = 3 << 30
"""Address space that the program may have: what is not refused must fit."""


def filled(start: bytes, unit: bytes, end: bytes = b"") -> bytes:
    return start + unit * ((SIZE - len(start) - len(end)) // len(unit)) + end


HOSTILE = {
    "whole numbers as tasks": lambda: filled(b'{"tasks": [1', b",12345678", b"]}"),
    "few million tasks": lambda: filled(b'{"tasks": [{}', b', {"task_id": "aaaaaaaaaaaa"}', b"]}"),
    "one huge string": lambda: filled(b'{"tasks": "', b"x", b'"}'),
    "one huge key": lambda: filled(b'{"', b"x", b'": 1}'),
    "one huge string of escapes": lambda: filled(b'{"tasks": "', b"\\u0000", b'"}'),
    "one huge id": lambda: filled(b'{"tasks": [{"task_id": "', b"x", b'"}]}'),
    "a string that never ends": lambda: filled(b'{"tasks": "', b"x"),
    "unknown keys": lambda: b"{%s}" % b",".join(b'"key-%07d": 1' % n for n in range(5_500_000)),
    "the same key": lambda: filled(b'{"a": 1', b',"a": 1', b"}"),
    "opening brackets": lambda: filled(b"", b"["),
    "opening braces": lambda: filled(b"", b'{"a":'),
    "brackets in a task": lambda: filled(b'{"tasks": [{"input_data": ', b"["),
    "empty lists": lambda: filled(b'{"tasks": [[]', b",[]", b"]}"),
    "white space": lambda: filled(b"", b" "),
    "NUL bytes": lambda: filled(b"", b"\x00"),
    "not UTF-8": lambda: filled(b"", b"\xff"),
    "not UTF-8 at the end": lambda: filled(b'{"tasks": "', b"x", b'\xff"}'),
    "a huge number": lambda: filled(b'{"tasks": ', b"9", b"}"),
    "a huge fraction": lambda: filled(b'{"tasks": 0.', b"9", b"}"),
    "lone surrogates": lambda: filled(b'{"tasks": "', b"\\ud800", b'"}'),
    "line breaks": lambda: filled(b"", b"\n", b"x"),
    "quotes": lambda: filled(b"", b'"'),
    "backslashes": lambda: filled(b'"', b"\\"),
    "a deep reference": lambda: filled(
        b'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"x": "', b"${tasks.", b'"}}]}'
    ),
    "dependencies": lambda: filled(
        b'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}, "dependencies": ["b"',
        b',"bbbbbbbbbbbbbbbbbbbbbbbb"',
        b"]}]}",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_100_mb_of(cli, name):
    text = HOSTILE[name]()
    assert SIZE // 2 < len(text) <= SIZE

    def bounded():
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    ran = cli("-q", stdin=text, writes=(), timeout=SECONDS, preexec_fn=bounded)
    assert ran.code == 2, ran
    assert ran.document["status"] == "rejected"
    assert len(ran.stdout) < 1 << 20


def test_a_stream_without_an_end(cli):
    with Path("/dev/zero").open("rb") as endless:
        process = cli.start("-q", stdin=endless)
    ran = cli.finish(process, timeout=SECONDS)
    assert (ran.code, ran.codes) == (2, ["document_too_large"])
    assert cli("run", "/dev/zero", writes=(), timeout=SECONDS).code == 2


def test_what_does_not_fit_into_memory_is_told(cli):
    def tight():
        resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))

    text = HOSTILE["one huge string"]()
    ran = cli("-q", stdin=text, writes=(), preexec_fn=tight)
    assert (ran.code, ran.codes) == (3, ["out_of_memory"])
