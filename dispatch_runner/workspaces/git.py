"""Runs git: without hooks, prompts, signing and surprises from the environment."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

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
_ONLY_READING = frozenset(
    {"cat-file", "commit-tree", "diff-tree", "for-each-ref", "ls-tree", "merge-base", "rev-parse"}
)
"""Commands that look at no file of a work tree, merge nothing and move nothing: these run no program,
whatever the configuration names. Any other may: `write-tree`, for one, runs filters."""

_NAMES_PROGRAMS = (
    r"^(filter\..*\.(clean|smudge|process)|merge\..*\.driver|merge\.default|hook\..*\.command)$"
)
_OF_THE_REPOSITORY = ("local", "worktree")

_TEXT_MERGE = "git merge-file --marker-size=%L -L ours -L base -L theirs %A %O %B || exit 1"
"""What git does without a driver; what is not text is a conflict."""

OPTIONS = ("--no-pager", *(w for s in _SETTINGS for w in ("-c", s)))

FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_EDITOR": "true",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "LC_ALL": "C",
}

_NO_FETCH = {"GIT_ALLOW_PROTOCOL": "none"}
"""Also not what a partial clone has left out: the repository names the program that would fetch."""


class GitError(DispatchRunnerError):
    """Git is missing, or could not do what it was asked. The message says so in words."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message + (f" ({hint})" if hint else ""))


class Printed(NamedTuple):
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str


class Git:
    """Git in one folder, with an environment that says nothing but who and where we are.

    No program runs that only the repository's own configuration names (`filter.*`, `merge.*`), unless
    `filters` says that the operator wants that; those of the user's configuration do.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str] = os.environ, *, filters: bool = False
    ) -> None:
        self.folder = folder
        self.environ = environ
        self.filters = filters
        self._clean = clean_environment(environ) | ({} if filters else _NO_FETCH)

    def at(self, folder: Path) -> "Git":
        """The same in another folder."""
        return Git(folder, self.environ, filters=self.filters)

    async def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        passes: Sequence[int] = (0,),
    ) -> Printed:
        """How the command ended. Raises `GitError` for an exit code that is not one of `passes`.

        When it is cancelled, the command has ended.
        """
        overrides: dict[str, str] = {}
        if arguments[0] not in _ONLY_READING and not self.filters:
            overrides = _overrides(await self.programs(env))
        return await self._run(arguments, stdin, {**(env or {}), **overrides}, passes)

    async def programs(self, env: Mapping[str, str] | None = None) -> list[str]:
        """Settings of the repository itself that name a program. Asked anew each time: agents change files."""
        wanted = ("config", "--includes", "--show-scope", "--name-only", "-z", "--get-regexp")
        printed = await self._run((*wanted, _NAMES_PROGRAMS), b"", env or {}, (0, 1))
        parts = os.fsdecode(printed.stdout).split("\0")
        pairs = zip(parts[::2], parts[1::2], strict=False)
        return sorted({name for scope, name in pairs if scope in _OF_THE_REPOSITORY})

    async def _run(
        self, arguments: Sequence[str], stdin: bytes, env: Mapping[str, str], passes: Sequence[int]
    ) -> Printed:
        import anyio

        from dispatch_runner.process import run  # programs are started only by worktrees

        completed = None
        try:
            with anyio.move_on_after(GIT_SECONDS):
                completed = await run(
                    ("git", *OPTIONS, *arguments),
                    env={**self._clean, **self.identity, **env},
                    cwd=self.folder,
                    stdin=stdin,
                )
        except AgentError as error:
            raise GitError(f"cannot run git: {error.message}") from error
        if completed is None:
            raise GitError(f"'git {arguments[0]}' did not end within {GIT_SECONDS:g} s")
        if completed.returncode not in passes:
            said = completed.stderr.tail(4_000)
            raise GitError(_said(arguments[0], completed.returncode, said))
        stderr = completed.stderr.tail(4_000)
        return Printed(completed.returncode, completed.stdout.content(), stderr)

    async def text(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """What a command printed, without the last line end. Raises `GitError`."""
        printed = await self.run(*arguments, env=env)
        return os.fsdecode(printed.stdout).removesuffix("\n")

    async def commit_of(self, name: str, env: Mapping[str, str] | None = None) -> str | None:
        """The commit that a branch, a reference or `HEAD` names, or null."""
        wanted = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        printed = await self.run(*wanted, env=env, passes=(0, 1, 128))
        return printed.stdout.decode().strip() if printed.code == 0 else None

    async def contains(self, commit: str, older: str) -> bool:
        """Whether a commit has another one, or is it."""
        if commit == older:
            return True
        asked = await self.run("merge-base", "--is-ancestor", older, commit, passes=(0, 1))
        return asked.code == 0

    def ask(self, *arguments: str) -> str | None:
        """What a short question is answered, before anything runs; null for a failure.

        Raises `GitError` when there is no git.
        """
        try:
            completed = subprocess.run(
                ("git", *OPTIONS, *arguments),  # noqa: S607 - as the PATH says
                env=self._clean,
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
    def identity(self) -> Mapping[str, str]:
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


def _overrides(names: Sequence[str]) -> dict[str, str]:
    """An environment in which these settings name no program.

    No `-c`: that ends a name at its first `=`, and a hostile one may have some.
    """
    settings: list[tuple[str, str]] = []
    for name in names:
        section, _, rest = name.partition(".")
        owner = f"{section}.{rest.rpartition('.')[0]}"
        if section == "filter":
            settings += [(name, ""), (f"{owner}.required", "false")]
        elif section == "hook":
            settings.append((f"{owner}.enabled", "false"))
        else:
            settings.append((name, "text" if name == "merge.default" else _TEXT_MERGE))
    counted = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings):
        counted |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return counted


def _said(command: str, code: int, stderr: str) -> str:
    """The line that tells what was wrong."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    told = (marked or lines or [f"exit code {code}"])[-1]
    return f"'git {command}' failed: {told.removeprefix('fatal: ').removeprefix('error: ')}"
