"""Which files of a folder are searched: what git would show, no links, no secrets, nothing binary."""

from __future__ import annotations

import os
import re
import stat
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from dispatch_runner.analysis.tools import UNTRUSTING, ToolProblem, clean_environment, output_of

MOST_FILES = 20_000
MOST_BYTES = 1_000_000
GIT_SECONDS = 10.0
MOST_REPOSITORIES = 100

SKIPPED_FOLDERS = frozenset({
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "bower_components",
    "__pycache__", "site-packages", "build", "dist", "target", ".eggs", ".gradle", ".idea", ".next",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".terraform", "htmlcov",
})  # fmt: skip
"""Of a folder that is in no repository, where nothing says what to ignore."""

PRIVATE_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".git"})

_NOISE = (
    "*.lock",
    "package-lock.json",
    "pnpm-lock.yaml",
    "*.min.js",
    "*.min.css",
    "*.map",
    "*.svg",
)
_SECRETS = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore",
    "*.kdbx", "*.ppk", "*.gpg", "*.asc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".netrc",
    "_netrc", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials", ".pgpass", "*.secret", "*.secrets",
    "service-account*.json", "service_account*.json", "*.tfstate", "*.tfstate.*", "*.tfvars",
    *(
        f"{name}{ending}"
        for name in ("credential", "credentials", "secret", "secrets", "token", "tokens")
        for ending in ("", ".json", ".y*ml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".txt",
                       ".xml", ".csv", ".enc")
    ),
)  # fmt: skip
"""Code that is named so, such as `secrets.py`, is none."""
_SHOWN = (".env.example", ".env.sample", ".env.template")


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)


_UNWANTED, _ALLOWED = _any_of(_SECRETS + _NOISE), _any_of(_SHOWN)
_SECRET = _any_of(_SECRETS)
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{32}")
_OWN_RECORDS = re.compile(r"(?:^|/)dispatch-\d{8}_\d{6}")


class Entry(NamedTuple):
    """A file as it was when it was looked at; another one of these means another content."""

    path: str
    """Relative to the folder, with `/`."""
    size: int
    mtime_ns: int
    inode: int


class Listing(NamedTuple):
    """The files of a folder."""

    entries: list[Entry]
    truncated: bool
    """Whether there were more than `MOST_FILES`."""


async def list_files(root: Path) -> Listing:
    """The files below a folder, which is given without links.

    In a repository what git tracks or would offer to track; else all but the usual folders of tools.
    Repositories inside are asked for themselves.
    """
    import anyio.to_thread

    names: list[str] = []
    waiting, seen = [""], 0
    while waiting and seen < MOST_REPOSITORIES and len(names) <= MOST_FILES:
        folder = waiting.pop()
        seen += 1
        listed = await _git_names(root / folder)
        if listed is None:
            found, inner = await anyio.to_thread.run_sync(_walked_names, root / folder)
        else:
            found = listed
            inner = await anyio.to_thread.run_sync(_repositories_in, root / folder, found)
        names += [f"{folder}{name}" for name in found]
        waiting += [f"{folder}{name}" for name in inner]
    return await anyio.to_thread.run_sync(_looked_at, str(root), names)


async def _git_names(folder: Path) -> list[str] | None:
    """What git lists, or null when the folder is in no repository or git will not say."""
    if not any((each / ".git").exists() for each in (folder, *folder.parents)):
        return None
    environment = clean_environment(GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")
    command = [*UNTRUSTING, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = await output_of(
            "git", command, cwd=folder, env=environment, seconds=GIT_SECONDS, codes=(0,)
        )
    except ToolProblem:
        return None
    names = (os.fsdecode(name) for name in answer.split(b"\0") if name)
    # nothing at all: the folder itself is ignored by the repository around it, which says nothing of it
    return list(dict.fromkeys(name for name in names if not name.startswith(("../", "/")))) or None


def _repositories_in(folder: Path, names: list[str]) -> list[str]:
    """Those of the names that are folders with a repository of their own."""
    ends = [name.rstrip("/") + "/" for name in names if "." not in name.rpartition("/")[2]]
    return [name for name in ends if _is_own(folder, name) and (folder / name / ".git").exists()]


def _is_own(folder: Path, name: str) -> bool:
    """A folder that no link leads to."""
    path = os.path.join(folder, name.rstrip("/"))  # noqa: PTH118 - once for each name
    return os.path.realpath(path) == path and os.path.isdir(path)  # noqa: PTH112


def _walked_names(root: Path) -> tuple[list[str], list[str]]:
    """Names of files, and of the folders that are repositories, which are not entered."""
    names: list[str] = []
    repositories: list[str] = []
    for folder, folders, files in os.walk(root, followlinks=False):
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else f"{inside}/"
        if prefix and (".git" in folders or ".git" in files):
            repositories.append(prefix)
            folders.clear()
            continue
        folders[:] = sorted(
            each
            for each in folders
            if each not in SKIPPED_FOLDERS and (each[0] != "." or each == ".github")
        )
        names += [prefix + each for each in sorted(files)]
        if len(names) > MOST_FILES:
            break
    return names, repositories


def is_wanted(path: str) -> bool:
    """Whether a file of that name may be shown to others: no secrets, no noise, no records of ours.

    A name that is no text is not.
    """
    if not path.isprintable():
        return False
    *folders, name = path.split("/")
    if not PRIVATE_FOLDERS.isdisjoint(folders) or _OWN_RECORDS.search(path):
        return False
    return bool(_ALLOWED.match(name)) or not _UNWANTED.match(name)


def is_private(path: str) -> bool:
    """Whether the name says that a file holds secrets, or belongs to git or to keys."""
    *folders, name = path.split("/")
    if not PRIVATE_FOLDERS.isdisjoint(folders) or name in PRIVATE_FOLDERS:
        return True
    return bool(_SECRET.match(name)) and not _ALLOWED.match(name)


def _looked_at(root: str, names: list[str]) -> Listing:
    entries: list[Entry] = []
    truncated = False
    real: dict[str, bool] = {}
    for name in names:
        if not is_wanted(name):
            continue
        parent = name.rpartition("/")[0]
        if parent not in real:
            path = f"{root}/{parent}" if parent else root
            real[parent] = os.path.realpath(path) == path
        entry = look_at(root, name) if real[parent] else None
        if entry is not None and 0 < entry.size <= MOST_BYTES:
            if len(entries) == MOST_FILES:
                truncated = True
                break
            entries.append(entry)
    return Listing(entries, truncated)


def look_at(root: str, name: str) -> Entry | None:
    """The state of an ordinary file; null for all else, and for what is gone."""
    try:
        status = os.lstat(f"{root}/{name}")
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Entry(name, status.st_size, status.st_mtime_ns, status.st_ino)


def read_text(root: str, entry: Entry) -> bytes | None:
    """The content of a file; null when it is binary, holds a private key, grew, or cannot be read."""
    try:
        descriptor = os.open(f"{root}/{entry.path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    hidden = b"\0" in content or _KEY.search(content)
    return None if hidden or len(content) > MOST_BYTES else content
