"""The real Claude Code: the suite of all backends, and what only the real program can show."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dispatch_runner.backends.claude_code import ClaudeCodeBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Backend, Question
from dispatch_runner.settings.values import BackendOptions
from support.agent_suite import *  # noqa: F403 - the tests themselves
from support.agent_suite import Agent, agent_call, role_of
from support.model_server import (
    ModelServer,
    Request,
    Steps,
    Turn,
    empty,
    error,
    hang,
    overloaded,
    quota_exhausted,
    refusal,
    refused_key,
    structured,
    text,
    tool,
)

pytestmark = pytest.mark.anyio

DAEMON = "setsid sleep 1000 >/dev/null 2>&1 & echo started"
BUSY = "setsid sleep 1000 & sleep 1000 & wait"

LACKS = {
    "garbage": "the real program prints nothing that is not of its protocol",
    "crash": "the real program does not crash when it is told to",
    "deaf": "the real program hears its signals",
}


def answers_the_failure(request: Request) -> Turn:
    return text("right" if "wrong is wrong" in request.text else "wrong")


def repeats_the_question(request: Request) -> Turn:
    return text(request.text)


READ = tool("Read", {"file_path": "notes.txt"})
SCRIPTS: dict[str, Steps] = {
    "success": text("hello"),
    "echo": repeats_the_question,
    "tool": [READ, text("hello")],
    "structured": structured({"answer": 42}),
    "unstructured": text("forty-two"),
    "repair": answers_the_failure,
    "denied": [tool("Write", {"file_path": "/outside.txt", "content": "x"}), text("all done")],
    "empty": empty(),
    "refusal": refusal(),
    "turns": READ,
    "spending": READ,
    "400": error(400),
    "401": refused_key(),
    "403": error(403),
    "404": error(404),
    "429": error(429, retry_after=0.1),
    "500": error(500),
    "529": overloaded(),
    "quota": quota_exhausted(resets_in=3600),
    "unreachable": text("never"),
    "silence": hang(),
    "working": tool("Bash", {"command": BUSY, "description": "works"}),
    "orphan": [tool("Bash", {"command": DAEMON, "description": "starts"}), text("hello")],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "turns": {"max_turns": 2},
    "denied": {"access": "edit"},
    "working": {"access": "execute"},
    "orphan": {"access": "execute"},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def claude(
    program: Callable[[str], Path],
    environment: Callable[[str, ModelServer | str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., ClaudeCodeBackend]:
    """The backend, for a model's URL."""

    def make(url: str, **options: Any) -> ClaudeCodeBackend:
        for name, value in environment("claude-code", url).items():
            monkeypatch.setenv(name, value)
        command = (str(program("claude-code")),)
        return ClaudeCodeBackend(BackendOptions("asking", command=command, **options))

    return make


@pytest.fixture
def agent(
    tmp_path: Path,
    claude: Callable[..., ClaudeCodeBackend],
    server: Callable[..., ModelServer],
    monkeypatch: pytest.MonkeyPatch,
) -> Agent:
    @asynccontextmanager
    async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
        workspace = folder / "workspace"
        workspace.mkdir(exist_ok=True)
        (workspace / "notes.txt").write_text("notes\n")
        url = server(SCRIPTS[scenario]).url
        backend = claude(
            "http://127.0.0.1:9" if scenario == "unreachable" else url,
            **{**OPTIONS.get(scenario, {}), **options},
        )
        if scenario == "quota":  # only an account's token has one
            monkeypatch.delenv("ANTHROPIC_API_KEY")
            monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "dummy-token-of-a-test")
        yield backend

    return Agent(SimpleNamespace(build=build, LACKS=LACKS), tmp_path)
