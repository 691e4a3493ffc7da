"""git history of suspect lines, also of a repository that means harm."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dispatch_runner.agents.debug.history import committed_lines, last_changes
from dispatch_runner.agents.debug.sources import read_source
from dispatch_runner.analysis.tools import ToolProblem

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

TEXT = "def f(d):\n    return d['k']\n\n\ndef g():\n    return f({})\n"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """Two commits; the second one changed line 2."""
    path = tmp_path / "app.py"
    path.write_text(TEXT.replace("'k'", "'old'"))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "app.py")
    git(tmp_path, "commit", "-qm", "begin")
    path.write_text(TEXT)
    git(tmp_path, "commit", "-qam", "rename the key\n\nbody")
    return tmp_path


async def test_the_commit_that_changed_a_line_is_named(repository):
    source = read_source(str(repository / "app.py"))
    (change,) = await last_changes(source, 2, 2, None)
    (older,) = await last_changes(source, 6, 6, None)
    assert (change.summary, older.summary) == ("rename the key", "begin")
    assert len(change.commit) == 40
    assert change.date.endswith("Z")


async def test_lines_are_found_although_the_file_changed_elsewhere(repository):
    path = repository / "app.py"
    path.write_text("# new\n" + TEXT)
    (change,) = await last_changes(read_source(str(path)), 3, 3, None)
    assert change.summary == "rename the key"


async def test_changed_lines_are_said_to_be_uncommitted(repository):
    path = repository / "app.py"
    path.write_text(TEXT.replace("'k'", "'new'"))
    (change,) = await last_changes(read_source(str(path)), 2, 2, None)
    assert (change.commit, change.date) == ("", "")


async def test_a_file_outside_every_repository_is_a_problem(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("x\n")
    with pytest.raises(ToolProblem):
        await last_changes(read_source(str(path)), 1, 1, None)


async def test_a_hostile_repository_runs_nothing(repository):
    evil = repository / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {repository}/PWNED\ncat\n")
    evil.chmod(0o755)
    with (repository / ".git" / "config").open("a") as config:
        config.write(
            f"[core]\nfsmonitor = {evil}\npager = {evil}\nsshCommand = {evil}\nhooksPath = {repository}\n"
            f'[diff]\nexternal = {evil}\n[diff "py"]\ntextconv = {evil}\ncommand = {evil}\n'
            f'[filter "evil"]\nclean = {evil}\nsmudge = {evil}\nprocess = {evil}\nrequired = true\n'
            f"[alias]\nblame = !{evil}\ncat-file = !{evil}\n[gpg]\nprogram = {evil}\n"
            f"[log]\nshowSignature = true\n[credential]\nhelper = {evil}\n"
        )
    (repository / ".gitattributes").write_text("*.py diff=py filter=evil\n")
    (change,) = await last_changes(read_source(str(repository / "app.py")), 2, 2, None)
    assert change.summary == "rename the key"
    assert not (repository / "PWNED").exists()


@pytest.mark.parametrize(
    ("now", "before", "lines", "found"),
    [
        ("abc", "abc", (2, 2), (2, 2)),
        ("xabc", "abc", (3, 3), (2, 2)),
        ("abcx", "abc", (3, 3), (3, 3)),
        ("axc", "abc", (2, 2), None),
        ("axc", "abc", (3, 3), (3, 3)),
    ],
)
def test_lines_are_mapped_onto_the_committed_file(now, before, lines, found):
    assert committed_lines(list(now), list(before), *lines) == found
