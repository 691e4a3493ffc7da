"""Entry point: answers what needs no machinery at once, and hands the rest to the command line."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from dispatch_runner.cli.channel import print_text


def main() -> None:
    """Runs the command line with the arguments of this process and exits."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["version"]):
        from dispatch_runner import __version__

        sys.exit(print_text(f"dispatch-runner {__version__}\n"))
    if arguments in (["--help"], ["-h"], ["help"]):
        from pathlib import Path

        # rendered from the commands' own definitions by `make schemas`, and tested against them:
        # building the commands to print this page would take five times as long
        page = Path(__file__).with_name("cli").joinpath("help.txt")
        sys.exit(print_text(page.read_text("utf-8")))
    from dispatch_runner.cli.main import run

    _leave(run(arguments))


def _leave(code: int) -> NoReturn:
    """Exits at once: all is written and closed, and taking the interpreter apart would cost a sixth of
    a short run. Not while coverage is measured, which is written by an exit handler."""
    if "coverage" in sys.modules:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
