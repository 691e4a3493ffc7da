"""How the test bed installs agent programs, tried with a stand-in for npm, and how it is sealed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents import install, jail
from agents.install import PROGRAMS, NotInstalled, install_missing, installed

pytestmark = pytest.mark.anyio
NPM = """#!/bin/sh
for each in "$@"; do case $each in --prefix=*) prefix=${each#--prefix=};; esac; package=$each; done
echo "$package" >> "$(dirname "$prefix")/asked"
case $package in @openai*) echo "no such
package" >&2; exit 1;; esac
mkdir -p "$prefix/node_modules/.bin" "$prefix/node_modules/${package%@*}"
for each in claude gemini opencode; do touch "$prefix/node_modules/.bin/$each"; done
env > "$prefix/environment"
"""
NODE = """#!/bin/sh
echo "$1" > setup; env > environment
"""
JAIL = Path(jail.__file__)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a PATH on which npm and node are stand-ins."""
    for name, script in {"npm": NPM, "node": NODE}.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(script)
        file.chmod(0o755)
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("TEST_AGENTS_CACHE", str(folder))
    monkeypatch.setenv("SECRET_TOKEN", "not for npm")
    return folder


def asked(cache: Path) -> set[str]:
    return set((cache / "asked").read_text().split())


async def test_programs_are_installed_by_name_and_version_once(cache: Path) -> None:
    await install_missing()
    wanted = {f"{each.package}@{each.version}" for each in PROGRAMS.values()}
    assert asked(cache) == wanted
    assert installed("gemini") == cache / "gemini-0.61.0/node_modules/.bin/gemini"
    (cache / "asked").unlink()
    await install_missing()
    assert asked(cache) == {"@openai/codex@0.169.0"}, "only what is missing is tried again"


async def test_why_a_program_is_missing_is_kept_for_its_tests(cache: Path) -> None:
    reasons = await install_missing()
    assert reasons == ["codex: `npm` failed: no such package"]
    with pytest.raises(NotInstalled, match="no such package"):
        installed("codex")
    assert not list(cache.glob(".partial-*"))


async def test_only_the_script_that_puts_a_binary_in_place_is_run(cache: Path) -> None:
    await install_missing()
    ran = {each.parent.name: each.read_text() for each in cache.rglob("setup")}
    assert ran == {"claude-code": "install.cjs\n", "opencode-ai": "postinstall.mjs\n"}
    seen = "".join(each.read_text() for each in cache.rglob("environment"))
    assert "PATH=" in seen
    assert "not for npm" not in seen


async def test_a_machine_without_npm_is_told_so(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cache))
    reasons = await install_missing()
    assert len(reasons) == len(PROGRAMS)
    assert "codex: there is no npm on this machine" in reasons


def test_what_was_never_tried_says_how(cache: Path) -> None:
    with pytest.raises(NotInstalled, match=r"codex 0\.169\.0 is not installed: run `make test-ag"):
        installed("codex")


def test_two_installs_do_not_meet(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "LOCK_SECONDS", 0.0)
    with install.one_at_a_time():
        with pytest.raises(TimeoutError, match="another install has held"):
            with install.one_at_a_time():
                raise AssertionError
    with install.one_at_a_time():
        pass


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
def test_without_a_namespace_nothing_is_run(required: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, JAIL, "echo", "ran"],
        env={"PATH": "/nowhere", "TEST_AGENTS_REQUIRED": required},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert "there is no `unshare` on this machine" in done.stderr


def test_inside_the_namespace_there_is_only_loopback() -> None:
    try:
        jail.unshare()
    except OSError as error:
        pytest.skip(f"no network namespace: {error}")
    look = "import socket; from agents.jail import sealed; print(sealed(), socket.if_nameindex())"
    done = subprocess.run(
        [sys.executable, JAIL, sys.executable, "-c", look],
        env={**os.environ, "PYTHONPATH": str(JAIL.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.stdout.startswith("True "), done.stderr
    assert "'lo'" in done.stdout
