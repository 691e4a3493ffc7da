"""The commands and their flags, declared for Typer. What they do is in the modules beside this one."""

import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from dispatch_runner.cli.answers import answer_usage
from dispatch_runner.cli.cache_commands import cache_app
from dispatch_runner.cli.channel import Channel, print_text
from dispatch_runner.cli.commands import COMMANDS
from dispatch_runner.cli.options import (
    CONTEXT,
    AgentFolder,
    AllowPath,
    AllowUnknownCost,
    AnyTraceDir,
    Backend,
    CarryChanges,
    ConfigFile,
    Dispatch,
    DispatchTimeout,
    Durability,
    ExitZero,
    Explain,
    FailFast,
    File,
    GraphFormat,
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
    TraceDir,
    WaitForReset,
    WorkspaceChoice,
)
from dispatch_runner.cli.resume_command import resume
from dispatch_runner.cli.run import RunOptions, run_request
from dispatch_runner.cli.signals import Signals
from dispatch_runner.cli.trace_commands import traces_app
from dispatch_runner.cli.workspace_commands import workspaces_app
from dispatch_runner.settings import Flags

app = typer.Typer(
    name="dispatch-runner",
    help="""Run a graph of agent tasks in parallel: task JSON on stdin, result JSON on stdout.

    \b
    dispatch-runner < tasks.json > result.json
    echo '{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}}]}' | dispatch-runner
    dispatch-runner validate tasks.json     check it and show the plan, run nothing
    dispatch-runner schema request          what a request may hold
    dispatch-runner agents                  who can do the work here
    dispatch-runner start < tasks.json      run it in the background; then wait, status, cancel, result
    dispatch-runner resume                  go on with what was killed or interrupted
    dispatch-runner --install-completion    shell completion; or with a name: bash, zsh, fish

    Without a command, `run` is meant; its flags are in `dispatch-runner run --help`. Progress goes to
    stderr.

    \b
    Exit codes:
      0  all tasks succeeded
      1  it ran, and not all tasks succeeded (0 with --exit-zero)
      2  rejected: nothing ran; the document on stdout says everything that is wrong
      3  our own fault: a record or the result could not be written, or a bug
      124  of wait, cancel, result: the dispatch still runs
      129, 130, 143  interrupted by SIGHUP, SIGINT, SIGTERM
    """,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
app.add_typer(traces_app, name="traces")
app.add_typer(cache_app, name="cache")
app.add_typer(workspaces_app, name="workspaces")


@app.command(
    "start",
    help="""Run the tasks of a request in the background, and print its id at once.

    The request is checked first, as by `run`: what is wrong is printed, exit 2. Then a process of its
    own runs it, with nothing of the caller's terminal or pipes. Its flags are those of `run`;
    --stdout and --exit-zero have no effect, and progress goes to a file in its run folder.

    \b
    dispatch-runner start < tasks.json | jq -r .dispatch
    dispatch-runner wait --timeout 110
    """,
)
@app.command()
def run(
    context: typer.Context,
    file: File = None,
    max_workers: MaxWorkers = None,
    timeout: Timeout = None,
    dispatch_timeout: DispatchTimeout = None,
    retries: Retries = None,
    fail_fast: FailFast = None,
    trace_dir: TraceDir = None,
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
    carry_changes: CarryChanges = None,
    mcp_config: McpConfig = None,
    stdout: Stdout = ShownOption.full,
    exit_zero: ExitZero = False,
    progress: Annotated[ProgressOption, typer.Option("--progress", help="On stderr. auto: a board on a terminal, lines elsewhere; json: one event a line.")] = ProgressOption.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress: --progress none.")] = False,
    events: Annotated[Path | None, typer.Option("--events", metavar="FILE", help="Also write every event to this file, one JSON object a line.", show_default=False)] = None,
) -> int:  # fmt: skip
    """Run the tasks of a request (the default command).

    \b
    dispatch-runner < tasks.json > result.json
    dispatch-runner run tasks.json --max-workers 8 --stdout summary
    dispatch-runner --quiet --exit-zero < tasks.json | jq .summary
    dispatch-runner --progress json < tasks.json 2> events.ndjson
    """
    flags = Flags(
        config=config,
        max_workers=max_workers,
        timeout_seconds=timeout,
        dispatch_timeout_seconds=dispatch_timeout,
        trace_dir=trace_dir,
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
        carry_changes=carry_changes,
        mcp_config=mcp_config,
    )
    invocation: Invocation = context.obj
    options = RunOptions(
        file, flags, stdout.value, exit_zero, "none" if quiet else progress.value, events
    )
    if context.command.name == "start":
        from dispatch_runner.cli.start import start_request

        return start_request(options, invocation.channel, invocation.signals)
    return run_request(options, invocation.channel, invocation.signals)


app.command("resume")(resume)


@app.command()
def validate(
    context: typer.Context,
    file: File = None,
    max_workers: MaxWorkers = None,
    trace_dir: TraceDir = None,
    allow_path: AllowPath = None,
    config: ConfigFile = None,
    backend: Backend = None,
    agents: AgentFolder = None,
    max_cost_usd: MaxCost = None,
    mcp_config: McpConfig = None,
) -> int:
    """Check a request without running it, and show the plan.

    The same checks as `run`: all problems at once, exit 2. A valid request gives its plan: layers,
    critical path, estimated times, the widest point, and what is missing on this machine.

    \b
    dispatch-runner validate tasks.json
    dispatch-runner validate < tasks.json | jq .plan.critical_path
    """
    from dispatch_runner.cli.inspect import validate_request

    flags = Flags(
        config=config,
        max_workers=max_workers,
        trace_dir=trace_dir,
        allow_path=tuple(allow_path or ()),
        backend=backend,
        agent_folder=tuple(agents or ()),
        max_cost_usd=max_cost_usd,
        mcp_config=mcp_config,
    )
    invocation: Invocation = context.obj
    return validate_request(RunOptions(file, flags), invocation.channel)


@app.command()
def graph(
    context: typer.Context,
    file: File = None,
    format: Annotated[GraphFormat, typer.Option("--format", "-f", help="How it is drawn.")] = GraphFormat.text,  # noqa: A002
    config: ConfigFile = None,
    allow_path: AllowPath = None,
    mcp_config: McpConfig = None,
) -> int:  # fmt: skip
    """Draw the graph of a request.

    \b
    dispatch-runner graph tasks.json
    dispatch-runner graph --format mermaid < tasks.json
    dispatch-runner graph --format dot < tasks.json | dot -Tsvg > tasks.svg
    """
    from dispatch_runner.cli.inspect import draw_graph

    flags = Flags(config=config, allow_path=tuple(allow_path or ()), mcp_config=mcp_config)
    invocation: Invocation = context.obj
    return draw_graph(RunOptions(file, flags), format.value, invocation.channel)


@app.command()
def schema(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Which one; all names when it is left out.", show_default=False)] = None,
    write: Annotated[Path | None, typer.Option("--write", metavar="FOLDER", help="Write all of them into this folder.", show_default=False)] = None,
) -> int:  # fmt: skip
    """Print a JSON Schema of the contract: request, result, trace, ...

    \b
    dispatch-runner schema
    dispatch-runner schema request > request.schema.json
    """
    from dispatch_runner.cli.inspect import print_schema

    invocation: Invocation = context.obj
    return print_schema(name, write, invocation.channel)


@app.command()
def agents(
    context: typer.Context,
    config: ConfigFile = None,
    backend: Backend = None,
    agents: AgentFolder = None,
    mcp_config: McpConfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Show the agents: backend, where it was defined, and whether it can run here."""
    from dispatch_runner.cli.inspect import show_agents

    invocation: Invocation = context.obj
    flags = Flags(
        config=config, backend=backend, agent_folder=tuple(agents or ()), mcp_config=mcp_config
    )
    return show_agents(flags, as_json, invocation.channel)


@app.command()
def doctor(
    context: typer.Context,
    config: ConfigFile = None,
    backend: Backend = None,
    agents: AgentFolder = None,
    mcp_config: McpConfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Say which backends and agents can run here, and why not.

    Starts each agent's program once for its version; nothing is asked of a model. Exit code 1 when an
    agent cannot run, or records cannot be written.
    """
    from dispatch_runner.cli.doctor import examine_machine

    invocation: Invocation = context.obj
    flags = Flags(
        config=config, backend=backend, agent_folder=tuple(agents or ()), mcp_config=mcp_config
    )
    return examine_machine(flags, as_json, invocation.channel)


@app.command()
def mcp(
    context: typer.Context,
    folders: Annotated[list[Path] | None, typer.Argument(help="Folders to search, besides this one.", show_default=False)] = None,
) -> int:  # fmt: skip
    """Serve the quality tools over stdin and stdout, as an MCP server.

    They measure code and search this folder, offline. Needs the package's extra `mcp`.
    """
    from dispatch_runner.cli.serve import serve_tools

    invocation: Invocation = context.obj
    return serve_tools(folders or [], invocation.channel, invocation.signals)


@app.command()
def trust(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="The file to trust. [default: ./dispatch.toml]", show_default=False)] = None,
) -> int:  # fmt: skip
    """Trust the dispatch.toml of this folder, as it is now: it may start programs.

    A file that changes afterwards asks again.
    """
    from dispatch_runner.cli.inspect import trust_file

    invocation: Invocation = context.obj
    return trust_file(file or Path("dispatch.toml"), invocation.channel)


@app.command()
def version(context: typer.Context) -> int:
    """Print the version."""
    from dispatch_runner import __version__

    invocation: Invocation = context.obj
    invocation.channel.write(f"dispatch-runner {__version__}\n".encode())
    return 0


@app.command()
def status(context: typer.Context, dispatch: Dispatch = None, trace_dir: AnyTraceDir = None) -> int:
    """Show how a dispatch stands: counts, what runs, what did not succeed.

    \b
    dispatch-runner status
    dispatch-runner status 1f0c9a52 | jq .tasks
    """
    from dispatch_runner.cli.control import Wanted, show_status

    invocation: Invocation = context.obj
    return show_status(Wanted(dispatch, trace_dir), invocation.channel)


@app.command()
def wait(
    context: typer.Context,
    dispatch: Dispatch = None,
    timeout: Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="Give up after so many seconds. [default: never]", show_default=False)] = None,
    exit_zero: ExitZero = False,
    trace_dir: AnyTraceDir = None,
) -> int:  # fmt: skip
    """Wait until a dispatch has ended, and show how it stands.

    Exits as `run` would have; 124 when it still runs after the timeout, 3 when its process died.

    \b
    dispatch-runner wait --timeout 110
    """
    from dispatch_runner.cli.control import Wanted, wait_for

    invocation: Invocation = context.obj
    return wait_for(Wanted(dispatch, trace_dir), timeout, exit_zero, invocation.channel)


@app.command()
def cancel(
    context: typer.Context,
    dispatch: Dispatch = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0, help="Give up waiting for its end after so many seconds.")] = 60.0,
    now: Annotated[bool, typer.Option("--now", help="Skip the grace times of programs.")] = False,
    trace_dir: AnyTraceDir = None,
) -> int:  # fmt: skip
    """End a dispatch: what runs is cancelled, everything is recorded. Waits for its end.

    Exits 0 once it has ended, also when it had ended before; 124 when it still runs.
    """
    from dispatch_runner.cli.control import Wanted, cancel_dispatch

    invocation: Invocation = context.obj
    return cancel_dispatch(Wanted(dispatch, trace_dir), timeout, now, invocation.channel)


@app.command()
def result(
    context: typer.Context,
    dispatch: Dispatch = None,
    stdout: Stdout = ShownOption.full,
    exit_zero: ExitZero = False,
    trace_dir: AnyTraceDir = None,
) -> int:
    """Print the result of a dispatch; of one that has not ended, what is known so far.

    Exits as `run` would have; 124 when it still runs, 3 when its process died.

    \b
    dispatch-runner result --stdout summary
    dispatch-runner result 1f0c9a52 | jq '.results[] | select(.status == "success") | .output'
    """
    from dispatch_runner.cli.control import Wanted, print_result

    invocation: Invocation = context.obj
    return print_result(Wanted(dispatch, trace_dir), stdout.value, exit_zero, invocation.channel)


def invoke(arguments: Sequence[str], channel: Channel, signals: Signals) -> int:
    """Runs the command that the arguments name. Wrong arguments are answered with a document."""
    command = typer.main.get_command(app)
    try:
        code: Any = command.main(
            list(arguments),
            prog_name="dispatch-runner",
            standalone_mode=False,
            obj=Invocation(channel, signals),
        )
    except TyperException as error:
        return answer_usage(channel, *_explained(error, arguments))
    return code if isinstance(code, int) else 0


def explain_to_people(arguments: Sequence[str]) -> int:
    """Prints a help page, or serves shell completion, on the ordinary stdout."""
    from dispatch_runner.cli.completion import INSTALL, SHOW, serve_completion

    if arguments and arguments[0] in {INSTALL, SHOW}:
        return serve_completion(arguments, Channel.set_aside())
    command = typer.main.get_command(app)
    if "_DISPATCH_RUNNER_COMPLETE" in os.environ:
        command.main(list(arguments), prog_name="dispatch-runner")  # exits
    try:
        with redirect_stdout(StringIO()) as page:
            command.main(list(arguments), prog_name="dispatch-runner", standalone_mode=False)
    except TyperException as error:
        return answer_usage(Channel.set_aside(), *_explained(error, arguments))
    return print_text(page.getvalue())


def _explained(error: TyperException, arguments: Sequence[str]) -> tuple[str, str]:
    """What is wrong with the arguments, and where to look."""
    late = next((word for word in arguments[1:] if word in COMMANDS), None)
    if late and "unexpected extra argument" in error.format_message():
        hint = f"a command comes first, before its flags: dispatch-runner {late} ..."
        return error.format_message(), hint
    context = getattr(error, "ctx", None)
    command = "dispatch-runner" if context is None else context.command_path
    return error.format_message(), f"see '{command} --help'"
