"""Git repositories for tests: real ones, small, with an identity of their own."""

import os
import subprocess
from pathlib import Path

ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "caller",
    "GIT_AUTHOR_EMAIL": "caller@example.org",
    "GIT_COMMITTER_NAME": "caller",
    "GIT_COMMITTER_EMAIL": "caller@example.org",
}


class Repo:
    """A repository with one commit: `a.txt` of three lines, and `sub/b.txt`."""

    def __init__(self, folder: Path, *, commit: bool = True) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")
        if commit:
            self.write("a.txt", "one\ntwo\nthree\n")
            self.write("sub/b.txt", "b\n")
            self.write(".gitignore", "ignored/\ntraces/\n")
            self.commit("first")

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        """What a command printed, without the last line end."""
        command = ("git", "-c", "core.quotePath=false", *arguments)
        ran = subprocess.run(
            command, cwd=folder or self.folder, env=ENVIRON, capture_output=True, check=False
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return os.fsdecode(ran.stdout).removesuffix("\n")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)
        return self.git("rev-parse", "HEAD")

    def branches(self) -> list[str]:
        """Those of dispatches, without what all have in common."""
        listed = self.git(
            "for-each-ref", "--format=%(refname:lstrip=3)", "refs/heads/dispatch-runner/"
        )
        return listed.splitlines()

    def show(self, name: str, path: str) -> str:
        """A file on a branch of a dispatch."""
        return self.git("show", f"dispatch-runner/{name}:{path}")

    def state(self) -> tuple[str, str, str, str]:
        """What no dispatch may touch: `HEAD`, the branch, the index, and how the files stand."""
        return (
            self.git("rev-parse", "HEAD"),
            self.git("rev-parse", "--abbrev-ref", "HEAD"),
            self.git("ls-files", "--stage"),
            self.git("status", "--porcelain", "--untracked-files=all"),
        )
