"""Two hundred tasks against a provider that asks for less: real client, real server, on loopback."""

from pathlib import Path

import anyio
import pytest

from dispatch_runner import dispatch
from dispatch_runner.models import Result, TaskStatus
from dispatch_runner.settings import Flags
from support.model_server import ModelServer, at_most, fails_for, quota_after, text

TASKS = 200
AGENT = "---\nname: writer\ndescription: writes\ntools: []\n---\nYou write.\n"


async def run(
    folder: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch, more: str = ""
) -> Result:
    """All tasks, thirty at once, by a model on the server."""
    pytest.importorskip("pydantic_ai")
    monkeypatch.setenv("SCRIPTED_KEY", "not-a-key")
    monkeypatch.chdir(folder)
    agents = folder / "agents"
    agents.mkdir()
    agents.joinpath("writer.md").write_text(AGENT)
    config = folder / "agents.toml"
    config.write_text(
        '[agents.writer]\nbackend = "llm"\nmodel = "openai:scripted"\n'
        f'base_url = "{server.url}/v1"\napi_key_env = "SCRIPTED_KEY"\n{more}'
    )
    tasks = [
        {"task_id": f"t{n}", "agent": "writer", "input_data": {"prompt": "write"}}
        for n in range(TASKS)
    ]
    flags = Flags(config=config, agent_folder=(str(agents),), max_workers=30, durability="process")
    with anyio.fail_after(55):
        return await dispatch({"tasks": tasks}, flags=flags)


@pytest.mark.slow
async def test_a_time_of_429_is_waited_out_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(fails_for(3.0, text("done"))) as server:
        result = await run(tmp_path, server, monkeypatch)
        requests = len(server.requests)
    assert result.status == "success", result.summary
    assert requests <= TASKS + 30 + 10, "one burst, then one call for each of the pauses"


@pytest.mark.slow
async def test_a_provider_that_takes_only_so_many_at_a_time_is_served_at_that_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(at_most(8, text("done"))) as server:
        result = await run(tmp_path, server, monkeypatch)
    assert result.status == "success", result.summary


async def test_a_quota_that_ends_after_twenty_stops_the_rest_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(quota_after(20, text("done"))) as server:
        result = await run(tmp_path, server, monkeypatch)
        requests = len(server.requests)
    statuses = [task.status for task in result.results]
    assert statuses.count(TaskStatus.SUCCESS) == 20
    assert requests <= 20 + 30
    assert statuses.count(TaskStatus.CANCELLED) >= TASKS - 50
    last = result.results[-1]
    assert last.error is not None
    assert last.error.message.startswith("not started: 'openai' takes no more calls: ")
    (warning,) = result.warnings
    assert warning.startswith("a provider takes no more calls; 'dispatch-runner resume dispatch-")


@pytest.fixture
def anyio_backend() -> str:
    """The client library runs on asyncio only."""
    return "asyncio"


pytestmark = pytest.mark.anyio
