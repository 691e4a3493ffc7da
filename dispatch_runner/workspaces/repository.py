"""The caller's git repository: its worktrees are made, saved and removed here, one at a time."""

import fcntl
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread

from dispatch_runner.locks import default_folder, private_folder
from dispatch_runner.settings.trust import base_folder
from dispatch_runner.workspaces.git import Git, GitError
from dispatch_runner.workspaces.names import digest

LOCK_NAME = "lock"
INDEX_NAME = "dispatch-runner.index"
POLL_SECONDS = 0.02
"""How often a lock that another dispatch holds is tried."""

_LINK = "160000"
"""Git's mode of a repository inside the repository: what is in it is not kept."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree that was made for a task."""

    folder: Path
    branch: str
    base: str
    """The commit that it was made from."""
    admin: Path
    """Where git keeps its index and its `HEAD`. Remembered: an agent may have changed `.git`."""


class Saved(NamedTuple):
    """What a worktree held when it was saved."""

    tip: str
    """The commit that its branch is at; the base when nothing has changed."""
    files: list[str]
    """What differs from the base: paths below the repository."""
    unsaved: list[str]
    """In words: what could not be committed."""


class Repository:
    """The repository that holds the working directory."""

    def __init__(self, cwd: Path, top: Path, common: Path, home: Path, git: Git) -> None:
        self.cwd = cwd
        self.top = top
        """Root of the caller's work tree."""
        self.common = common
        """Git's own folder, shared by all worktrees."""
        self.home = home
        """Where our worktrees are: outside the work tree, so that no tool finds them in it."""
        self.git = git
        self._turn = anyio.Lock()

    @classmethod
    def find(cls, cwd: Path, environ: Mapping[str, str], filters: bool = False) -> "Repository":
        """With `filters`, programs that the repository's own configuration names run.

        Raises `GitError` where no worktree can be made: no git, no repository, a bare one, no commit.
        """
        git = Git(cwd, environ, filters=filters)
        where = git.ask(
            "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir"
        )
        if where is None:
            raise _no_repository(git, cwd)
        top, newline, common = where.partition("\n")
        if not newline or "\n" in common:
            raise GitError(f"git does not say where the repository of '{cwd}' is: {where!r}")
        if git.ask("rev-parse", "--quiet", "--verify", "HEAD^{commit}") is None:
            raise GitError(
                f"the repository '{top}' has no commit", "commit something first: git commit"
            )
        home = _home(Path(top), Path(common), environ)
        top_git = git.at(Path(top))
        assert top_git.identity is not None  # asked for here, where it may take a moment
        return cls(cwd, Path(top), Path(common), home, top_git)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """For what git cannot do twice at once; holds against other dispatches of the machine, too."""
        async with self._turn:
            lock = os.open(self.home / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while not _locked(lock):  # noqa: ASYNC110 - another process has it
                    await anyio.sleep(POLL_SECONDS)
                yield
            finally:
                os.close(lock)

    async def add(self, name: str, branch: str | None, base: str) -> Worktree:
        """A new worktree with a new branch, or with none. Raises `GitError`; then there is nothing."""
        folder = self.home / name
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        how = ("--detach",) if branch is None else ("--no-track", "-b", branch)
        async with self.exclusive():
            try:
                wanted = ("worktree", "add", "--quiet", "--no-checkout", *how, "--", str(folder))
                await self.git.run(*wanted, base)
                # by a command of its own: its configuration may differ, by `includeIf`
                await self.git.at(folder).run("reset", "--quiet", "--hard")
                admin = Path((folder / ".git").read_text().removeprefix("gitdir: ").strip())
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._undo(folder, branch, base)
                raise
        return Worktree(folder, branch or "", base, admin)

    async def _undo(self, folder: Path, branch: str | None, base: str) -> None:
        """Half a worktree that was interrupted in the making: nobody has worked in it."""
        if folder.exists():
            with suppress(GitError):
                await self.git.run("worktree", "remove", "--force", "--force", str(folder))
            await anyio.to_thread.run_sync(_remove_folder, folder)
        if branch is not None:
            await self.delete_branch(branch, base)

    async def save(
        self, tree: Worktree, message: Callable[[], str], forced: Sequence[str] = ()
    ) -> Saved:
        """Commits everything in a worktree to its branch, whatever was done to it meanwhile.

        What the agent committed itself, on whatever branch, stays in the history. `forced` are paths
        below the worktree that are kept although git ignores them. Raises `GitError`.
        """
        git = self.git.at(tree.folder)
        env = {"GIT_DIR": str(tree.admin), "GIT_WORK_TREE": str(tree.folder)}
        contents, unsaved = await self._contents(git, env, tree.admin / INDEX_NAME, forced)
        parents, before = await self._parents(git, env, tree)
        tip, ref = parents[0], f"refs/heads/{tree.branch}"
        if len(parents) > 1 or contents != before:
            tip = await self.commit(contents, parents, message())
        if tip != tree.base:
            await git.run("update-ref", ref, tip, env=env)
        if (tree.admin / "HEAD").read_text() != f"ref: {ref}\n":
            await git.run("symbolic-ref", "HEAD", ref, env=env)
        (tree.admin / INDEX_NAME).replace(tree.admin / "index")
        (tree.admin / "index.lock").unlink(missing_ok=True)
        files, nested = await self.changed(tree.base, tip)
        unsaved += [
            f"'{path}' is a repository of its own: what is in it is not kept" for path in nested
        ]
        return Saved(tip, files, unsaved)

    async def _contents(
        self, git: Git, where: Mapping[str, str], index: Path, forced: Sequence[str] = (),
        skipped: Sequence[str] = (),
    ) -> tuple[str, list[str]]:  # fmt: skip
        """A tree of everything that lies there, made with an index of our own; and what is not in it."""
        env = {**where, "GIT_INDEX_FILE": str(index)}
        try:
            shutil.copyfile(Path(where["GIT_DIR"]) / "index", index)
        except FileNotFoundError:
            await git.run("read-tree", "HEAD", env=env)
        wanted = ("add", "--all", "--ignore-errors", "--", ".", *skipped)
        try:
            added = await git.run(*wanted, env=env, passes=(0, 1))
        except GitError:  # an index that is not usable: made anew
            os.truncate(index, 0)
            await git.run("read-tree", "HEAD", env=env)
            added = await git.run(*wanted, env=env, passes=(0, 1))
        if forced:
            paths = "\0".join(f":(literal,top){path}" for path in forced)
            await git.run(
                "add", "--force", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul",
                env=env, stdin=os.fsencode(paths), passes=(0, 1, 128),
            )  # fmt: skip
        contents = await git.text("write-tree", env=env)
        refused = added.stderr.splitlines() if added.code else []
        return contents, [line[7:] for line in refused if line.startswith("error: ")]

    async def _parents(
        self, git: Git, env: Mapping[str, str], tree: Worktree
    ) -> tuple[list[str], str]:
        """The branch, and where the agent went from there by itself; and the tree of the first."""
        names = ("HEAD", f"refs/heads/{tree.branch}", "HEAD^{tree}")
        asked = await git.run("rev-parse", *names, env=env, passes=(0, 128))
        if asked.code == 0:
            head, tip, contents = asked.stdout.decode().split()
            if head == tip:
                return [tip], contents
        tip = await git.commit_of(f"refs/heads/{tree.branch}", env) or tree.base
        head = await git.commit_of("HEAD", env) or tip
        if await self.git.contains(tip, head):
            parents = [tip]
        else:
            parents = [head] if await self.git.contains(head, tip) else [tip, head]
        return parents, await git.text("rev-parse", f"{parents[0]}^{{tree}}", env=env)

    async def commit(self, contents: str, parents: Sequence[str], message: str) -> str:
        """A commit of a tree. Moves no branch."""
        of = [word for parent in parents for word in ("-p", parent)]
        text = message.replace("\0", "").encode("utf-8", "replace")
        printed = await self.git.run("commit-tree", contents, *of, stdin=text)
        return printed.stdout.decode().strip()

    async def carried(self, head: str, skipped: Sequence[Path]) -> str:
        """A commit of the caller's work tree as it is, tracked and untracked; `head` if it is clean.

        Neither the caller's index nor a branch is touched. `skipped` folders are left out.
        """
        admin = Path(await self.git.text("rev-parse", "--absolute-git-dir"))
        below = [path.relative_to(self.top) for path in skipped if path.is_relative_to(self.top)]
        left_out = [f":(exclude,top,literal){path}" for path in below if path != Path()]
        env = {"GIT_DIR": str(admin), "GIT_WORK_TREE": str(self.top)}
        index = self.home / f"carried-{os.getpid()}-{os.urandom(4).hex()}.index"
        try:
            contents, _ = await self._contents(self.git, env, index, skipped=left_out)
        finally:
            index.unlink(missing_ok=True)
        if contents == await self.git.text("rev-parse", f"{head}^{{tree}}"):
            return head
        return await self.commit(contents, [head], "Uncommitted changes of the caller")

    async def changed(self, old: str, new: str) -> tuple[list[str], list[str]]:
        """Paths that differ between two commits, and those of them that are new repositories."""
        if old == new:
            return [], []
        wanted = ("diff-tree", "-r", "-z", "--raw", "--no-renames", old, new)
        parts = (await self.git.run(*wanted)).stdout.split(b"\0")
        pairs = list(zip(parts[::2], map(os.fsdecode, parts[1::2]), strict=False))
        modes = [(entry.decode().split(), path) for entry, path in pairs]
        return (
            [path for _, path in pairs],
            [path for (old_mode, mode, *_), path in modes if mode == _LINK != old_mode[1:]],
        )

    async def remove(self, tree: Worktree) -> None:
        """Removes a worktree's folder; its branch stays."""
        async with self.exclusive():
            await anyio.to_thread.run_sync(_remove_folder, tree.folder)
            if tree.admin.parent == self.common / "worktrees" and not tree.folder.exists():
                await anyio.to_thread.run_sync(_remove_folder, tree.admin)

    async def delete_branch(self, branch: str, tip: str) -> None:
        """Deletes a branch unless somebody has moved it since."""
        with suppress(GitError):
            await self.git.run("update-ref", "-d", f"refs/heads/{branch}", tip)


def _no_repository(git: Git, cwd: Path) -> GitError:
    complaint = git.complaint.removeprefix("fatal: ")
    if git.ask("rev-parse", "--is-bare-repository") == "true":
        return GitError(f"'{cwd}' is in a bare repository", "go to a clone that has files")
    if "not a git repository" in complaint:
        return GitError(
            f"'{cwd}' is not in a git repository", "git init and commit, or use another workspace"
        )
    return GitError(f"git cannot use the repository of '{cwd}': {complaint[:400]}")


def _home(top: Path, common: Path, environ: Mapping[str, str]) -> Path:
    """Our folder for this repository, private, outside its work tree."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", top.name)[:40] or "root"
    below = Path("worktrees") / f"{name}-{digest(str(common))}"
    base = base_folder(environ, "XDG_STATE_HOME", ".local/state")
    for folder in (base, default_folder()):
        if folder is not None and not folder.resolve().is_relative_to(top):
            home = folder.resolve() / below
            try:
                home.mkdir(mode=0o700, parents=True, exist_ok=True)
                return private_folder(home)
            except OSError as error:
                raise GitError(f"cannot make '{home}': {error.strerror}") from error
    raise GitError(
        f"there is no place for worktrees outside of '{top}'",
        "set XDG_STATE_HOME to a folder elsewhere",
    )


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_folder(folder: Path) -> None:
    """Removes a folder with all that is in it, also what may not be written to; never through a link."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return
    with suppress(OSError):
        folder.chmod(stat.S_IRWXU)
    for parent, names, _ in os.walk(folder):
        for below in (Path(parent, name) for name in names):
            if not below.is_symlink():
                with suppress(OSError):
                    below.chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)
