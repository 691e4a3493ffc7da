"""`mcp`: serves the quality tools on stdin and stdout until the client hangs up."""

from collections.abc import Sequence
from pathlib import Path

import anyio

from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.exits import Exit
from dispatch_runner.cli.signals import SignalName, Signals
from dispatch_runner.mcp.quality import QualityTools

STDIN = 0


def serve_tools(folders: Sequence[Path], channel: Channel, signals: Signals) -> int:
    """The exit code. Searches go over the working directory and these folders.

    Stdout carries the protocol and nothing else: what goes wrong is said on stderr.
    """
    try:
        from dispatch_runner.mcp.server import serve
    except ImportError as error:
        say(f"dispatch-runner: {error}; it is in the extra: pip install 'dispatch-runner[mcp]'")
        return Exit.REJECTED
    descriptor = channel.take()
    signals.hold()
    tools = QualityTools([Path.cwd(), *folders])
    heard: list[SignalName] = []

    async def run() -> None:
        async with anyio.create_task_group() as group:

            def stop(name: SignalName) -> None:
                heard.append(name)
                group.cancel_scope.cancel()

            group.start_soon(signals.listen, stop)
            await serve(tools, STDIN, descriptor, _complain)
            group.cancel_scope.cancel()

    anyio.run(run)
    return Exit[heard[0]] if heard else Exit.SUCCESS


def _complain(text: str) -> None:
    say(f"dispatch-runner mcp: {text}")
