"""Reading a contract in YAML or JSON: the present-day form, the flat form of late 2025, subcontracts."""

import re
from collections.abc import Iterator
from dataclasses import replace

from dispatch_runner.agents.coder.machine import MAX_STEPS
from dispatch_runner.agents.coder.naming import respell, strip_name, summarise
from dispatch_runner.agents.coder.prose import add_field, read_prose
from dispatch_runner.agents.coder.schema import (
    MAX_ITEMS,
    MODEL_NAME,
    Mapping,
    at,
    defined_fields,
    field_of,
    fields_of,
    first_text,
    mappings,
    text_of,
    texts,
)
from dispatch_runner.agents.coder.spec import (
    NODE_TYPES,
    IntentRule,
    Machine,
    NodeType,
    OpenPoint,
    Operation,
    Reading,
    Retry,
    Step,
    Transition,
)
from dispatch_runner.agents.coder.words import identifier, printable

MAX_CONTRACT = 65_536
FAST_YAML = 16_384
"""Characters up to which the fast loader is used: it lets no other thread run meanwhile."""
KEYS = frozenset({
    "node_type", "node_name", "contract_name", "contract_version", "node_version", "input_model",
    "output_model", "io_operations", "input_state", "output_state", "actions",
    "state_transitions", "state_machine", "operations", "workflow_coordination", "workflow_definition", "workflow_name",
    "effect_operations", "capabilities",
    "definitions", "inputs", "outputs", "input", "output", "steps", "fields", "name",
    "description", "input_schema", "output_schema", "states", "transitions", "error_handling",
    "subcontracts",
})  # fmt: skip
TELLING = frozenset({
    "workflow_coordination", "workflow_definition", "state_transitions", "effect_operations",
    "io_operations", "state_machine",
})  # fmt: skip
"""Keys that only a contract has: one is enough."""
FENCE = re.compile(r"```[ \t]*(?:ya?ml|json)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)
KEY = re.compile(r"[\"']?\b([a-z_]+)\b[\"']?\s*:")
START = re.compile(r"^(?:---\s*$|\{|[A-Za-z_$][\w$]*:(?:\s|$))", re.MULTILINE)


def find_contract(text: str) -> Mapping | None:
    """The contract inside a text: fenced, the whole, or from the first line that looks like one."""
    for candidate in _candidates(text):
        loaded = _load(candidate)
        if loaded is not None:
            return loaded
    return None


def _candidates(text: str) -> Iterator[str]:
    cut = text[:MAX_CONTRACT]
    yield from (match.group(1) for match in list(FENCE.finditer(cut))[:3])
    if not START.search(cut):
        return
    yield cut
    for found in list(START.finditer(cut))[:3]:
        if found.start():
            yield cut[found.start() :]


def _load(text: str) -> Mapping | None:
    """A mapping that is recognisably a contract, or null; never raises on hostile text."""
    keys = {match.group(1) for match in KEY.finditer(text)} & KEYS
    if len(keys) < 2 and not keys & TELLING:
        return None
    import yaml

    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = fast if len(text) <= FAST_YAML else yaml.SafeLoader
    try:
        loaded = yaml.load(text.replace("\t", "    "), Loader=loader)  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        return None
    if not isinstance(loaded, dict):
        return None
    known = {key for key in loaded if isinstance(key, str)} & KEYS
    return loaded if len(known) >= 2 or known & TELLING else None


def read_contract(contract: Mapping, text: str = "") -> Reading:
    """Everything that a contract says about a node; `text` is what it was loaded from."""
    places = (("description",), ("metadata", "description"), *DESCRIPTIONS)
    description = next((told for path in places if (told := text_of(at(contract, *path)))), "")
    reading = read_prose(description, sure_only=True)
    reading.name = reading.class_name = ""
    reading.description = printable(description, 600)
    reading.node_type = _node_type(contract.get("node_type"))
    _read_names(contract, reading, text)
    reading.operations = list(_operations(contract, reading))
    _read_fields(contract, reading)
    reading.steps = _steps(contract, reading) or reading.steps
    reading.machine = _machine(contract) or reading.machine
    _read_policies(contract, reading)
    if not reading.description:
        reading.description = f"{reading.name or 'Node'} from its contract"
    reading.summary = summarise(reading.description)
    return reading


def _node_type(value: object) -> NodeType | None:
    word = text_of(value).lower().removesuffix("_generic")
    return next((name for name in NODE_TYPES if name.lower() == word), None)


OF_NODE = re.compile(
    rf"Model(?P<name>\w{{2,}}?)(?P<type>{'|'.join(NODE_TYPES)})(?:Input|Request|Output|Response|Result)"
)
NAME_PLACES = (
    ("tool_specification", "tool_name"),
    ("effect_operations", "operation_name"),
    ("workflow_name",),
    *(
        (*path, "workflow_name")
        for path in (
            ("workflow_coordination", "workflow_definition", "workflow_metadata"),
            ("workflow_definition", "workflow_metadata"),
            ("workflow_coordination", "workflow_metadata"),
            ("workflow_metadata",),
            ("workflow_coordination",),
            ("workflow_definition",),
        )
    ),
    ("metadata", "name"),
)
"""Where a contract that has no name of its own says what it is about."""


DESCRIPTIONS = (
    ("workflow_coordination", "workflow_definition", "workflow_metadata", "description"),
    ("workflow_definition", "workflow_metadata", "description"),
    ("state_transitions", "description"),
    ("tool_specification", "description"),
)


def _read_names(contract: Mapping, reading: Reading, text: str) -> None:
    spelled = first_text(contract, "node_name", "name", "contract_name", "tool_name")
    places = (text_of(at(contract, *path)) for path in NAME_PLACES)
    machine = text_of(at(contract, "state_transitions", "state_machine_name")) or text_of(
        at(contract, "state_machine", "state_machine_name")
    )
    of_machine = re.sub(r"Fsm$", "", strip_name(machine))
    spelled = spelled or next((found for found in places if found.strip()), "")
    reading.name = respell(strip_name(spelled), text) if spelled else of_machine
    reading.named = bool(reading.name)
    if re.fullmatch(r"Node[A-Z][A-Za-z0-9]+(?:Effect|Compute|Reducer|Orchestrator)", spelled):
        reading.class_name = spelled
    reading.input_model = _model_name(contract.get("input_model"))
    reading.output_model = _model_name(contract.get("output_model"))
    reading.name = _name_of_models(reading) or reading.name


def _name_of_models(reading: Reading) -> str:
    """The class that both models are named after: `ModelPageFetchEffectInput` and `...Output`; or empty."""
    given, made = OF_NODE.fullmatch(reading.input_model), OF_NODE.fullmatch(reading.output_model)
    if reading.class_name or given is None or made is None or given["name"] != made["name"]:
        return ""
    return given["name"] if given["type"] == made["type"] else ""


def _model_name(value: object) -> str:
    """`ModelX` from `ModelX`, `package.models.ModelX` or `{name: ModelX, module: ...}`."""
    text = text_of(at(value, "name")) if isinstance(value, dict) else text_of(value)
    last = text.rpartition(".")[2]
    return last[:80] if MODEL_NAME.fullmatch(last) else ""


def _operations(contract: Mapping, reading: Reading) -> Iterator[Operation]:
    listed = (
        contract.get("io_operations")
        or at(contract, "effect_operations", "operations")
        or contract.get("operations")
    )
    for item in mappings(listed):
        name = first_text(
            item, "protocol_method", "operation", "operation_name", "name", "operation_type"
        )
        if not name:
            continue
        ins = fields_of(item.get("input_fields") or item.get("inputs"), reading)
        if not ins:
            ins = [field_of(param, None, reading) for param in _params(item)]
        outs = fields_of(item.get("output_fields") or item.get("outputs"), reading)
        if not outs:
            extracted = at(item, "response_handling", "extract_fields")
            outs = (
                [field_of(key, None, reading) for key in extracted]
                if isinstance(extracted, dict)
                else []
            )
        yield Operation(
            identifier(name), printable(text_of(item.get("description")), 200), tuple(ins), tuple(outs),
            idempotent=item.get("idempotent", True) is not False,
        )  # fmt: skip


def _params(item: Mapping) -> list[str]:
    """The inputs that an operation's templates name: `${input.email}`."""
    text = repr(item.get("io_config"))[:20_000]
    return list(dict.fromkeys(re.findall(r"\$\{input\.(\w+)", text)))[:MAX_ITEMS]


def _read_fields(contract: Mapping, reading: Reading) -> None:
    places = {
        "input": ("inputs", "input", "input_schema", "input_fields", "input_state"),
        "output": ("outputs", "output", "output_schema", "output_fields", "output_state"),
        "state": ("state", "state_fields", "state_schema"),
    }
    targets = {
        "input": reading.input_fields,
        "output": reading.output_fields,
        "state": reading.state_fields,
    }
    for kind, keys in places.items():
        found = [field for key in keys for field in fields_of(contract.get(key), reading)]
        found += defined_fields(
            contract,
            reading.input_model
            if kind == "input"
            else reading.output_model
            if kind == "output"
            else "",
            reading,
        )
        if kind != "state" and isinstance(contract.get(f"{kind}_model"), dict):
            found += fields_of(at(contract, f"{kind}_model", "fields"), reading)
        if found:
            targets[kind].clear()
        for field in found:
            add_field(targets[kind], field)


def _steps(contract: Mapping, reading: Reading) -> list[Step]:
    """The steps, each after those it needs; a chain where the contract states no needs at all."""
    nodes = at(
        contract, "workflow_coordination", "workflow_definition", "execution_graph", "nodes"
    ) or at(contract, "workflow_definition", "execution_graph", "nodes")
    listed = nodes or contract.get("steps") or at(contract, "workflow", "steps")
    if isinstance(listed, list):
        listed = [{"name": item} if isinstance(item, str) else item for item in listed]
    steps: dict[str, Step] = {}
    for item in mappings(listed)[:MAX_STEPS]:
        step = _step(item, list(steps)[-1:] if not nodes else [])
        if step.name:
            steps.setdefault(step.name, step)
    return _in_order(steps, reading)


def _step(item: Mapping, before: list[str]) -> Step:
    spelled = first_text(item, "node_id", "step_id", "id", "name", "step_name", "node_name")
    stated = item.get("depends_on", item.get("dependencies", item.get("needs")))
    needs = before if stated is None else [identifier(need) for need in texts(stated)]
    target = first_text(item, "target_node_type", "target", "node", "agent")
    return Step(
        identifier(spelled) if spelled else "",
        printable(text_of(item.get("description")), 200),
        printable(target, 80),
        tuple(needs),
    )


def _in_order(steps: dict[str, Step], reading: Reading) -> list[Step]:
    """Each step after those it needs; needs that are unknown or form a cycle are dropped, and said."""
    from graphlib import CycleError, TopologicalSorter

    for name, step in steps.items():
        unknown = [need for need in step.needs if need not in steps]
        if unknown:
            reading.warnings.append(
                f"step {name!r} needs {unknown[0]!r}, which is no step: not kept"
            )
            steps[name] = replace(step, needs=tuple(n for n in step.needs if n in steps))
    try:
        order = list(TopologicalSorter({n: step.needs for n, step in steps.items()}).static_order())
    except CycleError as error:
        cycle = " -> ".join(str(name) for name in error.args[1])
        reading.warnings.append(f"the steps form a cycle ({cycle}): they run in the order listed")
        names = list(steps)
        return [replace(steps[n], needs=tuple(names[:i][-1:])) for i, n in enumerate(names)]
    if all(all(list(steps).index(n) < i for n in s.needs) for i, s in enumerate(steps.values())):
        return list(steps.values())
    return [steps[name] for name in order]


OWN_ACTIONS = frozenset({"state_update", "validation", "log", "logging"})
"""Actions of a transition that are the reducer's own: nobody else is asked for them."""


def _machine(contract: Mapping) -> Machine | None:
    fsm = (
        contract.get("state_transitions")
        or contract.get("state_machine")
        or contract.get("fsm")
        or at(contract, "subcontracts", "fsm")
    )
    fsm = fsm if isinstance(fsm, dict) else contract
    listed = fsm.get("states")
    names = [first_text(item, "state_name", "name") for item in mappings(listed)] or texts(listed)
    transitions = tuple(
        Transition(
            "*"
            if item.get("from_state", item.get("from")) == "*"
            else identifier(first_text(item, "from_state", "from", "source")),
            identifier(first_text(item, "trigger", "event", "on", "transition_name", "name")),
            identifier(first_text(item, "to_state", "to", "target")),
            tuple(
                identifier(first_text(action, "action_name", "name"))
                for action in mappings(item.get("actions"))
                if text_of(action.get("action_type")) not in OWN_ACTIONS
            ),
            tuple(
                first_text(c, "expression", "condition_name", "name")
                for c in mappings(item.get("conditions"))
            ),
        )
        for item in mappings(fsm.get("transitions"))
        if first_text(item, "to_state", "to", "target")
    )
    states = tuple(
        dict.fromkeys(
            [
                *(identifier(name) for name in names if name),
                *(name for t in transitions for name in (t.source, t.target) if name != "*"),
            ]
        )
    )
    if len(states) < 2 or not transitions:
        return None
    initial = identifier(first_text(fsm, "initial_state", "initial") or states[0])
    terminal = {identifier(name) for name in texts(fsm.get("terminal_states"))}
    terminal |= {
        identifier(first_text(s, "state_name", "name"))
        for s in mappings(listed)
        if s.get("is_terminal") is True
    }
    final = tuple(state for state in states if state in terminal)
    return Machine(states, initial if initial in states else states[0], transitions, final)


def _own_actions(contract: Mapping) -> list[str]:
    """Names of the state updates that transitions ask for, each once."""
    found = (
        first_text(action, "action_name", "name")
        for key in ("state_transitions", "state_machine", "fsm")
        for item in mappings(at(contract, key, "transitions"))
        for action in mappings(item.get("actions"))
        if text_of(action.get("action_type")) == "state_update"
    )
    return [name for name in dict.fromkeys(found) if name]


def _read_policies(contract: Mapping, reading: Reading) -> None:
    policy = at(contract, "error_handling", "retry_policy") or contract.get("retry_policy")
    if isinstance(policy, dict):
        retries, attempts = policy.get("max_retries"), policy.get("max_attempts")
        total = (
            attempts
            if isinstance(attempts, int)
            else retries + 1
            if isinstance(retries, int)
            else 3
        )
        reading.retry = Retry(
            min(10, max(1, total)),
            _seconds(policy, "initial_delay", "base_delay", default=0.5),
            _seconds(policy, "max_delay", default=30.0),
            reading.retry.timeout_seconds,
        )
    for intent in mappings(at(contract, "intent_emission", "intents")):
        named = first_text(intent, "intent_type", "name")
        message = "the contract lists the intent and not when it is emitted: it is not"
        reading.open_points += [OpenPoint(printable(named, 80), message)] if named else []
    for own in _own_actions(contract):
        message = "the contract names an update of the state and not what it changes"
        reading.open_points.append(OpenPoint(printable(own, 80), message))
    for intent in mappings(contract.get("intents")):
        reading.intents.append(IntentRule(identifier(first_text(intent, "name", "intent_type"))))
    reading.intents += [IntentRule(identifier(name)) for name in texts(contract.get("intents"))]


def _seconds(policy: Mapping, *names: str, default: float) -> float:
    for name in names:
        for unit, factor in (("_ms", 0.001), ("_seconds", 1.0)):
            value = policy.get(name + unit)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
                return float(value) * factor
    return default
