"""The commands `workspaces ...`, declared for Typer. What they do is in `workspaces.py`."""

from typing import Annotated

import typer

from dispatch_runner.cli.options import CONTEXT, Invocation

workspaces_app = typer.Typer(
    help="What tasks have left in git worktrees and branches of this repository: list, clean.",
    rich_markup_mode=None,
    context_settings=CONTEXT,
)


@workspaces_app.command("list")
def list_workspaces(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """List worktrees and branches that dispatches have left in this repository."""
    from dispatch_runner.cli.workspaces import show_leftovers

    invocation: Invocation = context.obj
    return show_leftovers(as_json, invocation.channel)


@workspaces_app.command("clean")
def clean_workspaces(
    context: typer.Context,
    dispatch: Annotated[str | None, typer.Argument(help="How its name begins, or its last eight characters. [default: all]", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Also remove work that is not merged. It is lost.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> int:  # fmt: skip
    """Remove worktrees and branches whose work is merged, or that have none.

    What is not committed is committed to its branch first. Nothing of a dispatch that runs is touched.

    \b
    dispatch-runner workspaces clean --dry-run
    git merge dispatch-runner/dispatch-20251006_120000-1f0c9a52-merged && dispatch-runner workspaces clean
    """
    from dispatch_runner.cli.workspaces import clean_leftovers

    invocation: Invocation = context.obj
    return clean_leftovers(dispatch, force, dry_run, invocation.channel)
