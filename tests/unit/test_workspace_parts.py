"""Names of branches, paths in two places, and declared scopes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch_runner.engine.runner import Job
from dispatch_runner.models import Task
from dispatch_runner.paths import AllowedRoots, matches
from dispatch_runner.testing import scripted_agent
from dispatch_runner.workspaces.git import Git, clean_environment
from dispatch_runner.workspaces.names import BranchNames, quoted, task_branch, unquoted
from dispatch_runner.workspaces.relocation import Relocation, ScratchPlace, WorktreePlace
from dispatch_runner.workspaces.scope import declared, outside
from support.repositories import Repo

HOSTILE = [
    "../x", "..", ".", "a.lock", "-rf", "--help", "a b", "a\nb", "@{u}", "a~1", "x:y", "*", "[", "\\",
    "é", "日本", "a..b", ".a", "a.", "HEAD", "refs/heads/main", "%2F", "+check", "a+2", "x" * 300, "\u202e",
]  # fmt: skip


@pytest.fixture(scope="module")
def git(tmp_path_factory):
    return Git(Repo(tmp_path_factory.mktemp("names"), commit=False).folder)


@pytest.mark.parametrize("task_id", HOSTILE)
def test_a_hostile_id_becomes_one_harmless_part_of_a_branch(git, task_id):
    name = quoted(task_id)
    assert git.ask("check-ref-format", f"refs/heads/{task_branch('dispatch-1', name)}") is not None
    assert "/" not in name
    assert not name.startswith(("-", "."))
    assert "+" not in name
    assert len(name) < 200


@given(st.lists(st.text(min_size=1, max_size=200), unique=True, max_size=8))
def test_no_two_ids_share_a_name_not_even_where_case_is_ignored(ids):
    names = BranchNames()
    folded = {names.name(each).lower() for each in ids}
    assert len(folded) == len(ids)
    assert [names.name(each) for each in ids] == [names.name(each) for each in ids]


def test_a_name_tells_people_the_id():
    assert unquoted(quoted("a b/é")) == "a b/é"
    assert quoted("gen-api_2.1") == "gen-api_2.1"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/repo", "/w"),
        ("/repo/a.py", "/w/a.py"),
        ("see /repo/a.py:3, and (/repo/b.py).", "see /w/a.py:3, and (/w/b.py)."),
        ("--file=/repo/a", "--file=/w/a"),
        ("file:///repo/a", "file:///w/a"),
        ("In /repo.", "In /w."),
        ('"/repo/a b"', '"/w/a b"'),
        ("/repo2/a", "/repo2/a"),
        ("/repo.git/a", "/repo.git/a"),
        ("/repo-old", "/repo-old"),
        ("/other/repo/a", "/other/repo/a"),
        ("./repo/a", "./repo/a"),
        ("x/repo", "x/repo"),
        ("/repo/traces/d/x", "/repo/traces/d/x"),
        ("/repo/traces2/x", "/w/traces2/x"),
    ],
)
def test_a_path_is_rewritten_where_one_begins_and_nowhere_else(text, wanted):
    assert Relocation(["/repo"], "/w", ["/repo/traces"]).text(text) == wanted


def test_json_is_rewritten_in_values_and_keys_and_the_original_is_left_alone():
    value = {"/repo/a": ["/repo/b", {"x": "/repo"}, 1, None, True], "n": 2.5}
    moved = Relocation(["/repo"], "/w").value(value)
    assert moved == {"/w/a": ["/w/b", {"x": "/w"}, 1, None, True], "n": 2.5}
    assert value["/repo/a"][1] == {"x": "/repo"}
    assert Relocation(["/w"], "/repo").value(moved) == value


def test_deep_json_is_no_matter():
    value: object = "/repo"
    for _ in range(20_000):
        value = [value]
    moved = Relocation(["/repo"], "/w").value(value)
    while isinstance(moved, list):
        moved = moved[0]
    assert moved == "/w"


def test_a_worktree_stands_for_the_repository_also_below_its_root():
    roots = AllowedRoots(("/repo/sub", "/tmp", "/"))
    place = WorktreePlace(Path("/repo"), Path("/w"), Path("/repo/sub"), roots)
    assert place.workspace == Path("/w/sub")
    assert place.roots.roots == ("/w/sub", "/tmp", "/", "/w")
    assert place.folder(Path("/repo/tools")) == Path("/w/tools")
    assert place.outward(place.inward({"a": "/repo/x"})) == {"a": "/repo/x"}


def test_a_repository_may_be_named_through_the_link_by_which_the_caller_came(tmp_path, monkeypatch):
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("PWD", str(tmp_path / "link" / "sub"))
    real = tmp_path / "real"
    place = WorktreePlace(real, Path("/w"), real / "sub", AllowedRoots(()))
    assert place.inward([f"{tmp_path}/link/a", f"{real}/a"]) == ["/w/a", "/w/a"]


def test_a_scratch_folder_leaves_the_callers_paths_as_they_are():
    place = ScratchPlace(Path("/s"), AllowedRoots(("/repo",)))
    assert place.inward("/repo/a") == place.outward("/repo/a") == "/repo/a"
    assert (place.folder(Path("/repo/tools")), place.roots.roots) == (Path("/s"), ("/repo", "/s"))


@pytest.mark.parametrize(
    ("scope", "fine"),
    [
        ([], True),
        (["/repo/a.py"], True),
        (["/repo/*.py"], True),
        (["/repo/**"], True),
        (["/repo/b.py"], False),
        (["/repo"], False),
        (["/repo/sub/*.py"], False),
    ],
)
def test_what_was_declared_is_in_the_scope_and_nothing_declared_allows_all(scope, fine):
    assert outside(["/repo/a.py"], scope) == ([] if fine else ["/repo/a.py"])


def test_a_file_named_like_a_glob_does_not_match_everything():
    assert not matches("/repo/a.py", "/repo/*")
    assert matches("/repo/*", "/repo/*")


def test_the_scope_is_what_task_and_agent_say_with_references_resolved(tmp_path):
    agent = scripted_agent(writes=[f"{tmp_path}/out.py"])
    task = Task(
        task_id="t", agent="fake", input_data={"x": "${tasks.gone.output}"},
        modifies_files=[f"{tmp_path}/sub/../*.md"],
    )  # fmt: skip
    job = Job(task, agent, 1.0, 0, has_references=True)
    assert declared(job, {}) == [f"{tmp_path}/*.md", f"{tmp_path}/out.py"]


def test_git_sees_nothing_of_the_callers_git_variables():
    environ = {"PATH": "/bin", "GIT_DIR": "/x", "GIT_SSH_COMMAND": "evil", "API_KEY": "s"}
    seen = clean_environment(environ)
    assert seen["PATH"] == "/bin"
    assert not {"GIT_DIR", "GIT_SSH_COMMAND", "API_KEY"} & seen.keys()
    assert seen["GIT_TERMINAL_PROMPT"] == "0"
