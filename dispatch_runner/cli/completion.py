"""Shell completion: prints or installs the script that asks us what may come next."""

from collections.abc import Sequence

from dispatch_runner.cli.answers import answer_unwritable, answer_usage
from dispatch_runner.cli.channel import Channel
from dispatch_runner.errors import RecordError

SHELLS = ("bash", "zsh", "fish")
SHOW, INSTALL = "--show-completion", "--install-completion"

_NAMES = {"prog_name": "dispatch-runner", "complete_var": "_DISPATCH_RUNNER_COMPLETE"}


def serve_completion(arguments: Sequence[str], channel: Channel) -> int:
    """Answers `--show-completion [SHELL]` and `--install-completion [SHELL]`."""
    from typer._completion_shared import get_completion_script, install

    flag, *named = arguments
    shell = named[0] if named else _shell_around_us()
    if shell not in SHELLS or len(named) > 1:
        hint = f"name it: dispatch-runner {flag} {'|'.join(SHELLS)}"
        return answer_usage(channel, f"there is no completion for the shell '{shell}'", hint)
    if flag == SHOW:
        script = get_completion_script(shell=shell, **_NAMES)
        channel.write(f"{script}\n".encode())
        return 0
    try:
        _, place = install(shell=shell, **_NAMES)
    except OSError as error:
        failure = RecordError("install into", error.filename, error.strerror or str(error))
        return answer_unwritable(channel, failure, f"use the script that {SHOW} {shell} prints")
    channel.write(f"{shell} completion installed in {place}; open a new shell\n".encode())
    return 0


def _shell_around_us() -> str:
    from typer._completion_shared import _get_shell_name

    return _get_shell_name() or "unknown"
