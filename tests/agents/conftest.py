"""The test bed for real agent programs: `make test-agents` runs this folder in a sealed namespace.

Elsewhere nothing of it is collected.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents import environments
from agents.install import NotInstalled, cache, installed, required
from agents.jail import JAILED, sealed
from support.model_server import ModelServer
from support.processes import carrying, kill, outlive

pytest.register_assert_rewrite("support.agent_suite")

os.environ["TEST_AGENTS_CACHE"] = str(cache())
"""Found now: later on tests have a home of their own."""

SECONDS_TO_END = 5.0

PART = os.environ.get("TEST_AGENTS_PART", "1/1")
"""Which part of a file's tests is run, and of how many: `run.py` shares a long file out."""

if JAILED not in os.environ:
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    number, of = map(int, PART.split("/"))
    items[:] = items[number - 1 :: of]


@pytest.fixture(scope="session", autouse=True)
def jail() -> None:
    """No test of this folder runs where it could reach anything but this machine."""
    assert sealed(), "these tests run in a network namespace of their own: `make test-agents`"


@pytest.fixture
def server() -> Iterator[Callable[..., ModelServer]]:
    """Starts scripted model servers that end with the test: `server([text("done")])`."""
    with ExitStack() as running:
        yield lambda *given, **named: running.enter_context(ModelServer(*given, **named))


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, server: Callable[..., ModelServer]) -> Iterator[None]:
    """Whatever a test started has ended when it ends: what has not is killed, and fails the test.

    Looks before the servers end, which would end many a program that waits for an answer.
    """
    yield
    left = carrying(str(tmp_path))
    alive = outlive(left, SECONDS_TO_END)
    kill(alive)
    assert not alive, f"left running: {[left[pid] for pid in alive]}"


@pytest.fixture
def program() -> Callable[[str], Path]:
    """The executable of a program, by the name of its backend; skips the test when it is not there."""

    def find(name: str) -> Path:
        try:
            return installed(name)
        except NotInstalled as reason:
            if required():
                raise
            pytest.skip(str(reason))

    return find


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A private HOME."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(
    home: Path, program: Callable[[str], Path]
) -> Callable[[str, ModelServer | str], dict[str, str]]:
    """The whole environment of a program whose model is that server, or that URL of a session.

    `environment("codex", server)`; its settings are in the private HOME, its keys are dummies.
    """

    def make(name: str, server: ModelServer | str) -> dict[str, str]:
        program(name)
        url = server.url if isinstance(server, ModelServer) else server
        return environments.environment(name, url, home)

    return make
