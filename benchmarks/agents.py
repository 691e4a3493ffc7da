"""What an agent's call costs beside the agent: our own CPU time, and fifty agents that stream at once."""

import resource
import sys
import time
from pathlib import Path

import anyio
import orjson

from benchmarks.whole import fresh_folder
from dispatch_runner import dispatch
from dispatch_runner.settings import Flags

CALLS = 50
STREAMED_BYTES = 1_000_000
LOOK_SECONDS = 0.001

STAND_IN = """
import json, sys, time
def tell(**event): sys.stdout.write(json.dumps(event) + "\\n"); sys.stdout.flush()
if "--version" in sys.argv: print("0.0.0 (Claude Code)"); sys.exit()
sys.stdin.read()
tell(type="system", subtype="init", session_id="s", model="m", tools=[], permissionMode="dontAsk")
for number in range(int({bytes} / 1_000) or 1):
    content = [dict(type="text", text="x" * 900)]
    message = dict(id=str(number), role="assistant", content=content, usage=dict(input_tokens=1, output_tokens=1))
    tell(type="assistant", message=message, session_id="s")
    time.sleep(0.01)  # as a model that writes, not as a program that burns a core
usage = {{"m": dict(inputTokens=1, outputTokens=1, cacheReadInputTokens=0, costUSD=0.1)}}
tell(type="result", subtype="success", is_error=False, result="done", session_id="s", num_turns=1,
     total_cost_usd=0.1, modelUsage=usage, usage=dict(input_tokens=1, output_tokens=1),
     permission_denials=[], terminal_reason="completed")
"""

AGENT = "---\nname: writer\ndescription: writes\ntools: Read\n---\nYou write.\n"


def prepared(folder: Path, streamed: int) -> Flags:
    """A generic agent on Claude Code, for which a small program stands in."""
    folder.mkdir()
    program = folder / "claude.py"
    program.write_text(STAND_IN.format(bytes=streamed))
    agents = folder / "agents"
    agents.mkdir()
    agents.joinpath("writer.md").write_text(AGENT)
    config = folder / "agents.toml"
    command = orjson.dumps([sys.executable, "-I", "-S", str(program)]).decode()
    config.write_text(f'[agents.writer]\nbackend = "claude-code"\ncommand = {command}\n')
    return Flags(
        config=config,
        agent_folder=(str(agents),),
        trace_dir=folder / "traces",
        durability="process",
        max_workers=CALLS,
    )


async def run(flags: Flags, workers: int) -> tuple[float, float]:
    """Runs all calls; gives our CPU seconds, and the most CPU seconds that the event loop took without
    giving others a turn: what a loaded machine adds to that is not ours."""
    latest = 0.0

    async def look() -> None:
        nonlocal latest
        while True:
            before = time.thread_time()
            await anyio.sleep(LOOK_SECONDS)
            latest = max(latest, time.thread_time() - before)

    tasks = [
        {"task_id": f"t{n}", "agent": "writer", "input_data": {"prompt": "write"}}
        for n in range(CALLS)
    ]
    async with anyio.create_task_group() as group:
        group.start_soon(look)
        await anyio.sleep(0.05)
        latest, before = 0.0, time.process_time()
        result = await dispatch({"tasks": tasks, "config": {"max_workers": workers}}, flags=flags)
        spent = time.process_time() - before
        group.cancel_scope.cancel()
    assert result.status == "success", result.results[0].error
    return spent, latest


def main() -> None:
    """Prints CPU milliseconds per call, the highest memory, and the longest stall of the event loop."""
    folder = fresh_folder()
    anyio.run(run, prepared(folder / "warm", 0), 2)
    spent, _ = anyio.run(run, prepared(folder / "short", 0), 2)
    print(f"{CALLS} short calls, 2 at once: {spent / CALLS * 1000:.1f} ms of our CPU each")
    spent, latest = anyio.run(run, prepared(folder / "streams", STREAMED_BYTES), CALLS)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{CALLS} agents at once that stream {STREAMED_BYTES / 1e6:g} MB each:"
        f" {memory:.0f} MiB at most, event loop held for at most {latest * 1000:.0f} ms,"
        f" {spent / CALLS * 1000:.0f} ms of our CPU each"
    )


if __name__ == "__main__":
    main()
