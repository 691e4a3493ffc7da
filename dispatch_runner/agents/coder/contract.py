"""Reading a contract in YAML or JSON: the present-day form, the flat form of late 2025, subcontracts."""

import re
from collections.abc import Iterator
from dataclasses import replace

from dispatch_runner.agents.coder.fields import convert_default, parse_field
from dispatch_runner.agents.coder.machine import MAX_STEPS
from dispatch_runner.agents.coder.prose import add_field, read_prose, strip_name
from dispatch_runner.agents.coder.spec import (
    BOOLEAN,
    INTEGER,
    JSON,
    NODE_TYPES,
    NUMBER,
    OBJECT,
    TEXT,
    FieldSpec,
    FieldType,
    IntentRule,
    Machine,
    NodeType,
    OpenPoint,
    Operation,
    Reading,
    Retry,
    Step,
    Transition,
    list_of,
)
from dispatch_runner.agents.coder.types import type_of_name, type_of_phrase
from dispatch_runner.agents.coder.words import identifier, printable

Mapping = dict[str, object]

MAX_CONTRACT = 131_072
MAX_ITEMS = 64
KEYS = frozenset(
    [
        "node_type",
        "node_name",
        "contract_name",
        "contract_version",
        "node_version",
        "input_model",
        "output_model",
        "io_operations",
        "input_state",
        "output_state",
        "actions",
        "state_transitions",
        "workflow_coordination",
        "effect_operations",
        "capabilities",
        "definitions",
        "inputs",
        "outputs",
        "input",
        "output",
        "steps",
        "fields",
        "name",
        "description",
        "input_schema",
        "output_schema",
        "states",
        "transitions",
        "error_handling",
        "subcontracts",
    ]
)
FENCE = re.compile(r"```[ \t]*(?:ya?ml|json)?[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL | re.IGNORECASE)
KEY = re.compile(r"[\"']?\b([a-z_]+)\b[\"']?\s*:")
START = re.compile(r"^(?:---\s*$|\{|[A-Za-z_$][\w$]*:(?:\s|$))", re.MULTILINE)
MODEL_NAME = re.compile(r"Model[A-Z][A-Za-z0-9]*")
JSON_TYPES = {
    "string": TEXT, "integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN, "object": OBJECT, "array": list_of(JSON),
}  # fmt: skip
FORMATS = {"uuid": FieldType("UUID"), "date-time": FieldType("datetime"), "date": FieldType("date")}
SCHEMA_BOUNDS = {
    "minimum": "ge", "ge": "ge", "min": "ge", "exclusiveMinimum": "gt", "gt": "gt", "maximum": "le", "le": "le",
    "max": "le", "exclusiveMaximum": "lt", "lt": "lt", "minLength": "min_length", "min_length": "min_length",
    "maxLength": "max_length", "max_length": "max_length", "minItems": "min_length", "maxItems": "max_length",
}  # fmt: skip


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
    if len({match.group(1) for match in KEY.finditer(text)} & KEYS) < 2:
        return None
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loaded = yaml.load(text.replace("\t", "    "), Loader=loader)  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
        return None
    if not isinstance(loaded, dict):
        return None
    known = [key for key in loaded if isinstance(key, str) and key in KEYS]
    return loaded if len(known) >= 2 else None


def read_contract(contract: Mapping) -> Reading:
    """Everything that a contract says about a node."""
    description = _text(contract.get("description")) or _text(
        _at(contract, "metadata", "description")
    )
    reading = read_prose(description)
    reading.name = reading.class_name = ""
    reading.description = printable(description, 600)
    reading.node_type = _node_type(contract.get("node_type"))
    _read_names(contract, reading)
    reading.operations = list(_operations(contract, reading))
    _read_fields(contract, reading)
    reading.steps = _steps(contract, reading) or reading.steps
    reading.machine = _machine(contract) or reading.machine
    _read_policies(contract, reading)
    if not reading.description:
        reading.description = f"{reading.name or 'Node'} from its contract"
    return reading


def _at(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mappings(value: object) -> list[Mapping]:
    """The objects of a list, or of a mapping by name (`{start: {...}}` gets `name: start`)."""
    if isinstance(value, dict):
        value = [
            {"name": key, **(item if isinstance(item, dict) else {"description": item})}
            for key, item in value.items()
        ]
    return (
        [item for item in value[:MAX_ITEMS] if isinstance(item, dict)]
        if isinstance(value, list)
        else []
    )


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return (
        [item for item in value[:MAX_ITEMS] if isinstance(item, str)]
        if isinstance(value, list)
        else []
    )


def _first(value: Mapping, *keys: str) -> str:
    return next((text for key in keys if (text := _text(value.get(key)).strip())), "")


def _node_type(value: object) -> NodeType | None:
    word = _text(value).lower().removesuffix("_generic")
    return next((name for name in NODE_TYPES if name.lower() == word), None)


def _read_names(contract: Mapping, reading: Reading) -> None:
    spelled = _first(contract, "node_name", "name", "contract_name", "tool_name") or next(
        (
            text
            for path in (
                ("tool_specification", "tool_name"),
                ("state_transitions", "state_machine_name"),
                ("effect_operations", "operation_name"),
                (
                    "workflow_coordination",
                    "workflow_definition",
                    "workflow_metadata",
                    "workflow_name",
                ),
            )
            if (text := _text(_at(contract, *path)))
        ),
        "",
    )
    reading.name = re.sub(r"Fsm$", "", strip_name(spelled))
    reading.named = bool(reading.name)
    if re.fullmatch(r"Node[A-Z][A-Za-z0-9]+(?:Effect|Compute|Reducer|Orchestrator)", spelled):
        reading.class_name = spelled
    reading.input_model = _model_name(contract.get("input_model"))
    reading.output_model = _model_name(contract.get("output_model"))


def _model_name(value: object) -> str:
    """`ModelX` from `ModelX`, `package.models.ModelX` or `{name: ModelX, module: ...}`."""
    text = _text(_at(value, "name")) if isinstance(value, dict) else _text(value)
    last = text.rpartition(".")[2]
    return last[:80] if MODEL_NAME.fullmatch(last) else ""


def _operations(contract: Mapping, reading: Reading) -> Iterator[Operation]:
    listed = contract.get("io_operations") or _at(contract, "effect_operations", "operations")
    for item in _mappings(listed):
        name = _first(
            item, "protocol_method", "operation", "operation_name", "name", "operation_type"
        )
        if not name:
            continue
        ins = _fields(item.get("input_fields") or item.get("inputs"), reading)
        if not ins:
            ins = [_field(param, None, reading) for param in _params(item)]
        outs = _fields(item.get("output_fields") or item.get("outputs"), reading)
        if not outs:
            extracted = _at(item, "response_handling", "extract_fields")
            outs = (
                [_field(key, None, reading) for key in extracted]
                if isinstance(extracted, dict)
                else []
            )
        yield Operation(
            identifier(name), printable(_text(item.get("description")), 200), tuple(ins), tuple(outs),
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
        found = [field for key in keys for field in _fields(contract.get(key), reading)]
        found += _defined(
            contract,
            reading.input_model
            if kind == "input"
            else reading.output_model
            if kind == "output"
            else "",
            reading,
        )
        if kind != "state" and isinstance(contract.get(f"{kind}_model"), dict):
            found += _fields(_at(contract, f"{kind}_model", "fields"), reading)
        if found:
            targets[kind].clear()
        for field in found:
            add_field(targets[kind], field)


def _defined(contract: Mapping, model: str, reading: Reading) -> list[FieldSpec]:
    """The fields of a model under `definitions`."""
    if not model:
        return []
    for path in (
        ("definitions", "models", model),
        ("definitions", "schemas", model),
        ("definitions", model),
    ):
        found = _at(contract, *path)
        if isinstance(found, dict):
            return _fields(found.get("fields") or found, reading)
    return []


def _fields(value: object, reading: Reading) -> list[FieldSpec]:
    """Fields in any of the usual spellings: JSON Schema, name to type, lists of either."""
    if isinstance(value, dict):
        return _fields_of_mapping(value, reading)
    fields: list[FieldSpec] = []
    for item in value[:MAX_ITEMS] if isinstance(value, list) else []:
        if isinstance(item, str):
            parsed = parse_field(item)
            fields += [parsed] if parsed else []
        elif isinstance(item, dict):
            named = _first(item, "name", "field", "field_name")
            pairs = [(named, item)] if named else list(item.items())[:MAX_ITEMS]
            fields += [_field(str(key), entry, reading) for key, entry in pairs]
    return fields


def _fields_of_mapping(value: Mapping, reading: Reading) -> list[FieldSpec]:
    properties = value.get("properties")
    required = _texts(value.get("required"))
    listed = [*required, *_texts(value.get("optional"))]
    if isinstance(properties, dict):
        named = [
            _field(str(key), entry, reading) for key, entry in list(properties.items())[:MAX_ITEMS]
        ]
        return [
            _optional(field)
            if required and (field.original or field.name) not in required
            else field
            for field in named
        ]
    if listed:
        named = [_field(key, None, reading) for key in listed]
        return [
            _optional(field) if index >= len(required) else field
            for index, field in enumerate(named)
        ]
    if "fields" in value:
        return _fields(value["fields"], reading)
    skipped = {"type", "object_type", "description", "module", "name"}
    return [
        _field(str(key), entry, reading)
        for key, entry in list(value.items())[:MAX_ITEMS]
        if key not in skipped
    ]


def _optional(field: FieldSpec) -> FieldSpec:
    if field.has_default:
        return field
    return replace(field, type=replace(field.type, optional=True), default=None, has_default=True)


def _field(key: str, entry: object, reading: Reading) -> FieldSpec:
    optional = key.endswith("?")
    name = identifier(key)
    if isinstance(entry, dict):
        field = _field_of_schema(name, entry, reading)
    else:
        spelled = _text(entry)
        if MODEL_NAME.search(spelled):
            reading.open_points.append(
                OpenPoint(
                    name,
                    f"the type {printable(spelled, 80)} is defined elsewhere; the field takes any JSON object",
                )
            )
        parsed = parse_field(f"{key.rstrip('?')}: {spelled}") if spelled else None
        if MODEL_NAME.search(spelled):
            type_ = FieldType(
                "dict", JSON, optional="None" in spelled or spelled.startswith("Optional")
            )
            parsed = FieldSpec(name, type_, has_default=type_.optional)
        field = replace(parsed, name=name) if parsed else FieldSpec(name, type_of_name(name))
    field = replace(
        field, original=key if key != name and re.fullmatch(r"[A-Za-z_]\w*", key) else ""
    )
    return _optional(field) if optional else field


def _field_of_schema(name: str, entry: Mapping, reading: Reading) -> FieldSpec:
    type_ = _schema_type(name, entry)
    if (
        entry.get("required") is False
        or entry.get("optional") is True
        or entry.get("nullable") is True
    ):
        type_ = replace(type_, optional=True)
    default, has_default = None, False
    if "default" in entry:
        spelled = entry["default"]
        default, has_default = convert_default(
            "empty" if spelled in ([], {}) else str(spelled), type_
        )
    if type_.optional and not has_default:
        default, has_default = None, True
    described = printable(_text(entry.get("description")), 200)
    return FieldSpec(name, type_, described, default, has_default, _schema_bounds(entry, type_))


def _schema_type(name: str, entry: Mapping) -> FieldType:
    values = entry.get("enum") or entry.get("values")
    if (
        isinstance(values, list)
        and len(values) > 1
        and all(isinstance(v, str) and v.isprintable() for v in values)
    ):
        return FieldType("enum", values=tuple(dict.fromkeys(v[:40] for v in values[:MAX_ITEMS])))
    spelled = entry.get("type")
    if isinstance(spelled, list):
        kinds = [kind for kind in _texts(spelled) if kind != "null"]
        inner = _schema_type(name, {**entry, "type": kinds[0]}) if kinds else JSON
        return replace(inner, optional="null" in spelled)
    if entry.get("format") in FORMATS:
        return FORMATS[str(entry["format"])]
    if spelled == "array" and isinstance(entry.get("items"), dict):
        items = entry["items"]
        return list_of(_schema_type("item", items).plain() if isinstance(items, dict) else JSON)
    kind = _text(spelled)
    return JSON_TYPES.get(kind) or type_of_phrase(kind) or (JSON if kind else type_of_name(name))


def _schema_bounds(entry: Mapping, type_: FieldType) -> tuple[tuple[str, float], ...]:
    lengths = {"min_length", "max_length"}
    found = {
        keyword: float(number)
        for key, keyword in SCHEMA_BOUNDS.items()
        if isinstance(number := entry.get(key), int | float)
        and not isinstance(number, bool)
        and abs(number) < 1e15
    }
    sized = type_.base in {"str", "list"}
    kept = {
        k: int(v) if sized else v
        for k, v in found.items()
        if (k in lengths) == sized and (sized or type_.numeric)
    }
    low = max(kept.get("ge", -1e308), kept.get("gt", -1e308), kept.get("min_length", -1))
    high = min(kept.get("le", 1e308), kept.get("lt", 1e308), kept.get("max_length", 1e308))
    return tuple(kept.items()) if low < high or (sized and low <= high) else ()


def _steps(contract: Mapping, reading: Reading) -> list[Step]:
    """The steps, each after those it needs; a chain where the contract states no needs at all."""
    nodes = _at(
        contract, "workflow_coordination", "workflow_definition", "execution_graph", "nodes"
    ) or _at(contract, "workflow_definition", "execution_graph", "nodes")
    listed = nodes or contract.get("steps") or _at(contract, "workflow", "steps")
    if isinstance(listed, list):
        listed = [{"name": item} if isinstance(item, str) else item for item in listed]
    steps: dict[str, Step] = {}
    for item in _mappings(listed)[:MAX_STEPS]:
        step = _step(item, list(steps)[-1:] if not nodes else [])
        if step.name:
            steps.setdefault(step.name, step)
    return _in_order(steps, reading)


def _step(item: Mapping, before: list[str]) -> Step:
    spelled = _first(item, "node_id", "step_id", "id", "name", "step_name", "node_name")
    stated = item.get("depends_on", item.get("dependencies", item.get("needs")))
    needs = before if stated is None else [identifier(need) for need in _texts(stated)]
    target = _first(item, "target_node_type", "target", "node", "agent")
    return Step(
        identifier(spelled) if spelled else "",
        printable(_text(item.get("description")), 200),
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


def _machine(contract: Mapping) -> Machine | None:
    fsm = (
        contract.get("state_transitions")
        or contract.get("fsm")
        or _at(contract, "subcontracts", "fsm")
    )
    fsm = fsm if isinstance(fsm, dict) else contract
    listed = fsm.get("states")
    names = [_first(item, "state_name", "name") for item in _mappings(listed)] or _texts(listed)
    transitions = tuple(
        Transition(
            "*"
            if item.get("from_state", item.get("from")) == "*"
            else identifier(_first(item, "from_state", "from", "source")),
            identifier(_first(item, "trigger", "event", "on", "transition_name", "name")),
            identifier(_first(item, "to_state", "to", "target")),
            tuple(
                identifier(_first(action, "action_name", "name"))
                for action in _mappings(item.get("actions"))
            ),
            tuple(
                _first(c, "expression", "condition_name", "name")
                for c in _mappings(item.get("conditions"))
            ),
        )
        for item in _mappings(fsm.get("transitions"))
        if _first(item, "to_state", "to", "target")
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
    initial = identifier(_first(fsm, "initial_state", "initial") or states[0])
    terminal = {identifier(name) for name in _texts(fsm.get("terminal_states"))}
    terminal |= {
        identifier(_first(s, "state_name", "name"))
        for s in _mappings(listed)
        if s.get("is_terminal") is True
    }
    final = tuple(state for state in states if state in terminal)
    return Machine(states, initial if initial in states else states[0], transitions, final)


def _read_policies(contract: Mapping, reading: Reading) -> None:
    policy = _at(contract, "error_handling", "retry_policy") or contract.get("retry_policy")
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
        )
    for intent in _mappings(contract.get("intents")):
        reading.intents.append(IntentRule(identifier(_first(intent, "name", "intent_type"))))
    reading.intents += [IntentRule(identifier(name)) for name in _texts(contract.get("intents"))]


def _seconds(policy: Mapping, *names: str, default: float) -> float:
    for name in names:
        for unit, factor in (("_ms", 0.001), ("_seconds", 1.0)):
            value = policy.get(name + unit)
            if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
                return float(value) * factor
    return default
