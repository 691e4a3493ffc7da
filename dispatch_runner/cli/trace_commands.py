"""The commands `traces ...`, declared for Typer. What they do is in `traces.py`."""

from pathlib import Path
from typing import Annotated

import typer

from dispatch_runner.cli.options import CONTEXT, Invocation, TraceDirOnly

traces_app = typer.Typer(
    help="The records of earlier dispatches: list, show, prune.",
    rich_markup_mode=None,
    context_settings=CONTEXT,
)


@traces_app.command("list")
def list_traces(
    context: typer.Context,
    trace_dir: TraceDirOnly = "traces",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=0, help="The newest so many; 0: all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:  # fmt: skip
    """List dispatches, the newest first."""
    from dispatch_runner.cli.traces import list_dispatches

    invocation: Invocation = context.obj
    return list_dispatches(Path(trace_dir), limit, as_json, invocation.channel)


@traces_app.command("show")
def show_trace(
    context: typer.Context,
    dispatch: Annotated[str | None, typer.Argument(help="How its name, or its correlation id, begins. [default: the newest]", show_default=False)] = None,
    task: Annotated[str | None, typer.Argument(help="A task of it: its trace instead of the index.", show_default=False)] = None,
    trace_dir: TraceDirOnly = "traces",
) -> int:  # fmt: skip
    """Print the index of a dispatch, or the trace of one of its tasks.

    \b
    dispatch-runner traces show
    dispatch-runner traces show dispatch-20251006_120000 my-task | jq .error
    """
    from dispatch_runner.cli.traces import show_dispatch

    invocation: Invocation = context.obj
    return show_dispatch(Path(trace_dir), dispatch, task, invocation.channel)


@traces_app.command("prune")
def prune_traces(
    context: typer.Context,
    trace_dir: TraceDirOnly = "traces",
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", min=0, help="Keep the newest so many.", show_default=False)] = None,
    older_than: Annotated[str | None, typer.Option("--older-than", metavar="AGE", help="Remove what is older, such as 30d, 12h or 45m.", show_default=False)] = None,
    max_size: Annotated[str | None, typer.Option("--max-size", metavar="SIZE", help="Remove the oldest until this size is kept, such as 500M or 2G.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> int:  # fmt: skip
    """Remove the records of old dispatches. One that runs is never removed.

    \b
    dispatch-runner traces prune --keep 100
    dispatch-runner traces prune --older-than 30d --max-size 2G --dry-run
    """
    from dispatch_runner.cli.traces import prune_dispatches

    invocation: Invocation = context.obj
    return prune_dispatches(
        Path(trace_dir), keep, older_than, max_size, dry_run, invocation.channel
    )
