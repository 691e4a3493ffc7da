"""Which files are searched: what git would show, and never a link, a secret or something binary."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dispatch_runner.analysis.search import files
from dispatch_runner.analysis.search.files import Entry, is_wanted, list_files, look_at, read_text

pytestmark = pytest.mark.anyio
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text\n")
    return root


def git(root: Path, *arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *arguments], cwd=root, env=environment, check=True, capture_output=True)


async def listed(root: Path) -> list[str]:
    return sorted(entry.path for entry in (await list_files(root.resolve())).entries)


async def test_the_usual_folders_of_tools_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "src/b.py", "node_modules/c.js", ".venv/d.py", "x/__pycache__/e.py")
    fill(tmp_path, ".github/workflows/f.yml", ".hidden/g.py", "uv.lock", "app.min.js")
    assert await listed(tmp_path) == [".github/workflows/f.yml", "a.py", "src/b.py"]


@needs_git
async def test_in_a_repository_git_says_what_is_ignored(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "new.py", "secretly/b.py", "build/c.py", "sub/.gitignore")
    (tmp_path / ".gitignore").write_text("secretly/\n")
    (tmp_path / "sub/.gitignore").write_text("d.py\n")
    fill(tmp_path, "sub/d.py", "sub/e.py")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "a.py")
    assert await listed(tmp_path) == [
        ".gitignore", "a.py", "build/c.py", "new.py", "sub/.gitignore", "sub/e.py",
    ]  # fmt: skip
    assert await listed(tmp_path / "sub") == [".gitignore", "e.py"]


@needs_git
async def test_a_folder_that_its_repository_ignores_is_searched_when_it_is_asked_for(
    tmp_path: Path,
) -> None:
    fill(tmp_path, "out/a.py")
    (tmp_path / ".gitignore").write_text("out/\n")
    git(tmp_path, "init", "-q")
    assert await listed(tmp_path / "out") == ["a.py"]


@needs_git
async def test_repositories_inside_are_asked_for_themselves(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "one/b.py", "one/hidden.py", "one/two/c.py")
    (tmp_path / "one/.gitignore").write_text("hidden.py\n")
    git(tmp_path / "one", "init", "-q")
    git(tmp_path / "one/two", "init", "-q")
    assert await listed(tmp_path) == ["a.py", "one/.gitignore", "one/b.py", "one/two/c.py"]


@needs_git
async def test_a_repository_runs_none_of_its_programs(tmp_path: Path) -> None:
    fill(tmp_path, "a.py")
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    assert await listed(tmp_path) == ["a.py"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("in_repository", [False, pytest.param(True, marks=needs_git)])
async def test_links_are_never_followed(tmp_path: Path, in_repository: bool) -> None:
    outside = fill(tmp_path / "outside", "a.py", "folder/b.py")
    root = fill(tmp_path / "root", "own.py", "replaced/b.py")
    if in_repository:
        git(root, "init", "-q")
        git(root, "add", ".")
    shutil.rmtree(root / "replaced")
    (root / "replaced").symlink_to(outside / "folder")
    (root / "file.py").symlink_to(outside / "a.py")
    (root / "folder").symlink_to(outside / "folder")
    assert await listed(root) == ["own.py"]


async def test_what_is_no_ordinary_file_is_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", "empty.py", "large.py")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "empty.py").write_bytes(b"")
    (tmp_path / "large.py").write_bytes(b"x" * (files.MOST_BYTES + 1))
    (tmp_path / os.fsdecode(b"not-\xff-text.py")).write_text("x\n")
    assert await listed(tmp_path) == ["a.py"]
    assert look_at(str(tmp_path), "pipe.py") is None
    assert look_at(str(tmp_path), "gone.py") is None


@pytest.mark.parametrize(
    "name",
    [
        ".env", "a/.env.production", "prod.env", "server.key", "x/cert.pem", "id_rsa", "id_ed25519",
        ".npmrc", ".netrc", ".pypirc", "credentials.json", "secrets.yaml", "a/Secrets.toml",
        "service-account-x.json", "terraform.tfstate", ".ssh/config", "home/.aws/config",
        "traces/dispatch-20251006_120000-1f0c9a52/result.json", ".git/config", "poetry.lock",
    ],
)  # fmt: skip
def test_secrets_noise_and_our_own_records_are_not_wanted(name: str) -> None:
    assert not is_wanted(name)


@pytest.mark.parametrize(
    "name", ["a.py", ".env.example", "src/secrets.py", "pkg/credentials.go", "environment.py", "keys.py"]
)  # fmt: skip
def test_code_about_secrets_is_wanted(name: str) -> None:
    assert is_wanted(name)


@pytest.mark.parametrize(
    "content",
    [b"a\0b", b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 64, b"x" * (files.MOST_BYTES + 1)],
)
def test_binary_files_and_private_keys_are_not_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(str(tmp_path), Entry("a.txt", len(content), 0, 0)) is None


def test_a_file_that_became_a_link_or_went_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("text")
    (tmp_path / "a.txt").symlink_to(tmp_path / "b.txt")
    assert read_text(str(tmp_path), Entry("a.txt", 4, 0, 0)) is None
    assert read_text(str(tmp_path), Entry("c.txt", 4, 0, 0)) is None
    assert read_text(str(tmp_path), Entry("b.txt", 4, 0, 0)) == b"text"


async def test_more_files_than_are_indexed_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    fill(tmp_path, "a.py", "b.py", "c.py")
    listing = await list_files(tmp_path.resolve())
    assert [entry.path for entry in listing.entries] == ["a.py", "b.py"]
    assert listing.truncated
