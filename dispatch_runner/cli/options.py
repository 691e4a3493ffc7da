"""The flags that several commands share, declared for Typer; and what every command is given."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dispatch_runner.cli.channel import Channel
from dispatch_runner.cli.signals import Signals

CONTEXT = {"help_option_names": ["-h", "--help"], "terminal_width": 100, "max_content_width": 100}


@dataclass(frozen=True, slots=True)
class Invocation:
    """What every command is given: where its answer goes, and who hears of signals."""

    channel: Channel
    signals: Signals


class ShownOption(StrEnum):
    full = "full"
    summary = "summary"
    none = "none"


class ProgressOption(StrEnum):
    auto = "auto"
    board = "board"
    lines = "lines"
    json = "json"
    none = "none"


class DurabilityOption(StrEnum):
    power = "power"
    process = "process"


class WorkspaceOption(StrEnum):
    in_place = "in_place"
    scratch = "scratch"
    worktree = "worktree"


class MergeOption(StrEnum):
    none = "none"
    topological = "topological"


class GraphFormat(StrEnum):
    mermaid = "mermaid"
    dot = "dot"
    text = "text"
    json = "json"


File = Annotated[
    Path | None,
    typer.Argument(help="The request; stdin when it is left out or '-'.", show_default=False),
]
MaxWorkers = Annotated[
    int | None,
    typer.Option(
        "--max-workers",
        "-j",
        metavar="N",
        min=1,
        help="Tasks running at once. [default: 5]",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Seconds for one attempt of a task. [default: 300]",
        show_default=False,
    ),
]
DispatchTimeout = Annotated[
    float | None,
    typer.Option(
        "--dispatch-timeout",
        metavar="SECONDS",
        help="Seconds for the whole dispatch.",
        show_default=False,
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        "--retries",
        metavar="N",
        min=0,
        max=10,
        help="Further attempts after a transient failure. [default: 2]",
        show_default=False,
    ),
]
FailFast = Annotated[
    bool | None,
    typer.Option(
        "--fail-fast/--no-fail-fast", help="Stop at the first failure.", show_default=False
    ),
]
TraceDir = Annotated[
    str | None,
    typer.Option(
        "--trace-dir",
        metavar="FOLDER",
        help="Folder of the records. [default: ./traces]",
        show_default=False,
    ),
]
AllowPath = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-path",
        metavar="FOLDER",
        help="A further folder in which tasks may read and write; may be repeated.",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The operator's file, instead of ./dispatch.toml.",
        show_default=False,
    ),
]
McpConfig = Annotated[
    Path | None,
    typer.Option(
        "--mcp-config",
        metavar="FILE",
        help="MCP servers in the format of an .mcp.json, besides those of dispatch.toml.",
        show_default=False,
    ),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Who answers for the roles: offline, claude-code, codex, gemini, opencode, acp, llm. [default: offline]",
        show_default=False,
    ),
]
Durability = Annotated[
    DurabilityOption | None,
    typer.Option(
        "--durability",
        help="power: records survive a power cut; process: they survive the death of the process. [default: power]",
        show_default=False,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost-usd",
        metavar="USD",
        help="Most that all agents together may cost; hard.",
        show_default=False,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        min=1,
        help="Most tokens of input and output of all agents together; hard.",
        show_default=False,
    ),
]
MaxRequests = Annotated[
    int | None,
    typer.Option(
        "--max-requests",
        metavar="N",
        min=1,
        help="Most requests to models of all agents together; hard.",
        show_default=False,
    ),
]
AllowUnknownCost = Annotated[
    bool | None,
    typer.Option(
        "--allow-unknown-cost/--no-allow-unknown-cost",
        help="Under --max-cost-usd, also run agents whose cost will not be known; it counts as nothing.",
        show_default=False,
    ),
]
WaitForReset = Annotated[
    bool | None,
    typer.Option(
        "--wait-for-reset/--no-wait-for-reset",
        help="Wait for a used-up quota to come back, instead of cancelling what needs it.",
        show_default=False,
    ),
]
Stall = Annotated[
    float | None,
    typer.Option(
        "--stall",
        metavar="SECONDS",
        help="Seconds that a model's agent may be silent; five times as long while a tool runs. [default: 120]",
        show_default=False,
    ),
]
RepairRounds = Annotated[
    int | None,
    typer.Option(
        "--repair-rounds",
        metavar="N",
        min=0,
        max=10,
        help="How often a model's agent is told what failed and asked again. [default: 2]",
        show_default=False,
    ),
]
NoCache = Annotated[
    bool | None,
    typer.Option(
        "--no-cache", help="Neither look for results in the cache nor keep any.", show_default=False
    ),
]
Refresh = Annotated[
    bool | None,
    typer.Option(
        "--refresh",
        help="Run every task, and keep the results in the cache.",
        show_default=False,
    ),
]
Explain = Annotated[
    bool | None,
    typer.Option(
        "--explain",
        help="Tell in the progress why the cache has a task's result, or has none.",
        show_default=False,
    ),
]
WorkspaceChoice = Annotated[
    WorkspaceOption | None,
    typer.Option(
        "--workspace",
        help="Where tasks work that do not say, nor their agents: in this folder, in an empty one, or in a git worktree. [default: in_place]",
        show_default=False,
    ),
]
Merge = Annotated[
    MergeOption | None,
    typer.Option(
        "--merge",
        help="topological: what succeeded in worktrees is merged onto a branch of the dispatch. [default: none]",
        show_default=False,
    ),
]
CarryChanges = Annotated[
    bool | None,
    typer.Option(
        "--carry-changes/--no-carry-changes",
        help="Worktrees begin with the uncommitted changes of this folder's repository, too.",
        show_default=False,
    ),
]
AgentFolder = Annotated[
    list[str] | None,
    typer.Option(
        "--agents",
        metavar="FOLDER",
        help="A folder of Markdown agent files, such as .claude/agents; may be repeated.",
        show_default=False,
    ),
]
TraceDirOnly = Annotated[
    str, typer.Option("--trace-dir", metavar="FOLDER", help="Folder of the records.")
]
AnyTraceDir = Annotated[
    str | None,
    typer.Option(
        "--trace-dir",
        metavar="FOLDER",
        help="Folder of the records to look in first. [default: ./traces]",
        show_default=False,
    ),
]
Dispatch = Annotated[
    str | None,
    typer.Argument(
        help="How its name, or its correlation id, begins; its last eight characters; or a path of its records. [default: the newest]",
        show_default=False,
    ),
]
Stdout = Annotated[
    ShownOption,
    typer.Option(
        "--stdout",
        help="How much of the result is printed; the whole of it is always in result_file. summary: at most 8,000 bytes.",
    ),
]
ExitZero = Annotated[
    bool,
    typer.Option(
        "--exit-zero",
        help="Exit 0 also when tasks failed (not when rejected or interrupted).",
    ),
]
