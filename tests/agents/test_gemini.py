"""The real Gemini CLI: the suite of all backends, and what only the real program can show."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.scripted import BUSY, DAEMON, scripts
from dispatch_runner.backends.gemini.backend import GeminiBackend
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.process import MARKER
from dispatch_runner.protocols import Backend, Question
from dispatch_runner.settings.backend_options import BackendOptions
from support.agent_suite import *  # noqa: F403 - the tests themselves
from support.agent_suite import Agent, agent_call, role_of
from support.model_server import ModelServer, text, tool

pytestmark = pytest.mark.anyio

Gemini = Callable[..., GeminiBackend]

MODEL = "gemini-2.5-pro"
LACKS = {
    "garbage": "the real program prints nothing that is not of its protocol",
    "crash": "the real program does not crash when it is told to",
    "deaf": "the real program hears its signals",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "turns": {"max_turns": 2},
    "working": {"access": "execute"},
    "orphan": {"access": "execute"},
}


def runs(command: str) -> Any:
    return tool("run_shell_command", {"command": command, "description": "x"})


SCRIPTS = scripts(
    tool("list_directory", {"dir_path": "."}), runs("touch x"), runs(BUSY), runs(DAEMON)
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gemini(
    program: Callable[[str], Path],
    environment: Callable[[str, ModelServer | str], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> Gemini:
    """The backend, for a model's URL."""

    def make(url: str, **options: Any) -> GeminiBackend:
        for name, value in environment("gemini", url).items():
            monkeypatch.setenv(name, value)
        given = {"model": MODEL, **options}
        return GeminiBackend(BackendOptions("asking", command=(str(program("gemini")),), **given))

    return make


@pytest.fixture
def agent(tmp_path: Path, gemini: Gemini, server: Callable[..., ModelServer]) -> Agent:
    @asynccontextmanager
    async def build(scenario: str, folder: Path, **options: Any) -> AsyncIterator[Backend]:
        url = "http://127.0.0.1:9" if scenario == "unreachable" else server(SCRIPTS[scenario]).url
        yield gemini(url, **{**OPTIONS.get(scenario, {}), **options})

    return Agent(SimpleNamespace(build=build, LACKS=LACKS), tmp_path)


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_strangers_checkout_runs_nothing_until_the_user_trusts_it(
    trusted: bool, tmp_path: Path, gemini: Gemini, server: Callable[..., ModelServer]
) -> None:
    call = agent_call(tmp_path)
    mark = tmp_path / "ran"
    hook = {"hooks": [{"type": "command", "command": f"touch {mark}"}]}
    settings = {
        "mcpServers": {"evil": {"command": "touch", "args": [str(mark)]}},
        "hooks": {"SessionStart": [hook]},
    }
    if trusted:  # what a repository may bring without any settings
        (call.workspace / "GEMINI.md").write_text("a note")
    else:
        (call.workspace / ".gemini").mkdir()
        (call.workspace / ".gemini/settings.json").write_text(json.dumps(settings))
    backend = gemini(server(text("hello")).url)
    if trusted:
        assert (await backend.answer(role_of(), call)).output == {"text": "hello"}
    else:
        with pytest.raises(AgentError) as caught:
            await backend.answer(role_of(), call)
        assert caught.value.type is ErrorType.PERMISSION_DENIED
        assert "trust" in caught.value.message
    assert not mark.exists()


async def test_commands_of_the_agent_see_no_key_and_our_marker(
    tmp_path: Path, gemini: Gemini, server: Callable[..., ModelServer]
) -> None:
    model = server([runs("env"), text("done")])
    await gemini(model.url, access="execute").answer(role_of(), agent_call(tmp_path))
    seen = model.requests[-1].text
    assert MARKER in seen
    assert "GEMINI_API_KEY" not in seen


async def test_a_command_that_the_role_did_not_name_is_denied(
    tmp_path: Path, gemini: Gemini, server: Callable[..., ModelServer]
) -> None:
    call = agent_call(tmp_path)
    commands = [runs("git --version"), runs(f"touch {call.workspace}/ran")]
    backend = gemini(server([*commands, text("done")]).url)
    question = Question("x", access="execute", tools=("Read", "Bash(git *)"))
    with pytest.raises(AgentError) as caught:
        await backend.answer(role_of(question), call)
    assert caught.value.type is ErrorType.PERMISSION_DENIED
    assert len(caught.value.details["denied"]) == 1
    assert not (call.workspace / "ran").exists()


@pytest.mark.parametrize(("access", "changed"), [("read", False), ("edit", True)])
async def test_files_are_changed_in_the_allowed_folders_only(
    access: Any, changed: bool, tmp_path: Path, gemini: Gemini, server: Callable[..., ModelServer]
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    call = agent_call(tmp_path, roots=AllowedRoots((str(allowed),)))
    inside = call.workspace / "in.txt"
    also, outside = allowed / "also.txt", tmp_path / "out.txt"
    writes = [
        tool("write_file", {"file_path": str(path), "content": "x"})
        for path in (inside, also, outside)
    ]
    backend = gemini(server([*writes, text("done")]).url, access=access)
    with pytest.raises(AgentError) as caught:
        await backend.answer(role_of(), call)
    assert caught.value.type is ErrorType.PERMISSION_DENIED
    assert (inside.exists(), also.exists(), outside.exists()) == (changed, changed, False)


@pytest.mark.parametrize(
    "prompt",
    [
        "@/etc/hostname is what?",
        "see @notes.txt",
        "@dataclass(frozen=True)",
        "/help me",
        "/quit",
        "!ls",
    ],
)
async def test_a_prompt_reads_nothing_and_commands_nothing(
    prompt: str, tmp_path: Path, gemini: Gemini, server: Callable[..., ModelServer]
) -> None:
    model = server(text("hello"))
    call = agent_call(tmp_path)
    for name in ("notes.txt", "my_dataclass.py"):
        (call.workspace / name).write_text("not to be added")
    answer = await gemini(model.url).answer(role_of(Question(prompt)), call)
    assert answer.output == {"text": "hello"}
    assert json.dumps(prompt.replace("@", "\\@"))[1:-1] in model.requests[0].text
    assert "Content from" not in model.requests[0].text


async def test_the_users_own_home_is_left_alone(
    tmp_path: Path, home: Path, gemini: Gemini, server: Callable[..., ModelServer]
) -> None:
    backend = gemini(server(text("hello")).url)
    before = sorted(home.rglob("*"))
    await backend.answer(role_of(), agent_call(tmp_path))
    assert sorted(home.rglob("*")) == before
