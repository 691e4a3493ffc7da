"""What an operator would have set up for each program, all of it private to one test."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from agents.install import installed
from support.model_server import SIDE_MODEL

KEY = "dummy-key-of-a-test"
MODEL = "scripted-model"
"""For Codex and opencode, whose models are configured. Claude Code and Gemini want a name that they know."""
GEMINI_MODEL = "gemini-2.5-pro"


def environment(name: str, url: str, home: Path) -> dict[str, str]:
    """All that the program gets to see; its settings files are written below `home`.

    Nothing of the environment of the tests is passed on. The program's keys are dummies and its
    model is the server at `url`.
    """
    temporary = home.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        "PATH": os.pathsep.join(_path(name)),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        **_OWN[name](url, home),
    }


def _path(name: str) -> list[str]:
    tools = [Path(found).parent for each in ("node", "git") if (found := shutil.which(each))]
    folders = [installed(name).parent, *tools, "/usr/local/bin", "/usr/bin", "/bin"]
    return list(dict.fromkeys(map(str, folders)))


def _claude_code(url: str, _: Path) -> dict[str, str]:
    return {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY}


def _codex(url: str, home: Path) -> dict[str, str]:
    folder = home / ".codex"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(
        f'model = "{MODEL}"\n'
        'model_provider = "scripted"\n'
        "check_for_update_on_startup = false\n"
        "[analytics]\nenabled = false\n"
        "[features]\nplugins = false\n"
        "[model_providers.scripted]\n"
        'name = "Scripted"\n'
        f'base_url = "{url}/v1"\n'
        'env_key = "SCRIPTED_KEY"\n'
        'wire_api = "responses"\n'
    )
    return {"CODEX_HOME": str(folder), "SCRIPTED_KEY": KEY}


def _gemini(url: str, home: Path) -> dict[str, str]:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }
    _write_json(home / ".gemini/settings.json", settings)
    return {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": url}


def _opencode(url: str, home: Path) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Scripted",
        "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
        "models": {MODEL: {"name": MODEL}, SIDE_MODEL: {"name": SIDE_MODEL}},
    }
    settings = {
        "model": f"scripted/{MODEL}",
        "small_model": f"scripted/{SIDE_MODEL}",
        "autoupdate": False,
        "share": "disabled",
        "provider": {"scripted": provider},
    }
    _write_json(home / ".config/opencode/opencode.json", settings)
    return {"OPENCODE_DISABLE_MODELS_FETCH": "1"}


def _write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


_OWN: dict[str, Callable[[str, Path], dict[str, str]]] = {
    "claude-code": _claude_code,
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
}
