"""Runs git: without hooks, prompts, signing and surprises from the environment."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from dispatch_runner.errors import AgentError, DispatchRunnerError

GIT_SECONDS = 600.0
"""Most for one command: a checkout of a large repository takes its time."""

FALLBACK_NAME, FALLBACK_EMAIL = "dispatch-runner", "dispatch-runner@localhost"

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "core.safecrlf=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
    "advice.addEmbeddedRepo=false",
    "merge.conflictStyle=merge",
)
OPTIONS = ("--no-pager", "--literal-pathspecs", *(w for s in _SETTINGS for w in ("-c", s)))

FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_EDITOR": "true",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "LC_ALL": "C",
}


class GitError(DispatchRunnerError):
    """Git is missing, or could not do what it was asked. The message says so in words."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message + (f" ({hint})" if hint else ""))


class Git:
    """Git in one folder, with an environment that says nothing but who and where we are."""

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.folder = folder
        self._environ = clean_environment(environ)

    async def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        passes: Sequence[int] = (0,),
    ) -> tuple[int, bytes]:
        """Exit code, one of `passes`, and what was printed. Raises `GitError` for any other.

        When it is cancelled, the command has ended.
        """
        import anyio

        from dispatch_runner.process import run  # programs are started only by worktrees

        completed = None
        try:
            with anyio.move_on_after(GIT_SECONDS):
                completed = await run(
                    ("git", *OPTIONS, *arguments),
                    env={**self._environ, **self._identity, **(env or {})},
                    cwd=self.folder,
                    stdin=stdin,
                )
        except AgentError as error:
            raise GitError(f"cannot run git: {error.message}") from error
        if completed is None:
            raise GitError(f"'git {arguments[0]}' did not end within {GIT_SECONDS:g} s")
        if completed.returncode not in passes:
            raise GitError(_said(arguments[0], completed.returncode, completed.stderr.tail(4_000)))
        return completed.returncode, completed.stdout.content()

    async def text(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What a command printed, without the last line end. Raises `GitError`."""
        _, printed = await self.run(*arguments, env=env)
        return os.fsdecode(printed).removesuffix("\n")

    def ask(self, *arguments: str) -> str | None:
        """What a short question is answered, before anything runs; null for a failure.

        Raises `GitError` when there is no git.
        """
        try:
            completed = subprocess.run(
                ("git", *OPTIONS, *arguments),
                env=self._environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GitError(f"cannot run git: {error}", "install git, or work in place") from error
        if completed.returncode != 0:
            self.complaint = os.fsdecode(completed.stderr).strip()
            return None
        return os.fsdecode(completed.stdout).removesuffix("\n")

    complaint = ""
    """What git said when `ask` was last answered with null."""

    @cached_property
    def _identity(self) -> Mapping[str, str]:
        """Who commits, where the user's settings do not say."""
        name, email = self.ask("config", "user.name"), self.ask("config", "user.email")
        if name and email:
            return {}
        return {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", FALLBACK_NAME), ("EMAIL", FALLBACK_EMAIL))
        }


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What git sees: where programs and the user's settings are, and nothing of `GIT_*`."""
    wanted = ("PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR")
    return {name: environ[name] for name in wanted if name in environ} | FIXED


def _said(command: str, code: int, stderr: str) -> str:
    """The line that tells what was wrong."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    told = (marked or lines or [f"exit code {code}"])[-1]
    return f"'git {command}' failed: {told.removeprefix('fatal: ').removeprefix('error: ')}"
