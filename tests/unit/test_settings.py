"""Where the operator's settings come from, and what they are together with a request's config."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.errors import SettingsError
from dispatch_runner.models import Config, Task
from dispatch_runner.models.validators import validator
from dispatch_runner.settings import (
    EffectiveConfig,
    Flags,
    Settings,
    effective,
    load,
    task_retries,
    task_timeout,
)


def load_with(
    tmp_path: Path,
    text: str = "",
    *,
    flags: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
) -> Settings:
    """Settings of a file of this text, besides flags and environment."""
    file = tmp_path / "settings.toml"
    file.write_text(text)
    return load(Flags(config=file, **(flags or {})), environ or {}, tmp_path)


def in_force(
    tmp_path: Path, text: str = "", config: Config | None = None, **more: Any
) -> EffectiveConfig:
    return effective(load_with(tmp_path, text, **more), config or Config())


def task(**fields: Any) -> Task:
    return Task(task_id="t", agent="echo", input_data={}, **fields)


def test_without_anything_set_the_documented_defaults_hold(tmp_path: Path) -> None:
    config = effective(load(Flags(), {}, tmp_path), Config())
    assert config.as_json() == {
        "max_workers": 5,
        "timeout_seconds": 300.0,
        "dispatch_timeout_seconds": None,
        "trace_dir": str(tmp_path / "traces"),
        "retries": 2,
        "fail_fast": False,
        "max_cost_usd": None,
        "max_tokens": None,
        "max_requests": None,
    }
    assert config.warnings == ()


def test_flag_stands_before_environment_before_file(tmp_path: Path) -> None:
    text = "[defaults]\nmax_workers = 3\nretries = 1\nbackend = 'command'\n"
    environ = {"DISPATCH_RUNNER_MAX_WORKERS": "4", "DISPATCH_RUNNER_RETRIES": "0"}
    settings = load_with(tmp_path, text, flags={"max_workers": 9}, environ=environ)
    assert (settings.max_workers, settings.retries, settings.backend) == (9, 0, "command")
    assert settings.origins["max_workers"] == "flag --max-workers"
    assert settings.origins["retries"] == "environment DISPATCH_RUNNER_RETRIES"
    assert settings.origins["backend"] == "file settings.toml:4"
    assert settings.origins["timeout_seconds"] == "default"


def test_every_variable_of_the_environment_is_read(tmp_path: Path) -> None:
    environ = {
        "DISPATCH_RUNNER_MAX_WORKERS": "7",
        "DISPATCH_RUNNER_TIMEOUT_SECONDS": "1.5",
        "DISPATCH_RUNNER_DISPATCH_TIMEOUT_SECONDS": "90",
        "DISPATCH_RUNNER_TRACE_DIR": "t",
        "DISPATCH_RUNNER_RETRIES": "0",
        "DISPATCH_RUNNER_FAIL_FAST": "Yes",
        "DISPATCH_RUNNER_ALLOW_PATH": os.pathsep.join(["/a", "b"]),
        "DISPATCH_RUNNER_BACKEND": "command",
        "DISPATCH_RUNNER_DURABILITY": "process",
        "DISPATCH_RUNNER_MAX_COST_USD": "2.5",
        "DISPATCH_RUNNER_MAX_TOKENS": "1000",
        "DISPATCH_RUNNER_MAX_REQUESTS": "10",
        "DISPATCH_RUNNER_STALL_SECONDS": "60",
        "DISPATCH_RUNNER_REPAIR_ROUNDS": "0",
        "DISPATCH_RUNNER_AGENTS": "agents",
        "DISPATCH_RUNNER_WAIT_FOR_RESET": "yes",
        "DISPATCH_RUNNER_ALLOW_UNKNOWN_COST": "1",
    }
    settings = load(Flags(), environ, tmp_path)
    assert effective(settings, Config()).as_json() == {
        "max_workers": 7,
        "timeout_seconds": 1.5,
        "dispatch_timeout_seconds": 90.0,
        "trace_dir": str(tmp_path / "t"),
        "retries": 0,
        "fail_fast": True,
        "max_cost_usd": 2.5,
        "max_tokens": 1000,
        "max_requests": 10,
    }
    assert (settings.stall_seconds, settings.repair_rounds) == (60.0, 0)
    assert settings.agent_folders == (str(tmp_path / "agents"),)
    assert settings.wait_for_reset
    assert settings.allow_unknown_cost
    assert settings.allow_paths == ("/a", str(tmp_path / "b"))
    assert (settings.backend, settings.durability) == ("command", "process")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    environ = {"DISPATCH_RUNNER_MAX_WORKERS": "", "DISPATCH_RUNNER_ALLOW_PATH": ""}
    settings = load(Flags(), environ, tmp_path)
    assert settings.max_workers is None
    assert settings.allow_paths == ()


def test_the_variable_names_the_file_and_the_flag_stands_before_it(tmp_path: Path) -> None:
    for name, workers in (("a.toml", 1), ("b.toml", 2)):
        (tmp_path / name).write_text(f"[defaults]\nmax_workers = {workers}\n")
    environ = {"DISPATCH_RUNNER_CONFIG": "a.toml"}
    assert load(Flags(), environ, tmp_path).max_workers == 1
    assert load(Flags(config=Path("b.toml")), environ, tmp_path).max_workers == 2


def test_the_null_device_is_an_empty_file(tmp_path: Path) -> None:
    assert load(Flags(config=Path(os.devnull)), {}, tmp_path).agents == {}


def test_allowed_paths_of_all_sources_add_up(tmp_path: Path) -> None:
    settings = load_with(
        tmp_path,
        "[defaults]\nallow_paths = ['~/data', '/flag']\n",
        flags={"allow_path": ("/flag",)},
        environ={"DISPATCH_RUNNER_ALLOW_PATH": "/env", "HOME": "/home/me"},
    )
    assert settings.allow_paths == ("/flag", "/env", "/home/me/data")
    assert settings.origins["allow_paths"] == (
        "flag --allow-path, environment DISPATCH_RUNNER_ALLOW_PATH, file settings.toml:2"
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("MAX_WORKERS", "0"),
        ("MAX_WORKERS", "10001"),
        ("MAX_WORKERS", "five"),
        ("MAX_WORKERS", "9" * 5000),
        ("MAX_WORKERS", "1.0"),
        ("TIMEOUT_SECONDS", "0"),
        ("TIMEOUT_SECONDS", "nan"),
        ("TIMEOUT_SECONDS", "inf"),
        ("TIMEOUT_SECONDS", "-3"),
        ("DISPATCH_TIMEOUT_SECONDS", "soon"),
        ("RETRIES", "-1"),
        ("RETRIES", "11"),
        ("FAIL_FAST", "perhaps"),
        ("BACKEND", "claude-cod"),
        ("DURABILITY", "none"),
    ],
)
def test_a_wrong_value_names_its_variable(tmp_path: Path, variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Flags(), {f"DISPATCH_RUNNER_{variable}": text}, tmp_path)
    assert caught.value.source == f"environment DISPATCH_RUNNER_{variable}"
    assert text[:20] in caught.value.message
    assert len(str(caught.value)) < 250


read_config = validator(Config).validate_python


@pytest.mark.parametrize(
    ("key", "lowest", "highest"), [("max_workers", 1, 10_000), ("retries", 0, 10)]
)
def test_flags_and_requests_have_the_same_ranges(
    tmp_path: Path, key: str, lowest: int, highest: int
) -> None:
    for value in (lowest, highest):
        assert getattr(load(Flags(**{key: value}), {}, tmp_path), key) == value
        assert getattr(read_config({key: value}), key) == value
    for value in (lowest - 1, highest + 1):
        with pytest.raises(SettingsError):
            load(Flags(**{key: value}), {}, tmp_path)
        with pytest.raises(ValueError, match=key):
            read_config({key: value})


def test_all_wrong_flags_and_variables_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="and 2 more") as caught:
        load(Flags(max_workers=0, retries=99), {"DISPATCH_RUNNER_FAIL_FAST": "maybe"}, tmp_path)
    sources = {caught.value.source, *(other.source for other in caught.value.others)}
    assert sources == {
        "flag --max-workers",
        "flag --retries",
        "environment DISPATCH_RUNNER_FAIL_FAST",
    }


def test_a_backend_of_a_later_version_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(Flags(backend="claude"), {}, tmp_path)
    assert caught.value.message == "backend 'claude' is not available in this version"
    assert caught.value.hint == "did you mean 'claude-code'?"


def test_a_misspelt_variable_is_noted_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    environ = {
        "DISPATCH_RUNNER_MAX_WORKER": "3",
        "DISPATCH_RUNNER_TASK_ID": "t",
        "DISPATCH_RUNNER_CORRELATION_ID": "c",
        "DISPATCH_RUNNER_XYZ": "1",
    }
    (note,) = load(Flags(), environ, tmp_path).notes
    assert "DISPATCH_RUNNER_MAX_WORKER is not known and was ignored" in note
    assert "did you mean 'DISPATCH_RUNNER_MAX_WORKERS'?" in note


@pytest.mark.parametrize("key", ["max_workers", "timeout_seconds", "dispatch_timeout_seconds"])
def test_a_request_lowers_an_operators_limit_and_never_raises_it(tmp_path: Path, key: str) -> None:
    text = f"[defaults]\n{key} = 10\n"
    assert getattr(in_force(tmp_path, text, Config(**{key: 4})), key) == 4
    above = in_force(tmp_path, text, Config(**{key: 40}))
    assert getattr(above, key) == 10
    assert above.warnings == (
        f"config.{key} 40 is above the operator's limit: 10 holds (file settings.toml:2)",
    )


def test_without_an_operators_limit_the_request_decides(tmp_path: Path) -> None:
    config = Config(max_workers=500, timeout_seconds=9000.0, retries=9)
    settled = in_force(tmp_path, "", config)
    assert (settled.max_workers, settled.timeout_seconds, settled.retries) == (500, 9000.0, 9)


def test_zero_retries_is_a_limit_and_not_nothing(tmp_path: Path) -> None:
    assert in_force(tmp_path, "[defaults]\nretries = 0\n", Config(retries=3)).retries == 0
    assert in_force(tmp_path, "", Config(retries=0)).retries == 0


def test_what_is_no_limit_is_flag_before_request_before_file(tmp_path: Path) -> None:
    text = "[defaults]\ntrace_dir = 'from-file'\nfail_fast = true\n"
    asked = Config(trace_dir="asked", fail_fast=False)
    assert in_force(tmp_path, text).trace_dir == tmp_path / "from-file"
    assert in_force(tmp_path, text).fail_fast
    assert in_force(tmp_path, text, asked).trace_dir == tmp_path / "asked"
    assert not in_force(tmp_path, text, asked).fail_fast
    flags = {"trace_dir": Path("/flag"), "fail_fast": True}
    assert in_force(tmp_path, text, asked, flags=flags).trace_dir == Path("/flag")
    assert in_force(tmp_path, text, asked, flags=flags).fail_fast


def test_a_flag_can_turn_a_switch_of_the_file_off(tmp_path: Path) -> None:
    text = "[defaults]\nfail_fast = true\n"
    assert not in_force(tmp_path, text, flags={"fail_fast": False}).fail_fast


def test_a_tasks_own_timeout_stands_before_the_requests(tmp_path: Path) -> None:
    settled = in_force(tmp_path, "", Config(timeout_seconds=20.0))
    assert task_timeout(task(timeout_seconds=50.0), None, settled) == 50.0
    assert task_timeout(task(), None, settled) == 20.0
    assert task_timeout(task(), None, in_force(tmp_path)) == 300.0


def test_the_operators_limit_bounds_a_tasks_own_wish(tmp_path: Path) -> None:
    settled = in_force(tmp_path, "[defaults]\ntimeout_seconds = 30\nretries = 1\n")
    assert task_timeout(task(timeout_seconds=50.0), None, settled) == 30.0
    assert task_timeout(task(timeout_seconds=5.0), None, settled) == 5.0
    assert task_retries(task(retries=9), None, settled) == 1
    assert task_retries(task(retries=0), None, settled) == 0


def test_an_agents_definition_stands_before_the_defaults_of_the_file(tmp_path: Path) -> None:
    settled = in_force(tmp_path, "[defaults]\ntimeout_seconds = 30\nretries = 1\n")
    assert task_timeout(task(), 600.0, settled) == 600.0
    assert task_timeout(task(timeout_seconds=700.0), 600.0, settled) == 600.0
    assert task_timeout(task(timeout_seconds=10.0), 600.0, settled) == 10.0
    assert task_retries(task(), 5, settled) == 5


def test_a_flag_bounds_an_agents_definition_too(tmp_path: Path) -> None:
    settled = in_force(tmp_path, flags={"timeout_seconds": 30.0, "retries": 1})
    assert task_timeout(task(), 600.0, settled) == 30.0
    assert task_timeout(task(), 20.0, settled) == 20.0
    assert task_retries(task(), 5, settled) == 1


limits = st.none() | st.integers(1, 10)


@given(task_wish=limits, request_wish=limits, operator=limits, agent=limits, by_flag=st.booleans())
def test_no_wish_ever_gets_more_than_what_the_operator_allows(
    task_wish: int | None,
    request_wish: int | None,
    operator: int | None,
    agent: int | None,
    by_flag: bool,
) -> None:
    overriding = frozenset({"retries"}) if by_flag and operator is not None else frozenset[str]()
    settings = Settings(cwd=Path("/w"), retries=operator, overriding=overriding)
    settled = effective(settings, Config(retries=request_wish))
    result = task_retries(task(retries=task_wish), agent, settled)
    wishes = [wish for wish in (task_wish, request_wish) if wish is not None]
    if agent is not None:
        assert result <= agent
    if operator is not None and (overriding or agent is None):
        assert result <= operator
    if wishes:
        assert result <= wishes[0]
    assert operator is None or settled.retries <= operator


def test_without_a_file_neither_toml_nor_the_files_models_are_imported() -> None:
    script = (
        "import sys, pathlib; from dispatch_runner.settings import Flags, load;"
        "load(Flags(retries=1), {}, pathlib.Path('/'));"
        "print([m for m in ('tomllib', 'difflib', 'dispatch_runner.settings.schema')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "[]\n"
