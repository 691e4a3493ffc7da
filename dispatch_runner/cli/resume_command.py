"""The command `resume`, declared for Typer. What it does is in `resume.py`."""

from pathlib import Path
from typing import Annotated

import typer

from dispatch_runner.cli.options import (
    AgentFolder,
    AllowPath,
    AllowUnknownCost,
    AnyTraceDir,
    Backend,
    ConfigFile,
    DispatchTimeout,
    Durability,
    ExitZero,
    Explain,
    FailFast,
    Invocation,
    MaxCost,
    MaxRequests,
    MaxTokens,
    MaxWorkers,
    McpConfig,
    Merge,
    NoCache,
    ProgressOption,
    Refresh,
    RepairRounds,
    Retries,
    ShownOption,
    Stall,
    Stdout,
    Timeout,
    WaitForReset,
    WorkspaceChoice,
)
from dispatch_runner.settings import Flags


def resume(
    context: typer.Context,
    dispatch: Annotated[str | None, typer.Argument(help="Which one, as for `status`. [default: the newest that was killed or interrupted]", show_default=False)] = None,
    file: Annotated[Path | None, typer.Argument(help="The request, given again; '-': on stdin. Needed only if it held secrets, which are not kept.", show_default=False)] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Also run tasks again that failed or ran out of time.")] = False,
    accept_changes: Annotated[bool, typer.Option("--accept-changes", help="Take a request or settings that were changed: tasks of the same content keep their results.")] = False,
    max_workers: MaxWorkers = None,
    timeout: Timeout = None,
    dispatch_timeout: DispatchTimeout = None,
    retries: Retries = None,
    fail_fast: FailFast = None,
    trace_dir: AnyTraceDir = None,
    allow_path: AllowPath = None,
    config: ConfigFile = None,
    backend: Backend = None,
    agents: AgentFolder = None,
    max_cost_usd: MaxCost = None,
    max_tokens: MaxTokens = None,
    max_requests: MaxRequests = None,
    allow_unknown_cost: AllowUnknownCost = None,
    wait_for_reset: WaitForReset = None,
    stall: Stall = None,
    repair_rounds: RepairRounds = None,
    durability: Durability = None,
    no_cache: NoCache = None,
    refresh: Refresh = None,
    explain: Explain = None,
    workspace: WorkspaceChoice = None,
    merge: Merge = None,
    mcp_config: McpConfig = None,
    stdout: Stdout = ShownOption.full,
    exit_zero: ExitZero = False,
    progress: Annotated[ProgressOption, typer.Option("--progress", help="On stderr, as of `run`.")] = ProgressOption.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress: --progress none.")] = False,
    events: Annotated[Path | None, typer.Option("--events", metavar="FILE", help="Also write every event to this file, one JSON object a line.", show_default=False)] = None,
) -> int:  # fmt: skip
    """Go on with a dispatch that was killed or interrupted, in its own records.

    What has finished keeps its result and is not run again; failures, too, without --retry-failed. What
    was running is run again. Limits are those of before, but for those that a flag changes. Prints the
    whole result and exits as `run`; 2 when it cannot be resumed.

    \b
    dispatch-runner resume
    dispatch-runner resume 1f0c9a52 --retry-failed --max-workers 8
    dispatch-runner resume 1f0c9a52 tasks.json --accept-changes
    """
    from dispatch_runner.cli.control import Wanted
    from dispatch_runner.cli.resume import resume_dispatch
    from dispatch_runner.cli.run import RunOptions
    from dispatch_runner.dispatching.resume import Wish

    flags = Flags(
        config=config,
        max_workers=max_workers,
        timeout_seconds=timeout,
        dispatch_timeout_seconds=dispatch_timeout,
        retries=retries,
        fail_fast=fail_fast,
        allow_path=tuple(allow_path or ()),
        backend=backend,
        agent_folder=tuple(agents or ()),
        max_cost_usd=max_cost_usd,
        max_tokens=max_tokens,
        max_requests=max_requests,
        allow_unknown_cost=allow_unknown_cost,
        wait_for_reset=wait_for_reset,
        stall_seconds=stall,
        repair_rounds=repair_rounds,
        durability=durability.value if durability else None,
        no_cache=no_cache,
        refresh=refresh,
        explain=explain,
        workspace=workspace.value if workspace else None,
        merge=merge.value if merge else None,
        mcp_config=mcp_config,
    )
    options = RunOptions(
        file, flags, stdout.value, exit_zero, "none" if quiet else progress.value, events
    )
    wish = Wish(flags, retry_failed, accept_changes)
    invocation: Invocation = context.obj
    return resume_dispatch(
        Wanted(dispatch, trace_dir), wish, options, invocation.channel, invocation.signals
    )
