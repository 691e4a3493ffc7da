"""Worktrees under agents that do harm, repositories that are special, and many at once."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import anyio
import pytest

from dispatch_runner.workspaces.topology import Check
from dispatch_runner.workspaces.worktrees import Worktrees
from support.repositories import ENVIRON, Repo
from support.worktrees import NAME, Bench, writing

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "repo")


@pytest.fixture
def bench(repo, tmp_path):
    return Bench(repo, tmp_path / "state")


def git(call, *arguments):
    """As an agent would run it."""
    command = ("git", *arguments)
    subprocess.run(command, cwd=call.workspace, env=ENVIRON, check=True, capture_output=True)


def commit_by_itself(call):
    git(call, "add", "--all")
    git(call, "commit", "--quiet", "-m", "mine")


def detach(call):
    git(call, "checkout", "--quiet", "--detach")
    commit_by_itself(call)


def switch(call):
    git(call, "checkout", "--quiet", "-b", "other")
    commit_by_itself(call)


def go_back(call):
    commit_by_itself(call)
    git(call, "checkout", "--quiet", "--detach", "HEAD~1")


def break_git_file(call):
    (call.workspace / ".git").unlink()


def point_elsewhere(call):
    (call.workspace / ".git").write_text("gitdir: /nonexistent\n")


def own_repository(call):
    (call.workspace / ".git").unlink()
    git(call, "init", "--quiet")
    commit_by_itself(call)


def lock_index(call):
    admin = Path((call.workspace / ".git").read_text().removeprefix("gitdir: ").strip())
    (admin / "index.lock").touch()


def break_index(call):
    admin = Path((call.workspace / ".git").read_text().removeprefix("gitdir: ").strip())
    (admin / "index").write_bytes(b"no index")


def delete_index(call):
    admin = Path((call.workspace / ".git").read_text().removeprefix("gitdir: ").strip())
    (admin / "index").unlink()


def fifo(call):
    os.mkfifo(call.workspace / "fifo")


def delete_branch(call):
    git(call, "checkout", "--quiet", "--detach")
    git(call, "branch", "--quiet", "-D", f"dispatch-runner/{NAME}/t")


HARM = [
    commit_by_itself, detach, switch, break_git_file, point_elsewhere, own_repository, lock_index,
    break_index, delete_index, fifo, delete_branch,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
async def test_whatever_an_agent_does_to_git_its_files_are_on_the_branch(repo, bench, harm):
    def work(call):
        writing(new_txt="new\n")(call)
        harm(call)

    before = repo.state()
    bench.task("t", work)
    result = (await bench.run())["t"]
    assert result.status == "success", result.error
    assert repo.show(f"{NAME}/t", "new.txt") == "new"
    assert repo.state() == before
    assert (await bench.merge()).merged == ["t"]
    assert not Path(bench.place("t")["folder"]).exists()


async def test_commits_that_an_agent_left_behind_stay_in_the_history(repo, bench):
    def work(call):
        writing(new_txt="new\n")(call)
        go_back(call)

    bench.task("t", work)
    await bench.run()
    assert "mine" in repo.git("log", "--format=%s", f"dispatch-runner/{NAME}/t")


async def test_a_worktree_that_the_agent_removed_is_no_success(repo, bench):
    bench.task("t", lambda call: shutil.rmtree(call.workspace))
    error = (await bench.run())["t"].error
    assert error.type == "internal"
    assert "could not be committed" in error.message


async def test_a_repository_in_the_worktree_is_reported_and_its_folder_stays(repo, bench):
    def work(call):
        writing(inner__x_txt="x\n", outer_txt="x")(call)
        git(call, "init", "--quiet", "inner")

    bench.task("t", work)
    result = (await bench.run())["t"]
    assert "not committed: 'inner/' does not have a commit checked out" in result.warnings[0]
    await bench.merge()
    assert (Path(bench.place("t")["folder"]) / "inner" / "x.txt").exists()


NAMES = ["a b", "-rf", "é", "tab\there", "line\nend", "'quote\"", "$(x)", "*", ":(top)x", "a\\b"]


async def test_hostile_file_names_are_kept_as_they_are(repo, bench):
    def work(call):
        for name in NAMES:
            (call.workspace / name).write_text("x")
        (call.workspace / os.fsdecode(b"bytes\xff")).write_text("x")

    bench.task("t", work)
    await bench.run()
    assert sorted(bench.place("t")["files"]) == sorted([*NAMES, "bytes\ufffd"])
    conflicting = Bench(repo, bench.worktrees.repository.home, name="dispatch-2")
    conflicting.task("a", lambda call: (call.workspace / "line\nend").write_text("1") and None)
    conflicting.task("b", lambda call: (call.workspace / "line\nend").write_text("2") and None)
    await conflicting.run()
    (conflict,) = (await conflicting.merge()).conflicts
    assert conflict.file == "line\nend"


async def test_hostile_ids_have_branches_of_their_own(repo, bench):
    ids = [
        "../x",
        "a b",
        "A B",
        "-rf",
        "@{u}",
        "x.lock",
        "HEAD",
        "é\u202e",
        "x" * 200,
        "+check",
        "*",
    ]
    for task_id in ids:
        bench.task(
            task_id, lambda call: (call.workspace / "f").write_text(str(call.task_id)) and None
        )
    results = await bench.run()
    assert {each.status for each in results.values()} == {"success"}
    assert len(repo.branches()) == len(ids)


async def test_a_link_out_of_the_worktree_is_kept_as_a_link_and_not_followed(repo, bench, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")

    def work(call):
        (call.workspace / "link").symlink_to(outside)
        return {"files_written": [f"{call.workspace}/link/kept.txt"]}

    bench.task("t", work)
    assert (await bench.run())["t"].status == "success"
    await bench.merge()
    assert (outside / "kept.txt").read_text() == "kept"
    assert repo.show(f"{NAME}-merged", "link") == str(outside)


async def test_read_only_folders_are_no_reason_to_leave_a_worktree(repo, bench):
    def work(call):
        writing(deep__x_txt="x", top_txt="y")(call)
        (call.workspace / "deep").chmod(stat.S_IRUSR | stat.S_IXUSR)

    bench.task("t", work)
    await bench.run()
    await bench.merge()
    assert not Path(bench.place("t")["folder"]).exists()


async def test_twenty_at_once(repo, bench):
    meeting = anyio.Event()
    here: list[str] = []

    def work(name):
        async def do(call):
            here.append(name)
            if len(here) == 20:
                meeting.set()
            await meeting.wait()
            (call.workspace / f"{name}.txt").write_text(name)

        return do

    for number in range(20):
        bench.task(f"t{number}", work(f"t{number}"))
    results = await bench.run()
    assert {each.status for each in results.values()} == {"success"}
    merge = await bench.merge()
    assert len(merge.merged) == 20
    files = repo.git("ls-tree", "--name-only", f"dispatch-runner/{NAME}-merged").split("\n")
    assert {f"t{number}.txt" for number in range(20)} <= set(files)


async def test_two_dispatches_of_one_repository_do_not_meet(repo, tmp_path):
    benches = [Bench(repo, tmp_path / "state", name=f"dispatch-{number}") for number in range(2)]
    for bench in benches:
        for number in range(5):
            bench.task(f"t{number}", writing(**{f"x{number}_txt": "x"}))
    async with anyio.create_task_group() as group:
        for bench in benches:
            group.start_soon(bench.run)
    for bench in benches:
        assert len((await bench.merge()).merged) == 5


async def test_no_hook_of_the_repository_runs_and_no_signature_is_asked_for(repo, bench, tmp_path):
    for name in (
        "post-checkout",
        "pre-commit",
        "commit-msg",
        "reference-transaction",
        "post-index-change",
    ):
        hook = repo.folder / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
    repo.git("config", "commit.gpgSign", "true")
    repo.git("config", "gpg.program", "/nonexistent")
    bench.task("t", writing(x_txt="x"))
    assert (await bench.run())["t"].status == "success"
    assert (await bench.merge()).merged == ["t"]
    assert not (tmp_path / "ran").exists()


async def test_somebody_commits_where_nobody_is_named(repo, bench):
    bench.task("t", writing(x_txt="x"))
    await bench.run()
    author = repo.git("log", "-1", "--format=%an <%ae>", f"dispatch-runner/{NAME}/t")
    assert author == "dispatch-runner <dispatch-runner@localhost>"
    repo.git("config", "user.name", "Ada")
    repo.git("config", "user.email", "ada@example.org")
    named = Bench(repo, bench.worktrees.repository.home, name="dispatch-2")
    named.task("t", writing(x_txt="x"))
    await named.run()
    assert repo.git("log", "-1", "--format=%an", "dispatch-runner/dispatch-2/t") == "Ada"


@pytest.mark.parametrize("kind", ["detached", "shallow", "linked worktree", "in a submodule"])
async def test_special_repositories_work(repo, tmp_path, kind):
    repo.write("c.txt", "c\n")
    repo.commit("second")
    if kind == "detached":
        repo.git("checkout", "--quiet", "--detach", "HEAD~1")
    elif kind == "shallow":
        repo.git("clone", "--quiet", "--depth=1", f"file://{repo.folder}", str(tmp_path / "clone"))
        repo.folder = tmp_path / "clone"
    elif kind == "linked worktree":
        repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
        repo.folder = tmp_path / "linked"
    else:
        outer = Repo(tmp_path / "outer")
        allow = ("-c", "protocol.file.allow=always")
        outer.git(*allow, "submodule", "--quiet", "add", str(repo.folder), "module")
        repo.folder = outer.folder / "module"
    bench = Bench(repo, tmp_path / "state")
    bench.task("a", writing(x_txt="x"))
    bench.task("b", writing(y_txt="x"))
    await bench.run()
    assert (await bench.merge()).merged == ["a", "b"]
    second = repo.git("ls-tree", "--name-only", f"dispatch-runner/{NAME}-merged", "c.txt")
    assert bool(second) == (kind != "detached")


async def test_submodules_are_empty_and_that_is_told(repo, tmp_path):
    inner = Repo(tmp_path / "inner")
    repo.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.folder), "m"
    )
    repo.commit("submodule")
    bench = Bench(repo, tmp_path / "state")
    bench.task("t", lambda call: {"found": len(list((call.workspace / "m").iterdir()))})
    assert (await bench.run())["t"].output == {"found": 0}
    assert bench.worktrees.notes == ["submodules are empty folders in worktrees"]
    assert bench.place("t")["files"] == []


# -- checks of what is merged -------------------------------------------------------------------


class Judge:
    """Passes where no file says `bad`; counts how often it was asked."""

    def __init__(self, *, base_is_bad: bool = False) -> None:
        self.asked = 0
        self._base_is_bad = base_is_bad

    async def __call__(self, folder: Path) -> str | None:
        self.asked += 1
        assert not (folder / "litter").exists()
        (folder / "litter").write_text("x")
        bad = any(path.read_text() == "bad" for path in folder.glob("t*.txt"))
        return "a file is bad" if bad or self._base_is_bad else None


def sixteen(bench, bad):
    for number in range(16):
        text = "bad" if number in bad else "good"
        bench.task(f"t{number:02}", writing(**{f"t{number:02}_txt": text}))


@pytest.mark.parametrize(("after", "most"), [("each", 16), ("last", 15)])
async def test_what_breaks_the_check_is_found_and_left_out(repo, bench, after, most):
    sixteen(bench, {5, 11})
    await bench.run()
    judge = Judge()
    merge = await bench.merge(Check("tests", judge, after))
    told = [(each.task_id, each.check, each.message) for each in merge.failed_checks]
    assert told == [("t05", "tests", "a file is bad"), ("t11", "tests", "a file is bad")]
    assert len(merge.merged) == 14
    assert judge.asked <= most
    assert repo.branches() == [f"{NAME}-merged", f"{NAME}/t05", f"{NAME}/t11"]
    assert not list(bench.worktrees.repository.home.glob("*/+check"))


async def test_a_check_that_fails_without_any_change_blames_nobody(repo, bench):
    sixteen(bench, set())
    await bench.run()
    merge = await bench.merge(Check("tests", Judge(base_is_bad=True), "last"))
    (failed,) = merge.failed_checks
    assert failed.task_id is None
    assert len(merge.merged) == 16


# -- an earlier process of the same dispatch ----------------------------------------------------


async def test_a_dispatch_that_goes_on_keeps_what_was_done_and_what_was_left(repo, tmp_path):
    def bench() -> Bench:
        made = Bench(repo, tmp_path / "state")
        made.task("done", writing(done_txt="1"))
        made.task("died", writing(died_txt="whole"), dependencies=["done"])
        return made

    first = bench()
    done, died = first.jobs
    first.jobs = [done]
    first.worktrees.add([died.task])
    known = await first.run()
    opened = await first.worktrees.open(died.task, ())
    (opened.tree.folder / "died.txt").write_text("half")  # and the dispatcher is killed
    repo.write("later.txt", "x")
    repo.commit("meanwhile")

    second = bench()
    result = (await second.run(known))["died"]
    assert result.status == "success"
    assert result.warnings == [
        f"an earlier run left its changes on branch 'dispatch-runner/{NAME}/died'"
    ]
    assert repo.show(f"{NAME}/died", "died.txt") == "half"
    assert (await second.merge()).merged == ["done", "died"]
    files = repo.git("ls-tree", "--name-only", f"dispatch-runner/{NAME}-merged").split("\n")
    assert {"done.txt", "died.txt"} <= set(files)
    assert "later.txt" not in files  # it goes on from the commit where it began
    assert repo.show(f"{NAME}-merged", "died.txt") == "whole"


async def test_a_worktree_whose_making_was_cancelled_leaves_nothing(repo, bench):
    bench.task("t", writing(x_txt="x"))
    (job,) = bench.jobs
    await bench.worktrees.prepared()
    for delay in (0.0, 0.002, 0.005, 0.01):
        with anyio.move_on_after(delay):
            await bench.worktrees.open(job.task, ())
    left = [tree for tree in repo.git("worktree", "list").split("\n")[1:] if tree]
    assert len(left) == len(repo.branches()) <= 1  # one may have been made in time


async def test_another_process_that_makes_a_worktree_is_waited_for(repo, bench):
    import fcntl

    repository, _ = await bench.worktrees.prepared()
    with (repository.home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with anyio.move_on_after(0.1) as waited:
            async with repository.exclusive():
                pass
        assert waited.cancelled_caught
    async with repository.exclusive():
        pass


async def test_a_home_inside_the_repository_is_no_place_for_worktrees(repo):
    worktrees = Worktrees(
        NAME, cwd=repo.folder, environ={**ENVIRON, "HOME": str(repo.folder)}, roots=None,
        trace_dir=repo.folder / "traces", carry_changes=False,
    )  # fmt: skip
    repository, _ = await worktrees.prepared()
    try:
        assert not repository.home.is_relative_to(repo.folder)
    finally:
        await worktrees.finish()
        shutil.rmtree(repository.home)
