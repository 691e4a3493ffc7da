"""Checks against what the operator defined: agents, limits, allowed folders."""

from collections.abc import Mapping, Sequence

from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.preflight.entries import Entry
from dispatch_runner.preflight.problems import Problems, listed, quote
from dispatch_runner.protocols import Agent, Agents, InputProblem


def check_agents(
    entries: Sequence[Entry], agents: Agents, roots: AllowedRoots, problems: Problems
) -> None:
    """Adds unknown agents, agents that cannot run here (once each), and inputs that do not fit.

    What an agent says about a place that holds a reference is dropped: its value is not known yet.
    """
    known: dict[str, Agent | None] = {}
    for entry in entries:
        name = entry.fields.get("agent")
        if name is None:
            continue
        if name not in known:
            known[name] = agents.get(name)
            _check_available(entry, known[name], problems)
        agent = known[name]
        if agent is None:
            _report_unknown(entry, name, agents, problems)
            continue
        value = entry.fields.get("input_data")
        if value is None:
            continue
        found = agent.role.check_input(value, roots)
        if found:
            _report_input(entry, value, found, problems)


def check_costs(
    entries: Sequence[Entry], agents: Agents, limited: bool, problems: Problems
) -> None:
    """Adds tasks under a budget in USD whose agent's cost will not be known.

    Args:
        entries: the tasks.
        agents: the registry.
        limited: whether the whole dispatch has such a budget.
        problems: what is found.
    """
    told: set[str] = set()
    for entry in entries:
        name = entry.fields.get("agent")
        budgeted = limited or entry.fields.get("max_cost_usd") is not None
        agent = agents.get(name) if budgeted and isinstance(name, str) else None
        if agent is None or agent.name in told:
            continue
        for backend in (agent.backend, *agent.fallback):
            reason = backend.unknown_cost(agent.role)
            if reason is not None:
                told.add(agent.name)
                message = f"agent {quote(agent.name)} cannot run under max_cost_usd: {reason}"
                hint = "limit tokens or requests instead, or allow it with --allow-unknown-cost"
                place = ("tasks", entry.index, "agent")
                problems.add("unknown_cost", place, message, hint, entry.task_id)
                break


def check_checks(
    entries: Sequence[Entry],
    checks: Mapping[str, Sequence[str]],
    agents: Agents,
    problems: Problems,
) -> None:
    """Adds checks that the operator did not define, and those whose program is not here (once each):
    they would be missed only when the agent's work has been paid for.

    Args:
        entries: the tasks.
        checks: the command of each check.
        agents: the registry; an agent has checks of its own.
        problems: what is found.
    """
    told: set[str] = set()
    for entry in entries:
        for at, name in enumerate(entry.fields.get("checks") or ()):
            place = ("tasks", entry.index, "checks", at)
            if name in checks:
                _check_program(name, checks[name][0], place, told, entry, problems)
                continue
            known = f"checks are: {listed(sorted(checks))}" if checks else "no checks are defined"
            hint = problems.suggest(name, checks) or known
            message = f"there is no check {quote(name)}"
            problems.add("unknown_check", place, message, hint, entry.task_id)
        wanted = entry.fields.get("agent") if checks else None
        agent = agents.get(wanted) if isinstance(wanted, str) else None
        for name in agent.checks if agent else ():
            where = ("tasks", entry.index, "agent")
            _check_program(name, checks[name][0], where, told, entry, problems)


def _check_program(
    name: str,
    program: str,
    place: Sequence[str | int],
    told: set[str],
    entry: Entry,
    problems: Problems,
) -> None:
    """A path is not looked at: a task may make what is there."""
    if name in told:
        return
    told.add(name)
    from shutil import which  # only requests with checks pay for it

    if "/" not in program and which(program) is None:
        message = (
            f"check {quote(name)} cannot run here: program {quote(program)} was not found on PATH"
        )
        hint = f"install it, or correct the command of [checks.{name}]"
        problems.add("check_unavailable", place, message, hint, entry.task_id)


def check_limits(
    entries: Sequence[Entry], limits: Mapping[str, int | None], problems: Problems
) -> None:
    """Adds resources that the operator did not define, and amounts that can never be had."""
    for entry in entries:
        for name, amount in (entry.fields.get("resources") or {}).items():
            place = ("tasks", entry.index, "resources", name)
            if name not in limits:
                defined = f"limits are: {listed(sorted(limits))}" if limits else None
                hint = problems.suggest(name, limits) or defined or "no limits are defined"
                message = f"there is no limit {quote(name)}"
                problems.add("unknown_limit", place, message, hint, entry.task_id)
                continue
            capacity = limits[name]
            if capacity is not None and amount > capacity:
                message = f"{amount} units of {quote(name)} are asked for; there are {capacity}"
                hint = f"ask for {capacity} or less"
                problems.add("over_capacity", place, message, hint, entry.task_id)


def check_files(entries: Sequence[Entry], roots: AllowedRoots, problems: Problems) -> None:
    """Adds paths of `modifies_files` that are not absolute or outside the allowed folders."""
    for entry in entries:
        for at, path in enumerate(entry.fields.get("modifies_files") or ()):
            if problems.full:
                return
            found = roots.problem(path)
            if found is not None:
                code, message, hint = found
                place = ("tasks", entry.index, "modifies_files", at)
                problems.add(code, place, message, hint, entry.task_id)


def _check_available(entry: Entry, agent: Agent | None, problems: Problems) -> None:
    if agent is None:
        return
    reason = agent.backend.unavailable(agent.role)
    if reason is None or any(each.unavailable(agent.role) is None for each in agent.fallback):
        return
    message = f"agent {quote(agent.name)} cannot run here: {reason}"
    hint = "`dispatch-runner agents` shows which agents can"
    problems.add("agent_unavailable", ("tasks", entry.index, "agent"), message, hint, entry.task_id)


def _report_unknown(entry: Entry, name: str, agents: Agents, problems: Problems) -> None:
    if problems.full:
        problems.left_out += 1
        return
    names = agents.names()
    close = problems.suggest(name, names)
    hint = f"{close} " if close else ""
    message = f"there is no agent {quote(name)}"
    hint += f"agents are: {listed(names)}" if names else "no agents are defined"
    problems.add("unknown_agent", ("tasks", entry.index, "agent"), message, hint, entry.task_id)


def _report_input(
    entry: Entry, value: JsonObject, found: Sequence[InputProblem], problems: Problems
) -> None:
    open_places = {reference.location for reference in entry.references}
    for problem in found:
        location = problem.location
        if any(location[:length] in open_places for length in range(len(location) + 1)):
            continue
        place = ("tasks", entry.index, "input_data", *_existing(value, location))
        problems.add(problem.code, place, problem.message, problem.hint, entry.task_id)


def _existing(value: object, location: Sequence[str | int]) -> Sequence[str | int]:
    """The part of a location that is there: a missing field is reported at its object."""
    for length, key in enumerate(location):
        if not isinstance(value, (dict, list)):
            return location[:length]
        try:
            value = value[key]  # type: ignore[index]
        except (LookupError, TypeError):
            return location[:length]
    return location
