"""The commands `cache ...`, declared for Typer. What they do is in `cache.py`."""

from typing import Annotated

import typer

from dispatch_runner.cli.options import CONTEXT, ConfigFile, Invocation

cache_app = typer.Typer(
    help="Results that are kept to be used again: info, prune, clear.",
    rich_markup_mode=None,
    context_settings=CONTEXT,
)


@cache_app.command("info")
def cache_info(context: typer.Context, config: ConfigFile = None) -> int:
    """Show where the cache is and what it holds."""
    from dispatch_runner.cli.cache import show_cache

    invocation: Invocation = context.obj
    return show_cache(config, invocation.channel)


@cache_app.command("prune")
def prune_cache(
    context: typer.Context,
    older_than: Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="Remove what was not used for so long, such as 30d, 12h or 45m.", show_default=False)] = None,
    max_size: Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Remove what was used least lately until this size is kept, such as 500M or 2G.", show_default=False)] = None,
    config: ConfigFile = None,
) -> int:  # fmt: skip
    """Remove results that were not used lately.

    \b
    dispatch-runner cache prune --older-than 30d --max-size 500M
    """
    from dispatch_runner.cli.cache import prune

    invocation: Invocation = context.obj
    return prune(config, older_than, max_size, invocation.channel)


@cache_app.command("clear")
def clear_cache(context: typer.Context, config: ConfigFile = None) -> int:
    """Remove everything that the cache holds."""
    from dispatch_runner.cli.cache import clear

    invocation: Invocation = context.obj
    return clear(config, invocation.channel)
