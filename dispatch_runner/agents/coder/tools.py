"""The programs that judge a file: ruff, mypy, and the harness in a clean Python."""

import os
import sys
from functools import cache
from pathlib import Path

RUFF_RULES = "ANN,ASYNC,B,BLE,C4,E,F,I,N,PIE,RET,S,SIM,T20,UP,W"
RUFF_IGNORED = "E501,S101,S105,S106,S107"
"""The formatter owns line length; an assert states an invariant; a name is not yet a secret."""
RUFF_COMMON = ("--isolated", "--no-cache", "--line-length", "100", "--target-version", "py311")
MYPY_OPTIONS = (
    "--strict", "--config-file=", "--python-version=3.11", "--output=json", "--no-error-summary",
    "--no-color-output", "--hide-error-context",
)  # fmt: skip
MYPY_MODULES = ("mypy", "pydantic")


@cache
def ruff() -> str | None:
    """The ruff program: of this environment, else on the path; null when there is none."""
    import shutil

    try:
        from ruff import find_ruff_bin

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("ruff")


def ruff_check(program: str) -> list[str]:
    rules = ["--select", RUFF_RULES, "--ignore", RUFF_IGNORED, "--output-format", "json"]
    return [program, "check", *RUFF_COMMON, *rules, "--stdin-filename", "module.py", "-"]


def ruff_format(program: str, *, check: bool = False) -> list[str]:
    return [
        program,
        "format",
        *RUFF_COMMON,
        *(["--check"] if check else []),
        "--stdin-filename",
        "module.py",
        "-",
    ]


def mypy(path: Path) -> list[str] | None:
    """The command that checks types, or null when mypy is not installed."""
    from importlib.util import find_spec

    if find_spec("mypy") is None:
        return None
    return [
        sys.executable,
        "-I",
        "-m",
        "mypy",
        *MYPY_OPTIONS,
        f"--cache-dir={type_cache(path.parent / 'types')}",
        path.name,
    ]


def type_cache(fallback: Path) -> Path:
    """Where mypy keeps what it learnt of pydantic: a folder of the user's that can be written."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - no home is no error
    folder = Path(home) / "dispatch-runner" / "mypy"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return fallback
    return folder if os.access(folder, os.W_OK) else fallback


def harness(
    path: Path, class_name: str, node_type: str, methods: list[str], depth: str
) -> list[str]:
    """The command that imports a module in a clean interpreter and tries it."""
    script = Path(__file__).with_name("harness.py")
    return [
        sys.executable,
        "-I",
        "-B",
        str(script),
        path.name,
        class_name,
        node_type,
        ",".join(methods),
        depth,
    ]


def environment() -> dict[str, str]:
    """All that these programs see: no secret of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", "HOME": "/nonexistent"}
