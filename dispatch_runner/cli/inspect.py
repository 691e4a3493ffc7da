"""The commands that look and do not run: validate, graph, schema, agents, trust."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch_runner.agents.registry import REPAIR_ROUNDS, STALL_SECONDS
from dispatch_runner.cli.answers import (
    answer_settings,
    answer_unwritable,
    answer_usage,
    print_document,
)
from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.run import RunOptions, prepared_or_answer, working_directory
from dispatch_runner.cli.table import table
from dispatch_runner.dispatching.prepare import Operator, Prepared
from dispatch_runner.errors import RecordError, SettingsError
from dispatch_runner.models import Config, JsonObject
from dispatch_runner.report.wording import one_line
from dispatch_runner.settings import Flags, effective

if TYPE_CHECKING:
    from dispatch_runner.agents.registry import AgentInfo
    from dispatch_runner.report.graph import GraphFormat, GraphNode

DESCRIPTION_LENGTH = 80
"""Characters of what an agent is for, in the table."""


def validate_request(options: RunOptions, channel: Channel) -> int:
    """Prints the plan of a valid request, or everything that is wrong with it."""
    prepared = prepared_or_answer(options, channel)
    if isinstance(prepared, int):
        return prepared
    from dispatch_runner.dispatching.plan import plan_of
    from dispatch_runner.report.plan import plan_json

    document: JsonObject = {
        "status": "valid",
        "plan": plan_json(plan_of(prepared)),
        "config": prepared.config.as_json(),
        "warnings": prepared.warnings,
    }
    print_document(channel, document)
    return 0


def draw_graph(options: RunOptions, form: "GraphFormat", channel: Channel) -> int:
    """Prints the graph of a valid request."""
    prepared = prepared_or_answer(options, channel)
    if isinstance(prepared, int):
        return prepared
    from dispatch_runner.report.graph import render

    channel.write((render(form, _nodes(prepared)).rstrip("\n") + "\n").encode())
    return 0


def print_schema(name: str | None, folder: Path | None, channel: Channel) -> int:
    """Prints one schema, or the names of all; or writes all of them."""
    from dispatch_runner.dispatching.schemas import all_schemas, render, write_all

    if folder is not None:
        try:
            write_all(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            failure = RecordError("write schemas into", folder, reason)
            return answer_unwritable(channel, failure, "name another folder with --write")
        return 0
    schemas = all_schemas()
    if name is None:
        channel.write("".join(f"{known}\n" for known in schemas).encode())
        return 0
    if name not in schemas:
        hint = f"there are: {', '.join(schemas)}"
        return answer_usage(channel, f"there is no schema '{name}'", hint)
    channel.write(render(schemas[name]))
    return 0


def show_agents(flags: Flags, as_json: bool, channel: Channel) -> int:
    """Prints what there is, which backend answers, and whether it can run here; and the settings in
    force, with where each comes from."""
    try:
        operator = Operator.of(flags, os.environ, working_directory())
    except SettingsError as error:
        return answer_settings(channel, error)
    agents = operator.registry.describe()
    if as_json:
        document: JsonObject = {
            "agents": [asdict(agent) for agent in agents],
            "settings": {
                name: {"value": value, "origin": origin}
                for name, value, origin in _in_force(operator)
            },
            "notes": _notes(operator),
        }
        print_document(channel, document)
        return 0
    rows = [["AGENT", "ROLE", "BACKEND", "HERE", "DEFINED IN", "REMARK"]]
    for agent in agents:
        here = "yes" if agent.available else "NO"
        remark = agent.reason or _remark(agent)
        rows.append(
            [agent.name, agent.role or "?", agent.backend or "?", here, agent.origin, remark]
        )
    settings = [["SETTING", "VALUE", "FROM"]]
    settings += [[name, _shown(value), origin] for name, value, origin in _in_force(operator)]
    channel.write(f"{table(rows)}\n{table(settings)}".encode())
    for note in _notes(operator):
        say(f"note: {note}")
    return 0


def trust_file(file: Path, channel: Channel) -> int:
    """Records that the file may start programs, as it is now."""
    from dispatch_runner.settings import trust

    try:
        trust(file, os.environ)
    except SettingsError as error:
        return answer_settings(channel, error)
    except RecordError as error:
        hint = "set XDG_STATE_HOME to a folder that can be written, or use --config"
        return answer_unwritable(channel, error, hint)
    channel.write(f"trusted as it is now: {file.resolve()}\n".encode())
    return 0


def _in_force(operator: Operator) -> Iterator[tuple[str, object, str]]:
    """Name, value and origin of each setting of a request that asks for nothing itself."""
    settings = operator.settings
    values: JsonObject = {
        **effective(settings, Config()).as_json(),
        "backend": settings.backend,
        "durability": settings.durability,
        "stall_seconds": settings.stall_seconds or STALL_SECONDS,
        "repair_rounds": REPAIR_ROUNDS
        if settings.repair_rounds is None
        else settings.repair_rounds,
        "wait_for_reset": settings.wait_for_reset,
        "allow_unknown_cost": settings.allow_unknown_cost,
        "allow_paths": list(settings.allow_paths),
        "cache_folder": settings.cache_folder,
        "cache_max_mb": settings.cache_max_mb,
        "workspace": settings.workspace,
        "merge": settings.merge,
        "carry_changes": settings.carry_changes,
    }
    return ((name, value, settings.origin(name)) for name, value in values.items())


def _shown(value: object) -> str:
    if value is None or value == []:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _notes(operator: Operator) -> list[str]:
    return [*operator.settings.notes, *operator.registry.warnings]


def _remark(agent: "AgentInfo") -> str:
    parts = (
        f"model {agent.model}" if agent.model else "",
        f"at most {agent.max_concurrency} at once" if agent.max_concurrency else "",
        one_line(agent.description, DESCRIPTION_LENGTH),
    )
    return "; ".join(filter(None, parts))


def _nodes(prepared: Prepared) -> "list[GraphNode]":
    from dispatch_runner.report.graph import GraphNode

    return [
        GraphNode(t.task_id, t.agent, t.dependencies, t.description, t.estimated_seconds)
        for t in prepared.request.tasks
    ]
