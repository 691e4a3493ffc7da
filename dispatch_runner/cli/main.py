"""Runs the command line: guards stdout and signals, and answers whatever happens with one document."""

import gc
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatch_runner.cli.channel import Channel, StdoutError, say
from dispatch_runner.cli.commands import COMMANDS
from dispatch_runner.cli.signals import Interrupted, Signals

if TYPE_CHECKING:
    from dispatch_runner.cli.run import RunOptions

_OF_THE_APP = frozenset({"--help", "-h", "--install-completion", "--show-completion"})


def run(arguments: Sequence[str]) -> int:
    """The exit code. Prints exactly one document on stdout for `run` and `validate`."""
    if _asked_by_a_person(arguments):
        from dispatch_runner.cli.app import explain_to_people

        return explain_to_people(with_command(arguments))
    channel = Channel.set_aside()
    signals = Signals()
    channel.gives_up, channel.begins = signals.pending, signals.hold
    # one collection in some ten thousand objects, not in some hundred: 5 % of a run
    gc.set_threshold(50_000, 20, 50)
    try:
        try:
            return _command_or_fault(arguments, channel, signals)
        except Interrupted as signal:
            from dispatch_runner.cli.answers import answer_interrupted

            return answer_interrupted(channel, signal.name)
    except StdoutError as error:
        say(f"dispatch-runner: {error}")
        return 3


def _command_or_fault(arguments: Sequence[str], channel: Channel, signals: Signals) -> int:
    """The exit code. A signal may interrupt it until a document is begun, also that of a fault."""
    try:
        signals.install()
        return _command(arguments, channel, signals)
    except (Interrupted, StdoutError):
        raise
    except BaseException as error:  # noqa: BLE001 - the last resort: still one document
        from dispatch_runner.cli.answers import answer_fault

        return answer_fault(channel, error)


def _command(arguments: Sequence[str], channel: Channel, signals: Signals) -> int:
    wanted = with_command(arguments)
    if wanted[0] in {"run", "start"}:
        from dispatch_runner.cli.quick import read

        options = read(wanted)
        if options is not None:
            return _run_or_start(wanted[0], options, channel, signals)
    from dispatch_runner.cli.app import invoke

    return invoke(wanted, channel, signals)


def _run_or_start(command: str, options: "RunOptions", channel: Channel, signals: Signals) -> int:
    if command == "start":
        from dispatch_runner.cli.start import start_request

        return start_request(options, channel, signals)
    from dispatch_runner.cli.run import run_request

    return run_request(options, channel, signals)


def _asked_by_a_person(arguments: Sequence[str]) -> bool:
    """Whether this is about help or shell completion, which print text on stdout."""
    return "_DISPATCH_RUNNER_COMPLETE" in os.environ or not _OF_THE_APP.isdisjoint(arguments)


def with_command(arguments: Sequence[str]) -> list[str]:
    """`run` is the command when none is named."""
    if arguments and arguments[0] in COMMANDS | _OF_THE_APP:
        return list(arguments)
    return ["run", *arguments]
