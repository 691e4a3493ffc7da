"""Writes Reducer nodes: `(state, event) -> (new_state, intents)`, with no I/O."""

import re
import textwrap
from dataclasses import dataclass, replace

from dispatch_runner.agents.coder.folds import FIGURES, Facts, counting_names, figure_of, fold
from dispatch_runner.agents.coder.plan import Plan
from dispatch_runner.agents.coder.spec import (
    TEXT,
    FieldSpec,
    FieldType,
    IntentRule,
    Machine,
    Transition,
)
from dispatch_runner.agents.coder.types import type_of_name
from dispatch_runner.agents.coder.words import identifier, literal, sentence
from dispatch_runner.agents.coder.write.module import Module, doc

CURRENT = "current_state"
NOT_STATE = frozenset(
    {"state", "new_state", "updated_state", "next_state", "intents", "intent", CURRENT}
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the parts of a reducer have in common."""

    state: tuple[FieldSpec, ...]
    event: tuple[FieldSpec, ...]
    machine: Machine | None
    rules: tuple[IntentRule, ...]
    intents: dict[str, str]
    """Each intent's member, as an expression."""
    steps: dict[str, str]
    """Each machine state's member."""
    triggers: dict[str, str]


def write_reducer(plan: Plan) -> Module:
    """The module of a Reducer node."""
    module = Module(plan)
    if plan.reading.machine:
        module.error({"invalid_transition": "the state does not take this event"})
    shape = _shape(plan, module)
    _write_models(plan, module, shape)
    if shape.machine:
        _write_machine(plan, module, shape, shape.machine)
    _write_folds(plan, module, shape)
    _write_wants(plan, module, shape)
    _write_reduce(plan, module, shape)
    _write_class(plan, module)
    return module


def _shape(plan: Plan, module: Module) -> Shape:
    reading, machine, name = plan.reading, plan.reading.machine, plan.name
    names = [rule.name for rule in reading.intents]
    names += [intent for t in (machine.transitions if machine else ()) for intent in t.intents]
    members = (
        module.enum(
            f"Enum{name}Intent", f"What {plan.class_name} asks others to do", dict.fromkeys(names)
        )
        if names
        else {}
    )
    steps = (
        module.enum(f"Enum{name}State", f"The states of {plan.class_name}", machine.states)
        if machine
        else {}
    )
    fired = dict.fromkeys(t.trigger for t in machine.transitions) if machine else {}
    triggers = (
        module.enum(f"Enum{name}Trigger", f"What moves {plan.class_name} on", fired)
        if fired
        else {}
    )
    aside = {"state", "event", *steps, *triggers, *({"trigger"} if machine else ())}
    event = tuple(_measured(field, plan) for field in plan.inputs if field.name not in aside)
    if not event and not machine:
        event = (FieldSpec("payload", FieldType("dict", FieldType("json")), "what happened"),)
        module.open(
            "payload", "the contract names no field of the event; it carries any JSON object"
        )
    return Shape(
        _state(plan, event, machine, module),
        event,
        machine,
        tuple(reading.intents),
        members,
        steps,
        triggers,
    )


def _sized(field: FieldSpec, event: tuple[FieldSpec, ...]) -> FieldSpec:
    """A figure of the event's numbers is of their type, where only its name told one."""
    source = figure_of(field, event)
    if source is None or field.type.plain() != type_of_name(field.name).plain():
        return field
    return replace(
        field, type=replace(field.type, base="float" if _is_mean(field) else source.type.base)
    )


def _measured(field: FieldSpec, plan: Plan) -> FieldSpec:
    """An event's `value` is a number where the state keeps figures of it."""
    kept = {word for f in (*plan.reading.state_fields, *plan.outputs) for word in f.name.split("_")}
    if field.name == "value" and field.type == TEXT and kept & FIGURES:
        return replace(field, type=FieldType("float"))
    return field


def _state(
    plan: Plan, event: tuple[FieldSpec, ...], machine: Machine | None, module: Module
) -> tuple[FieldSpec, ...]:
    """The fields of the state, each with the value that it starts from."""
    named = [*plan.reading.state_fields]
    named += [field for field in plan.outputs if all(field.name != other.name for other in named)]
    kept = [_started(_sized(field, event)) for field in named if field.name not in NOT_STATE]
    if not kept and not machine:
        kept = [FieldSpec("event_count", FieldType("int"), "events seen", 0, True, (("ge", 0),))]
        module.open("state", "the contract names no field of the state; it counts the events")
    counts = counting_names(plan.name)
    means = [f for f in kept if _is_mean(f) and fold(f, Facts(kept, event, counts))]
    if means and not any(f.name in counts and f.type.base == "int" for f in kept):
        kept.append(
            FieldSpec("event_count", FieldType("int"), "events seen", 0, True, (("ge", 0),))
        )
    return tuple(kept)


def _is_mean(field: FieldSpec) -> bool:
    return bool({"mean", "average", "avg"} & set(field.name.split("_")))


def _started(field: FieldSpec) -> FieldSpec:
    """The field with its value before the first event."""
    if field.has_default:
        return field
    starts: dict[str, int | float | bool | tuple[()]] = {
        "int": 0,
        "float": 0.0,
        "bool": False,
        "list": (),
        "dict": (),
    }
    extreme = {
        "minimum",
        "maximum",
        "min",
        "max",
        "lowest",
        "highest",
        "best",
        "worst",
        "smallest",
        "largest",
    } & set(field.name.split("_"))
    if field.type.base in starts and not extreme:
        inside = [
            (key, limit)
            for key, limit in field.bounds
            if key not in {"min_length", "gt"} and not (key == "ge" and limit > 0)
        ]
        return replace(
            field, default=starts[field.type.base], has_default=True, bounds=tuple(inside)
        )
    return replace(field, type=replace(field.type, optional=True), default=None, has_default=True)


def _write_models(plan: Plan, module: Module, shape: Shape) -> None:
    name = plan.name
    module.use("pydantic", "Field")
    current = []
    if shape.machine:
        start = shape.steps[shape.machine.initial]
        current.append(
            f'{CURRENT}: Enum{name}State = Field(default={start}, description="where the machine is")'
        )
    module.model(f"Model{name}State", f"What {plan.class_name} knows", shape.state, current)
    trigger = (
        [f'trigger: Enum{name}Trigger = Field(description="what moves the machine on")']
        if shape.triggers
        else []
    )
    module.model(f"Model{name}Event", "What happened", shape.event, trigger)
    kind = f"Enum{name}Intent" if shape.intents else "str"
    module.use("pydantic", "JsonValue")
    module.model(f"Model{name}Intent", "What another node is asked to do; the reducer does nothing itself", (), [
        f'kind: {kind} = Field(description="what to do")',
        'payload: dict[str, JsonValue] = Field(default_factory=dict, description="what it needs")',
    ])  # fmt: skip
    module.model(plan.input_model, f"Input of {plan.class_name}", (), [
        f'state: Model{name}State = Field(default_factory=Model{name}State, description="before the event")',
        f'event: Model{name}Event = Field(description="what happened")',
        module.correlation(given=False),
    ])  # fmt: skip
    module.model(plan.output_model, f"Output of {plan.class_name}", (), [
        f'state: Model{name}State = Field(description="after the event")',
        f'intents: list[Model{name}Intent] = Field(description="what to do now, in order")',
        module.correlation(given=True),
    ])  # fmt: skip


def _write_machine(plan: Plan, module: Module, shape: Shape, machine: Machine) -> None:
    """The table of transitions; those with conditions that are not stated as code stay open."""
    state, trigger = f"Enum{plan.name}State", f"Enum{plan.name}Trigger"
    table: dict[tuple[str, str], Transition] = {}
    exact = [t for t in machine.transitions if t.source != "*"]
    for transition in exact:
        table.setdefault((transition.source, transition.trigger), transition)
    for transition in machine.transitions:
        if transition.source == "*":
            for source in machine.states:
                if source not in machine.final:
                    table.setdefault((source, transition.trigger), transition)
    keys = {key: f"({shape.steps[key[0]]}, {shape.triggers[key[1]]})" for key in table}
    rows = "".join(f"    {keys[key]}: {shape.steps[t.target]},\n" for key, t in table.items())
    module.add(f"TRANSITIONS: dict[tuple[{state}, {trigger}], {state}] = {{\n{rows}}}")
    _write_conditions(plan, module, {keys[key]: t for key, t in table.items() if t.conditions})
    acts = "".join(
        f"    {keys[key]}: ({''.join(shape.intents[i] + ', ' for i in dict.fromkeys(t.intents))}),\n"
        for key, t in table.items() if t.intents
    )  # fmt: skip
    if acts:
        intent = f"Enum{plan.name}Intent"
        module.add(f"INTENTS: dict[tuple[{state}, {trigger}], tuple[{intent}, ...]] = {{\n{acts}}}")


def _write_conditions(plan: Plan, module: Module, guarded: dict[str, Transition]) -> None:
    if not guarded:
        return
    state, trigger = f"Enum{plan.name}State", f"Enum{plan.name}Trigger"
    rows = "".join(
        f"    {key}: {literal('; '.join(t.conditions))},\n" for key, t in guarded.items()
    )
    module.add(
        f"CONDITIONS: dict[tuple[{state}, {trigger}], str] = {{\n{rows}}}\n"
        '"""Transitions whose condition is stated in words only."""'
    )
    for transition in dict.fromkeys(guarded.values()):
        module.open(
            f"{transition.source} -> {transition.target}",
            f"the condition {'; '.join(transition.conditions)!r} is not evaluated: the transition raises NotImplementedError",
        )


def _write_folds(plan: Plan, module: Module, shape: Shape) -> None:
    """One function for each field of the state: its value after an event."""
    for field in shape.state:
        expression = fold(field, Facts(shape.state, shape.event, counting_names(plan.name)))
        if expression is None:
            message = f"how {field.name!r} follows from state and event is not stated"
            module.open(field.name, message)
            lines = [f"raise NotImplementedError({literal(f'{plan.class_name}: {message}')})"]
        else:
            lines = expression.split("\n")
        module.add(
            f"def _next_{field.name}(state: Model{plan.name}State, event: Model{plan.name}Event) -> "
            f"{module.annotation(field.type, field.name)}:\n"
            f"    {doc('The next ' + field.name.strip('_').replace('_', ' ') + '.')}\n"
            + textwrap.indent("\n".join(lines if lines[0].startswith(("if ", "raise ", "return ")) else [f"return {lines[0]}", *lines[1:]]), "    ")
        )  # fmt: skip


def _write_wants(plan: Plan, module: Module, shape: Shape) -> None:
    """One function for each intent: whether the new state asks for it."""
    for rule in shape.rules:
        condition = _condition(rule, shape)
        if condition is None:
            message = f"when intent {rule.name!r} is emitted is not stated"
            module.open(rule.name, message)
            line = f"raise NotImplementedError({literal(f'{plan.class_name}: {message}')})"
        else:
            line = f"return {condition}"
        module.add(
            f"def _wants_{rule.name.strip('_')}(state: Model{plan.name}State, event: Model{plan.name}Event) -> bool:\n"
            f'    """Whether the state after the event asks for this intent."""\n    {line}'
        )


def _condition(rule: IntentRule, shape: Shape) -> str | None:
    """When an intent is emitted, as an expression, where everything in it is known."""
    if not rule.words:
        return "True"
    words = re.findall(r"\w+", rule.words)
    for owner, members in (("event.trigger", shape.triggers), ("state.current_state", shape.steps)):
        named = [member for value, member in members.items() if value in words]
        if len(named) == 1:
            return f"{owner} == {named[0]}"
        if len(named) > 1 and "or" in words and rule.condition is None:
            return f"{owner} in {{{', '.join(named)}}}"
    if rule.condition is None:
        return None
    left, operator, right = rule.condition
    first, second = _operand(left, shape), _operand(right, shape)
    if first is None or second is None:
        return None
    guards = [f"{side} is not None" for side, optional in (first, second) if optional]
    return " and ".join([*guards, f"{first[0]} {operator} {second[0]}"])


def _operand(word: str, shape: Shape) -> tuple[str, bool] | None:
    """A number, or a numeric field of state or event, and whether it may be null."""
    if word[0] in "-0123456789":
        return word, False
    for owner, fields in (("state", shape.state), ("event", shape.event)):
        for field in fields:
            if field.type.numeric and field.name in {word, identifier(f"running_{word}")}:
                return f"{owner}.{field.name}", field.type.optional
    return None


def _write_reduce(plan: Plan, module: Module, shape: Shape) -> None:
    name = plan.name
    state, event, intent = f"Model{name}State", f"Model{name}Event", f"Model{name}Intent"
    lines = []
    arguments = [f"{field.name}=_next_{field.name}(state, event)" for field in shape.state]
    if shape.machine:
        lines += _machine_lines(plan, shape.machine)
        arguments.insert(0, f"{CURRENT}=TRANSITIONS[key]")
    lines.append(f"new_state = {state}({', '.join(arguments)})")
    if shape.machine and any(t.intents for t in shape.machine.transitions):
        lines.append(f"intents = [{intent}(kind=kind) for kind in INTENTS.get(key, ())]")
    else:
        lines.append(f"intents: list[{intent}] = []")
    for rule in shape.rules:
        lines.append(f"if _wants_{rule.name.strip('_')}(new_state, event):")
        lines.append(f"    intents.append({intent}(kind={shape.intents[rule.name]}))")
    lines.append("return new_state, intents")
    parameters = f"state: {state}, event: {event}" + (
        ", correlation_id: UUID" if shape.machine else ""
    )
    module.add(
        f"def {_function(plan)}({parameters}) -> tuple[{state}, list[{intent}]]:\n"
        f'    """The state after an event, and what to do now: pure, the same for the same."""\n'
        + textwrap.indent("\n".join(lines), "    ")
    )


def _function(plan: Plan) -> str:
    return f"reduce_{identifier(plan.name).strip('_')}"


def _machine_lines(plan: Plan, machine: Machine) -> list[str]:
    lines = [
        "key = (state.current_state, event.trigger)",
        "if key not in TRANSITIONS:",
        '    message = f"state {state.current_state.value!r} does not take {event.trigger.value!r}"',
        f"    raise {plan.error}({plan.codes}.INVALID_TRANSITION, message, correlation_id)",
    ]
    if any(t.conditions for t in machine.transitions):
        text = f"{plan.class_name}: the condition is open: "
        lines += [
            "if key in CONDITIONS:",
            f"    raise NotImplementedError({literal(text)} + CONDITIONS[key])",
        ]
    return lines


def _write_class(plan: Plan, module: Module) -> None:
    bases, parameters, lines = module.bases()
    constructor = ""
    if parameters:
        constructor = f"    def __init__(self, {', '.join(parameters)}) -> None:\n        {'; '.join(lines)}\n\n"
    extra = ", contract.correlation_id" if plan.reading.machine else ""
    raised = (
        f" Raises `{plan.error}` when the state does not take the event."
        if plan.reading.machine
        else ""
    )
    module.add(f"""
class {plan.class_name}{bases}:
    {doc(sentence(plan.reading.summary))}

{constructor}    async def {plan.method}(self, contract: {plan.input_model}) -> {plan.output_model}:
        {doc("Folds one event into the state." + raised, 8)}
        state, intents = {_function(plan)}(contract.state, contract.event{extra})
        return {plan.output_model}(state=state, intents=intents, correlation_id=contract.correlation_id)
{module.lifecycle(plan.input_model)}
""")
