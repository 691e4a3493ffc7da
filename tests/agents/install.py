"""Installs the agent programs that the tests drive: by name and pinned version, into a cache of its own.

`python tests/agents/install.py` installs what is missing, one run at a time, and says what it could
not install and why; the tests of that program are then skipped with that reason. It fails only
when `TEST_AGENTS_REQUIRED` is set.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from dispatch_runner.process import Completed, run

INSTALL_SECONDS = 120.0
"""For one program; all are installed side by side."""
LOCK_SECONDS = 150.0
NPM = ("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier",
       "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000",
       "--fetch-retry-maxtimeout=5000", "--fetch-timeout=30000")  # fmt: skip
KEPT = ("PATH", "HOME", "LANG", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class NotInstalled(Exception):
    """A program is not there; the text says why."""


@dataclass(frozen=True, slots=True)
class Program:
    """One agent program, named as its backend."""

    name: str
    package: str
    version: str
    command: str
    setup: str | None = None
    """The script of the package that puts its binary in place: the only one that is run."""

    @property
    def folder(self) -> Path:
        return cache() / f"{self.name}-{self.version}"

    @property
    def executable(self) -> Path:
        return self.folder / "node_modules/.bin" / self.command

    @property
    def excuse(self) -> Path:
        """Holds why the last try to install it failed."""
        return cache() / f"{self.name}-{self.version}.failed"


PROGRAMS = {
    each.name: each
    for each in (
        Program("claude-code", "@anthropic-ai/claude-code", "2.1.329", "claude", "install.cjs"),
        Program("codex", "@openai/codex", "0.169.0", "codex"),
        Program("gemini", "@google/gemini-cli", "0.61.0", "gemini"),
        Program("opencode", "opencode-ai", "1.18.33", "opencode", "postinstall.mjs"),
    )
}


def cache() -> Path:
    """Where the programs are."""
    chosen = os.environ.get("TEST_AGENTS_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache/dispatch-runner-test-agents"


def required() -> bool:
    """Whether a program or a namespace that is missing is a failure."""
    return bool(os.environ.get("TEST_AGENTS_REQUIRED"))


def installed(name: str) -> Path:
    """The executable. Raises `NotInstalled` with the reason."""
    program = PROGRAMS[name]
    if program.executable.exists():
        return program.executable
    if program.excuse.exists():
        raise NotInstalled(program.excuse.read_text())
    raise NotInstalled(f"{name} {program.version} is not installed: run `make test-agents`")


async def install(program: Program) -> None:
    """Installs a program, whole or not at all. Raises `NotInstalled`."""
    cache().mkdir(parents=True, exist_ok=True)
    partial_folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=cache()))
    try:
        npm = [*NPM, f"--prefix={partial_folder}", f"{program.package}@{program.version}"]
        await _run(program, npm, partial_folder, _npm_environment())
        if program.setup is not None:
            package = partial_folder / "node_modules" / program.package
            bare = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(partial_folder)}
            await _run(program, ["node", program.setup], package, bare)
        shutil.rmtree(program.folder, ignore_errors=True)
        partial_folder.rename(program.folder)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)


async def _run(
    program: Program, command: list[str], folder: Path, environment: Mapping[str, str]
) -> None:
    if shutil.which(command[0]) is None:
        raise NotInstalled(f"{program.name}: there is no {command[0]} on this machine")
    completed: Completed | None = None
    with anyio.move_on_after(INSTALL_SECONDS):
        completed = await run(command, env=environment, cwd=folder, grace_seconds=1.0)
    if completed is None:
        raise NotInstalled(f"{program.name}: `{command[0]}` took over {INSTALL_SECONDS:g} s")
    if completed.returncode != 0:
        said = " ".join(completed.stderr.text(300).split())
        raise NotInstalled(f"{program.name}: `{command[0]}` failed: {said}")


def _npm_environment() -> dict[str, str]:
    """What npm needs to reach the registry as it usually does on this machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() in KEPT or name.lower().startswith("npm_config_")
    }


async def install_missing() -> list[str]:
    """Installs what is missing, side by side: the reasons of what could not be."""
    reasons: list[str] = []

    async def attempt(program: Program) -> None:
        program.excuse.unlink(missing_ok=True)
        try:
            await install(program)
        except NotInstalled as reason:
            reasons.append(str(reason))
            program.excuse.write_text(str(reason))

    async with anyio.create_task_group() as group:
        for program in missing():
            group.start_soon(attempt, program)
    return reasons


def missing() -> list[Program]:
    """The programs that are not installed."""
    return [each for each in PROGRAMS.values() if not each.executable.exists()]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Waits for whoever else is installing, not for ever. Raises `TimeoutError`."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another install has held {file.name} for {LOCK_SECONDS:g} s")
            time.sleep(0.2)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main() -> int:
    """Exit code 1 when something is missing that is required."""
    if not missing():
        return 0
    try:
        with one_at_a_time():
            reasons = anyio.run(install_missing)
    except TimeoutError as error:
        reasons = [str(error)]
    for reason in reasons:
        sys.stderr.write(f"not installed, its tests are skipped: {reason}\n")
    return int(bool(reasons) and required())


if __name__ == "__main__":
    sys.exit(main())
