"""Where the programs are that the analysis starts, and the clean environment they get."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "SYSTEMROOT")


def clean_environment(**more: str) -> dict[str, str]:
    """What a tool needs of the environment, and nothing that configures it."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **more}


def find_ruff() -> str | None:
    """The ruff that was installed with us, else one on the path."""
    try:
        ruff = importlib.import_module("ruff")
        return str(ruff.find_ruff_bin())
    except (ImportError, AttributeError, FileNotFoundError):
        return shutil.which("ruff")


def find_git() -> str | None:
    """The git on the path."""
    return shutil.which("git")


def missing_tools() -> list[str]:
    """What is not installed; what depends on it is not assessed."""
    found = {
        "ruff": find_ruff(),
        "mypy": find_mypy(),
        "git": find_git(),
        "pytest": importlib.util.find_spec("pytest"),
    }
    return [name for name, command in found.items() if command is None]


def find_mypy() -> list[str] | None:
    """How to start the mypy beside our interpreter, else one on the path."""
    beside = Path(sys.executable).with_name("mypy")
    if beside.exists():
        return [str(beside)]
    found = shutil.which("mypy")
    return [found] if found is not None else None
