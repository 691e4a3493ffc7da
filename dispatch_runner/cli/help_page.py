"""The page of `--help`, rendered from the commands: `python -m dispatch_runner.cli.help_page` writes it.

It is kept as a file because rendering it at each call takes five times as long as printing it.
"""

from pathlib import Path

PAGE = Path(__file__).with_name("help.txt")


def render() -> str:
    """The page as the commands define it now."""
    from typer.main import get_command

    from dispatch_runner.cli.app import app

    command = get_command(app)
    with command.make_context("dispatch-runner", [], resilient_parsing=True) as context:
        return command.get_help(context).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
