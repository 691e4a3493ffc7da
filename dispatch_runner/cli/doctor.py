"""`doctor`: which backends can run here, and why not."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import anyio

from dispatch_runner.cli.answers import answer_settings, print_document
from dispatch_runner.cli.channel import Channel
from dispatch_runner.cli.exits import Exit
from dispatch_runner.cli.run import working_directory
from dispatch_runner.cli.table import table
from dispatch_runner.dispatching.prepare import Operator
from dispatch_runner.errors import SettingsError
from dispatch_runner.settings import Flags

if TYPE_CHECKING:
    from dispatch_runner.dispatching.doctor import BackendReport, Report


def examine_machine(flags: Flags, as_json: bool, channel: Channel) -> int:
    """Prints what was found. Exit code 1 when something that the operator asked for cannot run."""
    try:
        operator = Operator.of(flags, os.environ, working_directory())
    except SettingsError as error:
        return answer_settings(channel, error)
    from dispatch_runner.dispatching.doctor import examine

    report = anyio.run(examine, operator)
    if as_json:
        print_document(channel, {"healthy": report.healthy, **asdict(report)})
    else:
        channel.write("".join(_lines(report)).encode())
    return Exit.SUCCESS if report.healthy else Exit.NOT_ALL


def _lines(report: "Report") -> Iterator[str]:
    rows = [["BACKEND", "HERE", "VERSION", "PROVIDER", "REMARK"]]
    for each in report.backends:
        here = "yes" if each.available else "NO"
        rows.append([each.name, here, each.version or "", each.provider or "", _remark(each)])
    yield table(rows)
    machine = report.machine
    records = machine["records"]
    facts = [
        ["dispatch-runner", report.version],
        ["python", f"{machine['python']} on {machine['platform']}"],
        ["git", machine["git"] or "NOT FOUND: no worktrees"],
        ["records", records["folder"] + ("" if records["writable"] else ": CANNOT BE WRITTEN")],
        ["free space", f"{records['free_bytes'] / 1e9:.1f} GB"],
        ["open files left", str(machine["open_files_left"])],
        ["daemons of agents", "are found" if machine["finds_daemons"] else "are NOT found here"],
        ["settings file", machine["settings_file"] or "none"],
    ]
    yield "\n" + table([["MACHINE", ""], *facts])
    if report.unavailable_agents:
        agents = [
            [each.name, each.backend, each.reason or ""] for each in report.unavailable_agents
        ]
        yield "\n" + table([["AGENT THAT CANNOT RUN", "BACKEND", "WHY"], *agents])
    for note in report.notes:
        yield f"note: {note}\n"


def _remark(report: "BackendReport") -> str:
    if report.reason is not None:
        return report.reason
    parts = [f"for [agents.{report.agent}]"] if report.agent else []
    if report.keys:
        parts.append(f"sees {', '.join(report.keys)}")
    elif report.program is not None:
        parts.append("sees no key: it needs a login of its own")
    if report.cost is not None:
        parts.append(f"cost unknown: {report.cost}")
    return "; ".join(parts)
