"""Where the settings of workspaces come from, and what is wrong with them."""

import pytest

from dispatch_runner.dispatching.prepare import Operator, prepare
from dispatch_runner.errors import SettingsError
from dispatch_runner.settings import Flags, load

FILE = """
[defaults]
workspace = "scratch"

[agents.own]
command = ["true"]
workspace = "in_place"

[workspaces]
merge = "topological"
check = "tests"
check_after = "last"
scope = "deny"
carry_changes = true
filters = true

[checks.tests]
command = ["true"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dispatch.toml").write_text(FILE)
    return tmp_path


def test_everything_can_be_said_in_the_file(folder):
    settings = load(Flags(config=folder / "dispatch.toml"), {}, folder)
    assert (settings.workspace, settings.merge, settings.carry_changes) == (
        "scratch",
        "topological",
        True,
    )
    assert (settings.merge_check, settings.check_after, settings.scope) == ("tests", "last", "deny")
    assert settings.filters
    assert settings.origin("merge") == "file dispatch.toml:10"


def test_flags_and_the_environment_stand_before_the_file(folder):
    environ = {"DISPATCH_RUNNER_WORKSPACE": "worktree", "DISPATCH_RUNNER_CARRY_CHANGES": "no"}
    flags = Flags(config=folder / "dispatch.toml", merge="none")
    settings = load(flags, environ, folder)
    assert (settings.workspace, settings.merge, settings.carry_changes) == (
        "worktree",
        "none",
        False,
    )
    assert settings.origin("workspace") == "environment DISPATCH_RUNNER_WORKSPACE"


@pytest.mark.parametrize(
    ("own", "agent", "wanted"),
    [(None, "echo", "scratch"), (None, "own", "in_place"), ("in_place", "echo", "in_place"), ("scratch", "own", "scratch")],
)  # fmt: skip
def test_the_task_stands_before_its_agent_and_that_before_the_default(folder, own, agent, wanted):
    operator = Operator.of(
        Flags(config=folder / "dispatch.toml"), {"PATH": "/bin:/usr/bin"}, folder
    )
    task = {"task_id": "a", "agent": agent, "input_data": {}} | ({"workspace": own} if own else {})
    (job,) = prepare(operator, {"tasks": [task]}).jobs()
    assert job.workspace == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[workspaces]\ncheck = "test"\n[checks.tests]\ncommand = ["true"]', "check 'test', which is not defined"),
        ('[workspaces]\nmerge = "octopus"', "'workspaces.merge' should be 'none' or 'topological'"),
        ("[workspaces]\nmerges = 1", "unknown key 'workspaces.merges'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, told):
    (tmp_path / "dispatch.toml").write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(Flags(config=tmp_path / "dispatch.toml"), {}, tmp_path)
    assert told in raised.value.message
    assert raised.value.line == 2


def test_a_value_that_is_none_is_told_with_those_that_are(tmp_path):
    with pytest.raises(SettingsError, match="'here' is not a workspace") as raised:
        load(Flags(), {"DISPATCH_RUNNER_WORKSPACE": "here"}, tmp_path)
    assert raised.value.hint == "write in_place or scratch or worktree"
