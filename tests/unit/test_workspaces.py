"""Tasks in worktrees and scratch folders, with real git."""

from pathlib import Path

import anyio
import pytest

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.workspaces.git import GitError
from dispatch_runner.workspaces.leftovers import clean, leftovers
from dispatch_runner.workspaces.repository import Repository
from support.repositories import ENVIRON, Repo
from support.worktrees import NAME, Bench, writing

pytestmark = pytest.mark.anyio


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "repo")


@pytest.fixture
def bench(repo, tmp_path):
    return Bench(repo, tmp_path / "state")


async def test_a_task_works_in_a_worktree_and_the_caller_sees_nothing_but_a_branch(repo, bench):
    before = repo.state()

    def work(call):
        writing(a_txt="new\n", added_txt="x\n")(call)
        return {"files_written": [f"{call.workspace}/a.txt"], "here": str(call.workspace)}

    bench.task("t", work)
    result = (await bench.run())["t"]
    assert result.output == {"files_written": [f"{repo.folder}/a.txt"], "here": str(repo.folder)}
    assert repo.state() == before
    assert repo.branches() == [f"{NAME}/t"]
    assert repo.show(f"{NAME}/t", "added.txt") == "x"
    place = bench.place("t")
    assert place["files"] == ["a.txt", "added.txt"]
    assert not Path(place["folder"]).is_relative_to(repo.folder)
    assert repo.git("status", "--porcelain", folder=Path(place["folder"])) == ""


async def test_the_agent_sees_the_callers_paths_as_its_own(repo, bench):
    seen = {}

    def look(call):
        seen.update(input=call.input, words=call.description, roots=call.roots.roots)
        return {"text": Path(call.input["file"]).read_text(), "echoed": call.input["file"]}

    bench.task(
        "t", look, input_data={"file": f"{repo.folder}/a.txt"}, description=f"see {repo.folder}"
    )
    result = (await bench.run())["t"]
    assert result.output == {"text": "one\ntwo\nthree\n", "echoed": f"{repo.folder}/a.txt"}
    folder = seen["words"].removeprefix("see ")
    assert folder != str(repo.folder)
    assert seen["input"] == {"file": f"{folder}/a.txt"}
    assert seen["roots"] == (folder,)


async def test_a_worktree_without_changes_is_gone_afterwards(repo, bench):
    bench.task("t", lambda call: None)
    await bench.run()
    await bench.worktrees.finish()
    assert repo.branches() == []
    assert repo.git("worktree", "list").count("\n") == 0
    assert repo.git("for-each-ref", "refs/dispatch-runner/") == ""


def refuse(call):
    writing(half_txt="half\n")(call)
    raise AgentError(ErrorType.BAD_OUTPUT, f"no sense in {call.workspace}/half.txt")


async def sleep(call):
    writing(half_txt="half\n")(call)
    await anyio.sleep_forever()


@pytest.mark.parametrize(("doing", "status"), [(refuse, "error"), (sleep, "timeout")])
async def test_what_a_failure_left_is_committed_to_its_branch(repo, bench, doing, status):
    bench.task("t", doing, seconds=0.1)
    result = (await bench.run())["t"]
    assert result.status == status
    assert repo.show(f"{NAME}/t", "half.txt") == "half"
    assert status in repo.git("log", "-1", "--format=%s", f"dispatch-runner/{NAME}/t")
    if status == "error":
        assert result.error.message == f"no sense in {repo.folder}/half.txt"


async def test_what_a_cancelled_task_left_is_committed_to_its_branch(repo, bench):
    async def stop(call):
        writing(half_txt="half\n")(call)
        bench.executor.stop("SIGINT")
        await anyio.sleep_forever()

    bench.task("t", stop)
    assert (await bench.run())["t"].status == "cancelled"
    assert repo.show(f"{NAME}/t", "half.txt") == "half"


#   a -> c (in place) -> d
#   b ------------------^
async def test_a_task_begins_with_the_changes_of_all_that_it_depends_on(repo, bench):
    bench.task("a", writing(a_txt="a\ntwo\nthree\n"))
    bench.task("b", writing(b_txt="b\n"))
    bench.task("c", lambda call: None, workspace="in_place", dependencies=["a"])

    def look(call):
        return {
            "a": (call.workspace / "a.txt").read_text(),
            "b": (call.workspace / "b.txt").exists(),
        }

    bench.task("d", look, dependencies=["c", "b"])
    assert (await bench.run())["d"].output == {"a": "a\ntwo\nthree\n", "b": True}
    assert bench.place("d")["builds_on"] == ["a", "b"]


async def test_the_changes_of_a_failure_reach_nobody(repo, bench):
    bench.task("a", refuse)
    look = lambda call: {"half": (call.workspace / "half.txt").exists()}  # noqa: E731
    bench.task("b", look, dependencies=["a"], run_when="all_done")
    assert (await bench.run())["b"].output == {"half": False}


async def test_dependencies_that_do_not_go_together_fail_the_task_with_the_lines(repo, bench):
    bench.task("a", writing(a_txt="one\nA\nthree\n"))
    bench.task("b", writing(a_txt="one\nB\nthree\n"))
    bench.task("c", lambda call: None, dependencies=["a", "b"])
    error = (await bench.run())["c"].error
    assert error.type is ErrorType.DEPENDENCY
    assert "'a.txt'" in error.message
    (conflict,) = error.details["conflicts"]
    assert (conflict["task_id"], conflict["file"]) == ("b", "a.txt")
    assert conflict["hunk"] == "<<<<<<< merged before\nA\n=======\nB\n>>>>>>> task 'b'"


async def test_what_is_merged_is_on_the_branch_of_the_dispatch_and_nowhere_else(repo, bench):
    before = repo.state()
    bench.task("a", writing(a_txt="one\nA\nthree\n"))
    bench.task("b", writing(b_txt="b\n"), dependencies=["a"])
    bench.task("c", writing(a_txt="one\nC\nthree\n"))
    bench.task("d", writing(d_txt="d\n"), dependencies=["c"])
    bench.task("e", refuse)
    await bench.run()
    merge = await bench.merge()
    await bench.worktrees.finish()
    assert merge.branch == f"dispatch-runner/{NAME}-merged"
    assert merge.merged == ["a", "b"]
    assert [(each.task_id, each.file) for each in merge.conflicts] == [("c", "a.txt")]
    assert [(each.task_id, each.reason) for each in merge.left_out] == [
        ("d", "it builds on 'c', which was left out")
    ]
    assert repo.show(f"{NAME}-merged", "a.txt") == "one\nA\nthree"
    assert repo.branches() == [f"{NAME}-merged", f"{NAME}/c", f"{NAME}/d", f"{NAME}/e"]
    assert repo.state() == before


async def test_tasks_that_declare_the_same_file_see_each_other(repo, bench):
    file = f"{repo.folder}/a.txt"
    bench.task("a", writing(a_txt="one\nA\nthree\n"), writes=[file])
    bench.task("b", writing(a_txt="one\nB\nthree\n"), modifies_files=[file])
    await bench.run()
    merge = await bench.merge()
    assert sorted(merge.merged) == ["a", "b"]
    assert merge.conflicts == []


@pytest.mark.parametrize("scope", ["warn", "deny"])
async def test_changes_outside_the_declared_scope_are_told(repo, tmp_path, scope):
    bench = Bench(repo, tmp_path / "state", scope=scope)
    bench.task("t", writing(a_txt="x", sub__b_txt="y"), modifies_files=[f"{repo.folder}/sub/*"])
    result = (await bench.run())["t"]
    told = f"changed outside its declared scope: '{repo.folder}/a.txt'"
    if scope == "warn":
        assert (result.status, result.warnings) == ("success", [told])
        return
    assert (result.status, result.output) == ("error", None)
    assert (result.error.type, result.error.message) == (ErrorType.PERMISSION_DENIED, told)
    assert (await bench.merge()).merged == []
    assert repo.branches() == [f"{NAME}/t"]


async def test_in_place_only_what_the_agent_says_is_judged(repo, tmp_path):
    bench = Bench(repo, tmp_path / "state", scope="deny")
    (repo.folder / "x.txt").write_text("x")
    said = {"files_written": [f"{repo.folder}/x.txt"]}
    for name, output in (("said", said), ("silent", {"done": True})):
        bench.task(
            name, lambda call, output=output: output, workspace="in_place",
            modifies_files=[f"{repo.folder}/y.txt"],
        )  # fmt: skip
    results = await bench.run()
    assert results["said"].error.type is ErrorType.PERMISSION_DENIED
    assert results["silent"].status == "success"


async def test_a_scratch_folder_is_empty_private_and_kept(repo, bench, tmp_path):
    def look(call):
        found = sorted(call.workspace.iterdir())
        (call.workspace / "kept.txt").write_text("x")
        return {"found": found, "mode": call.workspace.stat().st_mode & 0o777}

    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "t.scratch").mkdir()  # of an earlier run
    bench.task("t", look, workspace="scratch")
    assert (await bench.run())["t"].output == {"found": [], "mode": 0o700}
    folder = Path(bench.place("t")["folder"])
    assert folder.name == "t.scratch-2"
    assert (folder / "kept.txt").exists()
    assert bench.worktrees.repository is None  # no git is needed for it


@pytest.mark.parametrize("carry", [False, True])
async def test_uncommitted_changes_are_carried_only_on_demand(repo, tmp_path, carry):
    repo.write("a.txt", "changed\n")
    repo.write("untracked.txt", "u\n")
    repo.write("staged.txt", "s\n")
    repo.git("add", "staged.txt")
    repo.write("traces/index.json", "{}")
    repo.write("ignored/x", "x")
    before = repo.state()
    bench = Bench(repo, tmp_path / "state", carry=carry)

    def look(call):
        files = (
            path for path in call.workspace.rglob("*") if path.is_file() and path.name != ".git"
        )
        return {"files": sorted(str(path.relative_to(call.workspace)) for path in files)}

    bench.task("t", look)
    result = (await bench.run())["t"]
    committed = [".gitignore", "a.txt", "sub/b.txt"]
    assert result.output == {
        "files": sorted([*committed, "staged.txt", "untracked.txt"]) if carry else committed
    }
    assert [note.partition(":")[0] for note in bench.worktrees.notes] == (
        [] if carry else ["worktrees begin at the last commit"]
    )
    assert repo.state() == before


async def test_ignored_files_are_kept_only_when_the_task_names_them(repo, bench):
    def work(call):
        writing(ignored__said_txt="said\n", ignored__silent_txt="silent\n")(call)
        return {"files_written": [f"{call.workspace}/ignored/said.txt"]}

    bench.task("t", work)
    await bench.run()
    assert bench.place("t")["files"] == ["ignored/said.txt"]


async def test_a_folder_below_the_root_stays_the_working_folder(repo, tmp_path):
    bench = Bench(repo, tmp_path / "state", cwd=repo.folder / "sub")
    bench.task(
        "t", lambda call: {"name": call.workspace.name, "b": (call.workspace / "b.txt").exists()}
    )
    assert (await bench.run())["t"].output == {"name": "sub", "b": True}


async def test_what_is_left_is_listed_and_only_what_is_merged_is_removed(repo, bench, tmp_path):
    bench.task("a", writing(x_txt="x\n"))
    bench.task("b", writing(y_txt="y\n"))
    await bench.run()
    repository = bench.worktrees.repository
    assert {each.state for each in await leftovers(repository)} == {"running"}
    await bench.worktrees.finish()
    repo.git("merge", "--quiet", f"dispatch-runner/{NAME}/a")
    Path(bench.place("b")["folder"], "late.txt").write_text("late\n")
    found = await leftovers(repository)
    assert [(each.task_id, each.state, each.uncommitted) for each in found] == [
        ("a", "merged", False), ("b", "unmerged", True)
    ]  # fmt: skip
    removed, kept = await clean(repository, found, force=False)
    assert ([each.task_id for each in removed], [each.task_id for each in kept]) == (["a"], ["b"])
    assert repo.show(f"{NAME}/b", "late.txt") == "late"
    assert repo.branches() == [f"{NAME}/b"]
    await clean(repository, await leftovers(repository), force=True)
    assert repo.git("for-each-ref", "refs/heads/dispatch-runner/", "refs/dispatch-runner/") == ""
    assert not list(repository.home.glob("*/*"))


@pytest.mark.parametrize("kind", ["no repository", "bare", "no commit", "inside .git"])
def test_where_no_worktree_can_be_made_the_reason_is_told(tmp_path, kind):
    folder = tmp_path / "repo"
    folder.mkdir()
    if kind != "no repository":
        repo = Repo(folder, commit=kind == "inside .git")
        folder = folder / ".git" if kind == "inside .git" else folder
        if kind == "bare":
            repo.git("config", "core.bare", "true")
    with pytest.raises(GitError) as raised:
        Repository.find(folder, {**ENVIRON, "GIT_CEILING_DIRECTORIES": str(tmp_path)})
    told = {
        "no repository": "not in a git repository", "bare": "in a bare repository",
        "no commit": "has no commit", "inside .git": "must be run in a work tree",
    }  # fmt: skip
    assert told[kind] in raised.value.message
