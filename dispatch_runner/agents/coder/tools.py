"""How the programs that judge a file are called: ruff, mypy, and the harness in a clean Python."""

import os
import sys
from pathlib import Path

RUFF_RULES = "ANN,ASYNC,B,BLE,C4,E,F,I,N,PIE,RET,S,SIM,T20,UP,W"
RUFF_IGNORED = "E501,S101,S105,S106,S107"
"""The formatter owns line length; an assert states an invariant; a name is not yet a secret."""
RUFF_COMMON = (
    "--isolated", "--no-cache", "--quiet", "--line-length=100", "--target-version=py311",
    "--stdin-filename=module.py", "-",
)  # fmt: skip
RUFF_CHECK = (
    "check", f"--select={RUFF_RULES}", f"--ignore={RUFF_IGNORED}", "--output-format=json", *RUFF_COMMON,
)  # fmt: skip
RUFF_FORMAT = ("format", *RUFF_COMMON)


def mypy_arguments(path: Path) -> list[str]:
    """Arguments that check one file, against the packages of this environment."""
    return [
        "--strict", "--config-file=", "--python-version=3.11", f"--python-executable={sys.executable}",
        "--output=json", "--no-error-summary", "--no-color-output", "--hide-error-context",
        f"--cache-dir={type_cache(path.parent / 'types')}", path.name,
    ]  # fmt: skip


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
    script = str(Path(__file__).with_name("harness.py"))
    asked = [path.name, class_name, node_type, ",".join(methods), depth]
    return [sys.executable, "-I", "-B", script, *asked]
