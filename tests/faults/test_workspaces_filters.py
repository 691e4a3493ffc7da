"""A repository whose own configuration names programs: worktrees run none of them, unless told to."""

import pytest

from support.repositories import Repo
from support.worktrees import Bench, writing

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ATTRIBUTES = "*.txt filter=evil merge=evil diff=evil\n"


@pytest.fixture
def witness(tmp_path):
    """What the hostile programs write to: it is there when one of them ran."""
    return tmp_path / "witness"


@pytest.fixture
def repo(tmp_path, witness):
    repo = Repo(tmp_path / "repo")
    repo.write(".gitattributes", ATTRIBUTES)
    repo.commit("attributes")
    return repo


def arm(repo, witness, *, name="evil", place=("--local",)):
    """Names programs in every way that makes git run them."""
    (repo.folder / ".gitattributes").write_text(ATTRIBUTES.replace("evil", name))
    repo.git("commit", "--all", "--quiet", "--allow-empty", "-m", "attributes")
    command = f"echo ran >> '{witness}'; cat"
    for key in (
        f"filter.{name}.clean", f"filter.{name}.smudge", f"filter.{name}.process",
        f"merge.{name}.driver", f"diff.{name}.command", f"diff.{name}.textconv",
        "core.fsmonitor", "core.editor", "core.sshCommand", "core.pager", "gpg.program",
        "diff.external",
    ):  # fmt: skip
        repo.git("config", *place, key, command)
    for key in (f"filter.{name}.required", "commit.gpgSign", "log.showSignature"):
        repo.git("config", *place, key, "true")


async def work_and_merge(bench):
    """Two tasks that change the same file without a conflict, and a merge of both."""
    bench.task("a", writing(**{"a.txt": "ONE\ntwo\nthree\n"}))
    bench.task("b", writing(**{"a.txt": "one\ntwo\nthree\nfour\n", "new.txt": "n\n"}))
    results = await bench.run()
    assert [each.error.message for each in results.values() if each.error] == []
    return await bench.merge()


async def test_no_program_that_only_the_repository_names_runs(repo, witness, tmp_path):
    arm(repo, witness)
    witness.unlink(missing_ok=True)
    repo.write("a.txt", "uncommitted\n")
    bench = Bench(repo, tmp_path / "state")
    merge = await work_and_merge(bench)
    assert not witness.exists()
    assert merge.conflicts == []
    assert any("filter.evil.clean" in note for note in bench.worktrees.notes)


async def test_what_such_a_driver_would_have_merged_is_merged_as_text(repo, witness, tmp_path):
    arm(repo, witness)
    bench = Bench(repo, tmp_path / "state")
    merge = await work_and_merge(bench)
    assert repo.git("show", f"{merge.branch}:a.txt") == "ONE\ntwo\nthree\nfour"


async def test_a_conflict_is_one_without_the_driver_too(repo, witness, tmp_path):
    arm(repo, witness)
    bench = Bench(repo, tmp_path / "state")
    bench.task("a", writing(**{"a.txt": "A\ntwo\nthree\n"}))
    bench.task("b", writing(**{"a.txt": "B\ntwo\nthree\n"}))
    await bench.run()
    merge = await bench.merge()
    assert [(each.task_id, each.file) for each in merge.conflicts] == [("b", "a.txt")]
    assert "A" in merge.conflicts[0].hunk
    assert "B" in merge.conflicts[0].hunk


async def test_carried_changes_are_taken_without_them(repo, witness, tmp_path):
    arm(repo, witness)
    witness.unlink(missing_ok=True)
    repo.write("a.txt", "uncommitted\n")
    bench = Bench(repo, tmp_path / "state", carry=True)
    bench.task("a", writing(**{"new.txt": "n\n"}))
    await bench.run()
    assert not witness.exists()
    assert bench.worktrees.works["a"].succeeded


async def test_a_name_with_an_equals_sign_is_no_way_around(repo, witness, tmp_path):
    arm(repo, witness, name="a=b")
    witness.unlink(missing_ok=True)
    await work_and_merge(Bench(repo, tmp_path / "state"))
    assert not witness.exists()


async def test_what_is_included_only_on_the_branches_of_tasks_is_no_way_around(
    repo, witness, tmp_path
):
    included = tmp_path / "included"
    arm(repo, witness, place=("--file", str(included)))
    repo.git("config", "includeIf.onbranch:dispatch-runner/**.path", str(included))
    witness.unlink(missing_ok=True)
    await work_and_merge(Bench(repo, tmp_path / "state"))
    assert not witness.exists()


async def test_what_a_task_plants_meanwhile_is_no_way_around(repo, witness, tmp_path):
    bench = Bench(repo, tmp_path / "state")

    def plant(call):
        arm(repo, witness)
        witness.unlink(missing_ok=True)
        (call.workspace / "a.txt").write_text("changed\n")

    bench.task("a", plant)
    bench.task("b", writing(**{"b.txt": "b\n"}), dependencies=["a"])
    results = await bench.run()
    assert [each.error.message for each in results.values() if each.error] == []
    assert not witness.exists()


async def test_they_run_where_the_operator_says_so(repo, witness, tmp_path):
    repo.git("config", "filter.evil.clean", f"echo ran >> '{witness}'; cat")
    bench = Bench(repo, tmp_path / "state", filters=True)
    bench.task("a", writing(**{"new.txt": "n\n"}))
    await bench.run()
    assert witness.exists()
    assert bench.worktrees.notes == []
