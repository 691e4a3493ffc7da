"""What a settings file may hold, and what is said of a wrong one."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.errors import SettingsError
from dispatch_runner.settings import Flags, Settings, load
from dispatch_runner.settings.file import MOST_BYTES, parse, read
from dispatch_runner.settings.locate import lines

WHOLE = """
[defaults]
backend = "offline"
max_workers = 8
timeout_seconds = 600
dispatch_timeout_seconds = 3600.5
retries = 1
fail_fast = true
trace_dir = "runs"
allow_paths = ["/data"]
durability = "process"

[agents.coder]
max_concurrency = 2

[agents.lint]
backend = "command"
command = ["ruff", "check", "."]
stdin = "none"
output = "text"
env = ["PATH", "RUFF_*"]
cwd = "src"
capabilities = ["lint", "style"]
timeout_seconds = 60
max_concurrency = 4
retries = 0
resources = { model = 1 }
grace_seconds = 0.5
output_limit = 4096

[limits.model]
capacity = 4
per_minute = 50
"""


def settings_of(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "dispatch.toml"
    file.write_text(text)
    return load(Flags(config=file), {}, tmp_path)


def problems_of(text: str | bytes) -> list[tuple[int | None, str, str | None]]:
    """Line, message and hint of everything that is wrong with a text."""
    content = text.encode() if isinstance(text, str) else text
    with pytest.raises(SettingsError) as caught:
        parse(content, "dispatch.toml")
    found = [caught.value, *caught.value.others]
    assert {problem.source for problem in found} == {"dispatch.toml"}
    return [(problem.line, problem.message, problem.hint) for problem in found]


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, WHOLE)
    assert settings.max_workers == 8
    assert settings.dispatch_timeout_seconds == 3600.5
    assert settings.durability == "process"
    assert settings.trace_dir == str(tmp_path / "runs")
    lint = settings.agents["lint"]
    assert lint.command == ["ruff", "check", "."]
    assert (lint.stdin, lint.output, lint.cwd) == ("none", "text", "src")
    assert (lint.resources, lint.grace_seconds, lint.output_limit) == ({"model": 1}, 0.5, 4096)
    assert settings.agents["coder"].max_concurrency == 2
    assert (settings.limits["model"].capacity, settings.limits["model"].per_minute) == (4, 50)


def test_agents_and_limits_say_where_they_were_defined(tmp_path: Path) -> None:
    origins = settings_of(tmp_path, WHOLE).origins
    assert origins["agents.coder"] == "file dispatch.toml:13"
    assert origins["agents.lint.env"] == "file dispatch.toml:21"
    assert origins["limits.model"] == "file dispatch.toml:31"


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "")
    assert settings.agents == {}
    assert settings.max_workers is None


def test_a_byte_order_mark_and_windows_line_ends_are_tolerated() -> None:
    content = b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode()
    assert parse(content, "f").defaults == parse(WHOLE.encode(), "f").defaults


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[defaults]\nmax_worker = 5", 2, "unknown key 'defaults.max_worker'", "did you mean 'max_workers'?"),
        ("x = 1", 1, "unknown key 'x'", "known keys: defaults, agents, limits, tests, checks, cache, workspaces, mcp"),
        ("\n[agent.a]\n", 2, "unknown key 'agent'", "did you mean 'agents'?"),
        ("[defaults]\nretries = 11", 2, "'defaults.retries' should be less than or equal to 10, not 11", None),
        ("[defaults]\nmax_workers = true", 2, "'defaults.max_workers' should be a valid integer, not True", None),
        ("[defaults]\ntimeout_seconds = inf", 2, "'defaults.timeout_seconds' should be a finite number, not inf", None),
        ("agents = 3", 1, "'agents' should be a table, not 3", None),
        ("[agents]\nlint = 3", 2, "'agents.lint' should be a table, not 3", None),
        (
            "[agents.a]\nbackend = 'claud'",
            2,
            "'agents.a.backend': backend 'claud' is not available in this version",
            "did you mean 'claude-code'?",
        ),
        (
            "[agents.a]\ncommand = \"ruff check 'my dir'\"",
            2,
            "'agents.a.command' is a shell line, not an argument vector",
            'write it as an array: command = ["ruff", "check", "my dir"]',
        ),
        ("[agents.a]\ncommand = \"it's\"", 2, "'agents.a.command' is a shell line, not an argument vector",
         'write it as an array: command = ["it\'s"]'),
        ("[agents.a]\ncommand = ['a', 3]", 2, "'agents.a.command.1' should be a valid string, not 3", None),
        ("[agents.a]\ncommand = ['x']\nstdin = 'yaml'", 3, "'agents.a.stdin' should be 'json' or 'none', not 'yaml'", None),
        ('[agents.a]\ncommand = ["a\\u0000"]', 2, "'agents.a.command.0' holds a NUL character", None),
        ("[agents.a]\nbackend = 'command'", 2, "agent 'a' has no command to run", 'add command = ["program", "argument"]'),
        ("[agents.coder]\nenv = ['X']", 2, "'env' of agent 'coder' has no effect without a command", "add command, or remove it"),
        ("[agents.auto]\ncommand = ['x']", 1, "'auto' cannot be the name of an agent", "rename it"),
        ("[limits.x]", 1, "limit 'x' limits nothing", "set capacity or per_minute"),
        (
            "[agents.coder]\nresources = {anthropc = 1}\n[limits.anthropic]\ncapacity = 1",
            2,
            "agent 'coder' uses limit 'anthropc', which is not defined",
            "did you mean 'anthropic'?",
        ),
        ("[agents.coder]\nresources = {a = 1}", 2, "agent 'coder' uses limit 'a', which is not defined", "define [limits.a]"),
        (
            "[agents.coder.resources]\na = 5\n[limits.a]\ncapacity = 4",
            2,
            "agent 'coder' takes 5 of 'a', which has 4",
            "no task of it could ever start; raise capacity",
        ),
        ("a = = 1", 1, "is not valid TOML: invalid value", None),
        ("a = 1\na = 2\n", 2, "is not valid TOML: cannot overwrite a value", None),
        ("a = 1\nb = '''", 2, "is not valid TOML: expected \"'''\"", None),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_line_and_remedy(
    text: str, line: int, message: str, hint: str | None
) -> None:
    assert problems_of(text) == [(line, message, hint)]


def test_bytes_that_are_no_text_are_told_with_their_line() -> None:
    assert problems_of(b"a = 1\nb = '\xff'") == [(2, "is not UTF-8", "save the file as UTF-8")]


def test_everything_that_is_wrong_is_told_at_once_in_order() -> None:
    text = "[agents.b]\nbackend = 'x'\ntimeout_seconds = 0\n[defaults]\nretries = 'two'\nx = 1\n"
    assert [line for line, _, _ in problems_of(text)] == [2, 3, 5, 6]


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 20_000,
        ".".join(["a"] * 2_000) + " = 1",
        "[" + ".".join(["a"] * 2_000) + "]",
        "[agents]\n" + ".".join(["a"] * 2_000) + " = 1",
    ],
)
def test_deep_nesting_is_an_error_and_no_crash(text: str) -> None:
    assert problems_of(text) == [(None, "is nested too deeply", None)]


def test_a_number_of_thousands_of_digits_is_an_error_and_no_crash() -> None:
    assert len(problems_of("[defaults]\nretries = " + "9" * 10_000)) == 1


def test_a_missing_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: cannot be read: No such file"):
        load(Flags(config=Path("missing.toml")), {}, tmp_path)


def test_a_pipe_a_folder_and_a_huge_file_are_errors_and_nothing_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").write_bytes(b" " * (MOST_BYTES + 1))
    for name, message in (
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("huge", "larger than"),
    ):
        with pytest.raises(SettingsError, match=message):
            read(tmp_path / name, name)


STRANGE = """\
# [comment]
[defaults] # = [x]
a = \"\"\"
[fake]
fake = 1
\"\"\"\"
b = [ # ]
  "]", # [
]
c.d = { e = 1 }

  [agents."my agent"]
'quoted key' = '#'
[[tables]]
k = 1
last = '''
'''"""


def test_lines_are_those_of_the_statements_whatever_strings_and_comments_hold() -> None:
    tomllib.loads(STRANGE)
    assert lines(STRANGE) == {
        ("defaults",): 2,
        ("defaults", "a"): 3,
        ("defaults", "b"): 7,
        ("defaults", "c"): 10,
        ("defaults", "c", "d"): 10,
        ("defaults", "c", "d", "e"): 10,
        ("agents",): 12,
        ("agents", "my agent"): 12,
        ("agents", "my agent", "quoted key"): 13,
        ("tables",): 14,
        ("tables", "k"): 15,
        ("tables", "last"): 16,
    }


values = st.sampled_from(
    [
        "1",
        '"x"',
        "'[y]'",
        '"""\n[z]\nq = 1\n"""',
        "'''\n#\n'''",
        "[\n1, # [\n]",
        "{ i = 1 }",
        '"#"',
        '"\\""',
    ]
)
blocks = st.lists(st.tuples(st.sampled_from(["", "# c [", " "]), values), max_size=8)


@given(blocks)
def test_every_key_is_found_on_its_line(block: list[tuple[str, str]]) -> None:
    text, expected = "[t]\n", {}
    for number, (before, value) in enumerate(block):
        text += before + "\n" if before else ""
        expected["t", f"k{number}"] = text.count("\n") + 1
        text += f"k{number} = {value}\n"
    tomllib.loads(text)
    found = lines(text)
    assert {key: found[key] for key in expected} == expected
