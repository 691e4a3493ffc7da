"""Whatever the texts and files hold, the analysis ends with an output of its form."""

import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatch_runner.agents.debug import lint
from dispatch_runner.agents.debug.models import DebugOutput
from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

SOURCES = sorted(Path(__file__).parents[2].glob("dispatch_runner/agents/debug/*.py"))
ERRORS = [
    "KeyError: 'x'",
    "IndexError: list index out of range",
    "ZeroDivisionError: division by zero",
    "AttributeError: 'NoneType' object has no attribute 'name'",
    "AttributeError: 'Source' object has no attribute 'lins'",
    "TypeError: 'NoneType' object is not subscriptable",
    "TypeError: 'NoneType' object is not iterable",
    "TypeError: 'NoneType' object is not callable",
    "TypeError: 'int' object is not callable",
    "TypeError: f() missing 1 required positional argument: 'x'",
    "TypeError: __init__() takes 1 positional argument but 2 were given",
    "TypeError: unsupported operand type(s) for +: 'int' and 'NoneType'",
    "NameError: name 'x' is not defined",
    "UnboundLocalError: cannot access local variable 'x' where it is not associated with a value",
    "ImportError: cannot import name 'a' from 'b' (unknown location)",
    "ModuleNotFoundError: No module named 'a'",
    "FileNotFoundError: [Errno 2] No such file or directory: 'a'",
    "ValueError: not enough values to unpack (expected 2, got 1)",
    "ValueError: invalid literal for int() with base 10: 'a'",
    "RecursionError: maximum recursion depth exceeded",
    "AssertionError",
    "SyntaxError: invalid syntax",
]


def analysed(path: Path, trace: str, hypothesis: str = "") -> None:
    async def run() -> None:
        role = DebugRole()
        value = {
            "problem_description": "it `fails` in analyse(x)",
            "affected_files": [str(path)],
            "error_traces": [trace],
            "analysis_depth": "quick",
            "hypothesis": hypothesis,
        }
        call = AgentCall(
            "t",
            "debug",
            "",
            value,
            {},
            "i",
            1,
            9.0,
            Path("/"),
            AllowedRoots(("/",)),
            None,
            anyio.Event(),
        )
        answer = await role.solve(call)
        DebugOutput.model_validate(answer.output)

    anyio.run(run)


@pytest.fixture(autouse=True)
def without_ruff(monkeypatch):
    """The process is not what is tried here, and would cost most of the time."""
    monkeypatch.setattr(lint, "find", lambda name: None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    path=st.sampled_from(SOURCES),
    lines=st.lists(st.integers(0, 260), min_size=1, max_size=5),
    error=st.sampled_from(ERRORS),
    hypothesis=st.text(max_size=40),
)
def test_any_error_at_any_line_of_a_real_file(path, lines, error, hypothesis):
    frames = "".join(f'  File "{path}", line {line}, in f\n' for line in lines)
    analysed(path, f"Traceback (most recent call last):\n{frames}{error}\n", hypothesis)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(text=st.text(max_size=200), content=st.binary(max_size=200))
def test_any_text_about_any_bytes(tmp_path, text, content):
    path = tmp_path / "a.py"
    path.write_bytes(content)
    trace = (
        f'Traceback (most recent call last):\n  File "{path}", line 1, in f\n    x\nKeyError: 1\n'
    )
    analysed(path, text + "\n" + trace)


@pytest.mark.slow
def test_ten_megabytes_of_log_around_one_traceback(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def f(d):\n    return d['x']\n")
    noise = "2024-01-01 12:00:00,123 INFO worker did something at /a/b.py (ok) in x: 12\n" * 70_000
    trace = f"Traceback (most recent call last):\n  File \"{path}\", line 2, in f\nKeyError: 'x'\n"
    assert sys.getsizeof(noise) > 5_000_000
    analysed(path, noise + trace + noise)
