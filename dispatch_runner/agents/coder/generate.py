"""From a contract's text to the source of a node module: pure, the same for the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from dispatch_runner.agents.coder.contract import find_contract, read_contract
from dispatch_runner.agents.coder.plan import make_plan
from dispatch_runner.agents.coder.profiles import DEFAULT_PROFILE, PROFILES
from dispatch_runner.agents.coder.prose import read_prose
from dispatch_runner.agents.coder.spec import NodeType, OpenPoint, Reading
from dispatch_runner.agents.coder.write.compute import write_compute
from dispatch_runner.agents.coder.write.effect import write_effect
from dispatch_runner.agents.coder.write.orchestrator import write_orchestrator
from dispatch_runner.agents.coder.write.reducer import write_reducer

WRITERS = {
    "Effect": write_effect,
    "Compute": write_compute,
    "Reducer": write_reducer,
    "Orchestrator": write_orchestrator,
}


@dataclass(frozen=True, slots=True)
class Generated:
    """The source of a module, not yet formatted, and what is to be known about it."""

    source: str
    open_points: tuple[OpenPoint, ...]
    warnings: tuple[str, ...]


def generate(
    description: str,
    node_type: NodeType,
    output_path: str,
    *,
    context: Mapping[str, str] | None = None,
    node_name: str | None = None,
    profile: str = DEFAULT_PROFILE,
) -> Generated:
    """The module for a description; `context` holds the text of each context file by its path."""
    reading = read(description, node_type, context or {})
    plan = make_plan(reading, node_type, output_path, node_name, PROFILES[profile])
    module = WRITERS[node_type](plan)
    return Generated(
        module.source(), tuple(dict.fromkeys(module.open_points)), tuple(reading.warnings)
    )


def read(description: str, node_type: NodeType, context: Mapping[str, str]) -> Reading:
    """What the description says; a contract in it, else in a context file, goes before prose."""
    contract = find_contract(description)
    if contract is not None:
        return read_contract(contract, description)
    unused, source = [], ""
    for path, text in context.items():
        found = find_contract(text) if contract is None else None
        if found is None:
            unused.append(path)
        else:
            contract, source = found, text
    reading = (
        read_contract(contract, source)
        if contract is not None
        else read_prose(unwrapped(description), node_type)
    )
    reading.warnings += [
        f"context file {path!r} was not used: it holds no contract that was needed"
        for path in unused
    ]
    return reading


def unwrapped(description: str) -> str:
    """The texts inside a JSON object that is no contract, a paragraph each; other text as it is."""
    if not description.lstrip().startswith("{"):
        return description
    from json import loads

    try:
        value = loads(description)
    except (ValueError, RecursionError):
        return description
    texts = [text for text in value.values() if isinstance(text, str)] if value else []
    return "\n\n".join(f"{text.rstrip('.')}." for text in texts) or description
