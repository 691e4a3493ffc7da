"""The quick reader of flags agrees with Typer wherever it does not leave the matter to it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.exceptions import TyperException
from typer.main import get_command

from dispatch_runner.cli import app as declared
from dispatch_runner.cli import quick, start
from dispatch_runner.cli.app import Invocation, app
from dispatch_runner.cli.run import RunOptions

WORDS = st.sampled_from(
    ["1", "5", "10", "11", "0", "2.5", "1e3", "x", "-", "-1", "", "power", "process", "full", "none",
     "json", "lines", "run", "tasks.json", "--", "a b", "é", "nan", "1_0", "٣"]
)  # fmt: skip
FLAGS = st.sampled_from([*quick._VALUES, *quick._SWITCHES, "--unknown", "--max", "-qj", "-j3"])
ARGUMENTS = st.lists(st.one_of(WORDS, FLAGS, st.builds("{}={}".format, FLAGS, WORDS)), max_size=6)


def by_typer(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, command: str = "run"
) -> RunOptions | None:
    """The options that Typer hands on, or null when it refuses the arguments."""
    seen: list[RunOptions] = []
    place = declared if command == "run" else start
    monkeypatch.setattr(
        place, f"{command}_request", lambda options, *rest: seen.append(options) or 0
    )
    invocation: Any = Invocation(None, None)  # type: ignore[arg-type]
    try:
        get_command(app).main([command, *arguments], standalone_mode=False, obj=invocation)
    except TyperException:
        return None
    return seen[0] if seen else None


@given(ARGUMENTS)
@settings(max_examples=400)
def test_what_is_read_quickly_is_what_typer_reads(arguments: list[str]) -> None:
    options = quick.read(["run", *arguments])
    if options is None:
        return
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert options == by_typer(arguments, monkeypatch)


def test_start_takes_the_flags_of_run(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["tasks.json", "-j", "3", "--quiet", "--exit-zero", "--timeout", "2.5"]
    options = quick.read(["start", *arguments])
    assert options == quick.read(["run", *arguments])
    assert options == by_typer(arguments, monkeypatch, "start")


def test_every_flag_of_run_is_read_quickly() -> None:
    command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    names = {name for item in command.params for name in (*item.opts, *item.secondary_opts)}
    known = {*quick._VALUES, *quick._SWITCHES}
    assert {name for name in names if name.startswith("-")} - known <= {"-h", "--help"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-j", "3", "--quiet"],
        ["--trace-dir=t", "--allow-path", "/a", "--allow-path", "/b"],
        ["tasks.json", "--stdout", "summary", "--exit-zero", "--fail-fast"],
        ["--quiet", "--progress", "json"],
        ["--timeout", "2.5", "--dispatch-timeout", "60", "--retries", "0"],
    ],
)
def test_ordinary_flags_need_no_typer(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = quick.read(["run", *arguments])
    assert options is not None
    assert options == by_typer(arguments, monkeypatch)


@pytest.mark.parametrize(
    "arguments", [["--max-workers", "0"], ["--unknown"], ["--retries"], ["a", "b"]]
)
def test_what_is_in_doubt_is_left_to_typer(arguments: list[str]) -> None:
    assert quick.read(arguments) is None
