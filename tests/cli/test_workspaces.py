"""Worktrees as a caller meets them: flags, results, what is left, and what a killed dispatcher leaves."""

import json
import signal

import pytest

from support.repositories import Repo

WRITES = ("traces", ".git")
AGENT = """
import json, os, sys, time
envelope = json.load(sys.stdin)
for path, text in envelope["input"].get("write", {}).items():
    open(path, "w").write(text)
if envelope["input"].get("wait"):
    open(envelope["input"]["wait"], "w").close()
    time.sleep(60)
print(json.dumps({"here": os.getcwd()}))
"""
SETTINGS = """
[agents.writer]
command = ["python3", "-S", "-E", "{script}"]
retries = 0

[agents.own]
command = ["python3", "-S", "-E", "{script}"]
cwd = "sub"
workspace = "worktree"

[checks.no-bad]
command = ["sh", "-c", "! grep -rqs bad --include=*.txt ."]
"""


@pytest.fixture
def repo(cli):
    """A repository in the working folder, and an agent that writes files."""
    made = Repo(cli.folder)
    script = cli.folder.parent / "writer.py"
    script.write_text(AGENT)
    cli.configure = lambda extra="": cli.environ.update(
        DISPATCH_RUNNER_CONFIG=str(_settings(cli, script, extra))
    )
    cli.configure()
    return made


def _settings(cli, script, extra):
    path = cli.folder.parent / "operator.toml"
    path.write_text(SETTINGS.format(script=script) + extra)
    return path


def writer(cli, task_id, after=(), **write):
    files = {f"{cli.folder}/{name.replace('_', '.')}": text for name, text in write.items()}
    return cli.task(task_id, "writer", input_data={"write": files}, dependencies=list(after))


def test_changes_are_merged_onto_the_branch_of_the_dispatch(cli, repo):
    before = repo.state()
    tasks = [
        writer(cli, "a", x_txt="x", a_txt="A\n"), writer(cli, "b", ["a"], y_txt="y"),
        writer(cli, "c", a_txt="C\n"),
    ]  # fmt: skip
    ran = cli("-q", "--workspace", "worktree", "--merge", "topological", stdin=tasks, writes=WRITES)
    assert ran.code == 0, ran
    assert {each["output"]["here"] for each in ran.document["results"]} == {str(cli.folder)}
    merge = ran.document["merge"]
    assert merge["merged"] == ["a", "b"]
    assert [(each["task_id"], each["file"]) for each in merge["conflicts"]] == [("c", "a.txt")]
    assert "changes of 1 tasks are not merged" in ran.document["warnings"][0]
    assert repo.git("show", f"{merge['branch']}:y.txt") == "y"
    assert repo.state() == before
    (event,) = [each for each in cli.trace_of(ran, "c")["events"] if each["event"] == "workspace"]
    assert event["data"]["branch"].endswith("/c")


def test_the_agents_own_workspace_and_folder_count(cli, repo):
    ran = cli("-q", stdin=[cli.task("t", "own"), cli.task("u", "writer")], writes=WRITES)
    assert ran.tasks["t"]["output"] == {"here": f"{cli.folder}/sub"}
    (event,) = cli.trace_of(ran, "t")["events"]
    assert event["data"]["kind"] == "worktree"
    assert cli.trace_of(ran, "u")["events"] == []


def test_a_check_judges_each_merge(cli, repo):
    cli.configure('[workspaces]\nmerge = "topological"\ncheck = "no-bad"\n')
    tasks = [
        writer(cli, "a", x_txt="good"),
        writer(cli, "b", y_txt="bad"),
        writer(cli, "c", z_txt="good"),
    ]
    ran = cli("-q", "--workspace", "worktree", stdin=tasks, writes=WRITES)
    merge = ran.document["merge"]
    assert merge["merged"] == ["a", "c"]
    (failed,) = merge["failed_checks"]
    assert (failed["task_id"], failed["check"]) == ("b", "no-bad")
    assert failed["message"].startswith("check 'no-bad' did not pass")


def test_a_request_for_worktrees_where_there_can_be_none_is_rejected(cli):
    ran = cli(stdin=[cli.echo("a"), cli.echo("b", workspace="worktree")], writes=())
    assert (ran.code, ran.codes) == (2, ["no_worktree"])
    assert ran.errors[0]["pointer"] == "/tasks/1/workspace"
    ran = cli(
        "validate", "--config", "/dev/null", stdin=[cli.echo("b", workspace="worktree")], writes=()
    )
    assert ran.codes == ["no_worktree"]


def test_scratch_needs_no_repository(cli):
    ran = cli("-q", "--workspace=scratch", stdin=[cli.echo("a", input_data={"n": 1})])
    assert ran.code == 0
    assert list(cli.folder.glob("traces/*/a.scratch"))


def test_what_is_left_is_listed_and_cleaned(cli, repo):
    ran = cli("-q", "--workspace=worktree", stdin=[writer(cli, "a/b", x_txt="x")], writes=WRITES)
    branch = repo.git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/dispatch-runner/")
    (left,) = cli("workspaces", "list", "--json").document["workspaces"]
    assert (left["task_id"], left["state"], left["branch"]) == ("a/b", "unmerged", branch)
    assert branch in cli("workspaces", "list", text=True).text
    assert cli("workspaces", "clean", text=True).text == ""
    assert ran.document["merge"] is None
    repo.git("merge", "--quiet", branch)
    assert cli("workspaces", "clean", "--dry-run", text=True).text == f"{branch}\n"
    assert (
        cli("workspaces", "clean", left["dispatch"][-8:], text=True, writes=(".git",)).text
        == f"{branch}\n"
    )
    assert cli("workspaces", "list", "--json").document == {"workspaces": []}
    assert cli("workspaces", "clean", "nothing").code == 2


def test_workspaces_outside_a_repository_is_a_wrong_use(cli):
    ran = cli("workspaces", "list", writes=())
    assert (ran.code, ran.codes) == (2, ["usage"])


def started(cli, repo, *arguments):
    """A dispatch whose second task has written a file and waits."""
    ready = cli.folder.parent / "ready"
    waiting = writer(cli, "waits", ["done"], half_txt="half")
    waiting["input_data"]["wait"] = str(ready)
    cli.settings_of = [writer(cli, "done", done_txt="done"), waiting]
    process = cli.start("-q", "--workspace=worktree", "--merge=topological", *arguments, stdin=-1)
    process.stdin.write(json.dumps({"tasks": cli.settings_of}).encode())
    process.stdin.close()
    process.stdin = None
    cli.until(ready.exists, "the agent")
    return process


@pytest.mark.slow
def test_an_interrupt_commits_what_was_done(cli, repo):
    process = started(cli, repo)
    process.send_signal(signal.SIGTERM)
    ran = cli.finish(process)
    assert (ran.code, ran.statuses) == (143, {"done": "success", "waits": "cancelled"})
    (branch,) = [each for each in repo.branches() if each.endswith("/waits")]
    assert repo.show(branch, "half.txt") == "half"
    assert ran.document["merge"] is None
    assert "nothing was merged, since tasks were cancelled" in ran.document["warnings"]


@pytest.mark.slow
def test_a_killed_dispatcher_loses_nothing_and_a_resume_merges(cli, repo):
    process = started(cli, repo)
    process.kill()
    process.communicate()
    cli.until(lambda: not cli.survivors(), "the end of its programs")
    states = {
        each["task_id"]: each for each in cli("workspaces", "list", "--json").document["workspaces"]
    }
    assert (states["waits"]["state"], states["waits"]["uncommitted"]) == ("unmerged", True)
    refused = cli("resume", "-q", "--workspace=scratch", "--merge=none", writes=WRITES)
    assert refused.codes == ["settings_changed", "settings_changed"]
    (cli.folder.parent / "writer.py").write_text(AGENT.replace("time.sleep(60)", ""))
    ran = cli("resume", "-q", writes=WRITES)
    assert (ran.code, ran.document["merge"]["merged"]) == (0, ["done", "waits"])
    kept = repo.branches()
    assert [each.rpartition("/")[2] for each in kept if not each.endswith("-merged")] == ["waits"]
    assert repo.show(kept[-1], "half.txt") == "half"  # what the killed one left


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [signal.SIGTERM, signal.SIGKILL])
def test_a_merge_that_was_cut_short_is_made_up_for_by_a_resume(cli, repo, signalled):
    ready = cli.folder.parent / "ready"
    script = cli.folder.parent / "check.sh"
    script.write_text(f"touch {ready}; sleep 60")
    check = '[workspaces]\ncheck = "slow"\n[checks.slow]\ncommand = ["sh", "{script}"]\n'
    cli.configure(check.format(script=script))
    flags = ("-q", "--workspace=worktree", "--merge=topological")
    process = cli.start(*flags, stdin=-1)
    tasks = [writer(cli, "a", x_txt="x"), writer(cli, "b", ["a"], y_txt="y")]
    process.stdin.write(json.dumps({"tasks": tasks}).encode())
    process.stdin.close()
    process.stdin = None
    cli.until(ready.exists, "the check")
    process.send_signal(signalled)
    if signalled == signal.SIGTERM:
        ran = cli.finish(process)
        assert (ran.code, ran.document["interrupted"]) == (143, "SIGTERM")
        assert (ran.statuses, ran.document["merge"]) == ({"a": "success", "b": "success"}, None)
        assert any("the merge was interrupted" in each for each in ran.document["warnings"])
        assert repo.git("worktree", "list").count("+check") == 0
    else:
        process.communicate()
        cli.until(lambda: not cli.survivors(), "the end of its programs")
    assert len(repo.branches()) == 2
    script.write_text("true")
    ran = cli("resume", *flags, writes=WRITES)
    assert ran.code == 0, ran
    assert ran.document["merge"]["merged"] == ["a", "b"], ran.document["warnings"]
    assert len(repo.branches()) == 1
