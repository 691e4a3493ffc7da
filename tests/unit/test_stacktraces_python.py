"""Python tracebacks, made by running programs that fail."""

import subprocess
import sys

import pytest

from dispatch_runner.agents.debug.stacktraces import RawTrace, parse

PROGRAM = """
import sys

def get(d, k):
    return d[k]

def outer():
    get({"a": 1}, "b")

def chained():
    try:
        outer()
    except KeyError as error:
        raise ValueError("bad config") from error

def context():
    try:
        outer()
    except KeyError:
        None.foo

def group():
    errors = []
    for f in (outer, chained):
        try:
            f()
        except Exception as error:
            errors.append(error)
    raise ExceptionGroup("many", [*errors, TypeError("never raised")])

def endless(n=0):
    return endless(n + 1)

def noted():
    error = ValueError("first\\nsecond")
    error.add_note("a note")
    raise error

globals()[sys.argv[1]]()
"""

TESTS = """
def boom(d):
    return d["x"]

def test_equal():
    x = 3
    assert x == 4

def test_boom():
    boom({})

def test_chained():
    try:
        boom({})
    except KeyError as error:
        raise ValueError("multi\\nline") from error
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("python") / "app.py"
    path.write_text(PROGRAM)
    return path


def failing(program, name: str) -> list[RawTrace]:
    done = subprocess.run([sys.executable, program, name], capture_output=True, text=True)
    assert done.returncode == 1
    return parse(done.stderr)


def places(trace: RawTrace) -> list[tuple[int | None, str, str]]:
    return [(frame.line, frame.function, frame.code) for frame in trace.frames]


GET = (5, "get", "return d[k]")
OUTER = (8, "outer", 'get({"a": 1}, "b")')


def test_frames_come_raising_first_with_their_code(program):
    (error,) = failing(program, "outer")
    assert (error.error_type, error.message) == ("KeyError", "'b'")
    assert places(error)[:2] == [GET, OUTER]
    assert error.frames[0].file == str(program)
    assert error.frames[-1].function == "<module>"


def test_a_cause_is_told_from_what_it_led_to(program):
    cause, error = failing(program, "chained")
    assert (cause.relation, cause.error_type, places(cause)[0]) == ("cause", "KeyError", GET)
    assert (error.relation, error.error_type) == ("raised", "ValueError")
    assert places(error)[0] == (14, "chained", 'raise ValueError("bad config") from error')
    assert cause.chain == error.chain


def test_context_is_told_from_the_last_error(program):
    context, error = failing(program, "context")
    assert (context.relation, context.error_type) == ("context", "KeyError")
    assert (error.relation, error.message) == (
        "raised",
        "'NoneType' object has no attribute 'foo'",
    )


def test_an_exception_group_keeps_its_members_apart(program):
    group, first, cause, second, bare = failing(program, "group")
    assert (group.error_type, group.message) == ("ExceptionGroup", "many (3 sub-exceptions)")
    assert [trace.relation for trace in (group, first, cause, second, bare)] == [
        "raised",
        "member",
        "cause",
        "member",
        "member",
    ]
    assert places(first)[:2] == [GET, OUTER]
    assert (second.error_type, bare.error_type, bare.frames) == ("ValueError", "TypeError", [])
    assert len({trace.chain for trace in (group, first, cause, second, bare)}) == 1


def test_endless_recursion_is_counted(program):
    (error,) = failing(program, "endless")
    assert error.error_type == "RecursionError"
    assert max(frame.repeated for frame in error.frames) > 900


def test_lines_after_the_message_are_notes(program):
    (error,) = failing(program, "noted")
    assert (error.message, error.notes) == ("first", ["second", "a note"])


def test_a_syntax_error_block_has_its_place(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("x = 1\ndef f(:\n    pass\n")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    (error,) = parse(done.stderr)
    assert error.error_type == "SyntaxError"
    assert [(frame.file, frame.line, frame.code) for frame in error.frames] == [
        (str(path), 2, "def f(:")
    ]


def test_a_traceback_inside_log_lines_is_found():
    text = (
        "2024-01-01 INFO start\n"
        "2024-01-01 ERROR job failed\n"
        "Traceback (most recent call last):\n"
        '  File "/app/job.py", line 3, in run\n'
        "    work()\n"
        "KeyError: 'x'\n"
        "2024-01-01 INFO next\n"
    )
    (error,) = parse(text)
    assert (error.error_type, error.message, error.frames[0].file) == (
        "KeyError",
        "'x'",
        "/app/job.py",
    )


def test_a_traceback_that_was_cut_keeps_its_frames():
    (error,) = parse('Traceback (most recent call last):\n  File "a.py", line 3, in run\n    wo')
    assert (error.error_type, error.complete, error.frames[0].line) == ("", False, 3)


@pytest.fixture(scope="module")
def test_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pytest") / "test_app.py"
    path.write_text(TESTS)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("style", ["long", "short", "native"])
@pytest.mark.parametrize("colour", ["yes", "no"])
def test_pytest_styles(test_file, style, colour):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--tb={style}"]
    done = subprocess.run(
        [*command, f"--color={colour}", test_file.name],
        capture_output=True,
        text=True,
        cwd=test_file.parent,
    )
    equal, boom, cause, chained = parse(done.stdout)
    assert (equal.error_type, equal.frames[0].line) == ("AssertionError", 7)
    assert equal.message.startswith("assert 3 == 4")
    assert (boom.error_type, boom.message) == ("KeyError", "'x'")
    assert places(boom)[:2] == [(3, "boom", 'return d["x"]'), (10, "test_boom", "boom({})")]
    assert (cause.relation, cause.error_type, cause.frames[0].line) == ("cause", "KeyError", 3)
    assert (chained.error_type, chained.message, chained.frames[0].line) == (
        "ValueError",
        "multi",
        16,
    )


@pytest.mark.slow
def test_pytest_line_style(test_file):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line"]
    done = subprocess.run(
        [*command, test_file.name], capture_output=True, text=True, cwd=test_file.parent
    )
    traces = [trace for trace in parse(done.stdout) if trace.frames]
    assert ("KeyError", 3) in [(trace.error_type, trace.frames[0].line) for trace in traces]
