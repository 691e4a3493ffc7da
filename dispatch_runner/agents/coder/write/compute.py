"""Writes Compute nodes: a pure function of the input, and a class around it."""

import textwrap

from dispatch_runner.agents.coder.plan import Plan
from dispatch_runner.agents.coder.recipes.answers import answer
from dispatch_runner.agents.coder.recipes.question import Body, Question
from dispatch_runner.agents.coder.spec import FieldSpec
from dispatch_runner.agents.coder.words import identifier, literal, sentence
from dispatch_runner.agents.coder.write.module import Module, doc


def write_compute(plan: Plan) -> Module:
    """The module of a Compute node."""
    module = Module(plan)
    bodies = {
        field.name: answer(Question(field, plan.inputs, plan.reading.text, plan.outputs))
        for field in plan.outputs
    }
    raises = any(body is None or "{error}" in "".join(body.lines) for body in bodies.values())
    if raises:
        module.error({"invalid_input": "the input has no result"})
    module.model(
        plan.input_model,
        f"Input of {plan.class_name}",
        plan.inputs,
        [module.correlation(given=False)],
    )
    module.model(
        plan.output_model,
        f"Output of {plan.class_name}",
        plan.outputs,
        [module.correlation(given=True)],
    )
    for field in plan.outputs:
        _write_field(plan, module, field, bodies[field.name])
    _write_class(plan, module, raises=raises)
    return module


def _write_field(plan: Plan, module: Module, field: FieldSpec, body: Body | None) -> None:
    """The function that computes one output field, or says that it is open."""
    annotation = module.annotation(field.type, field.name)
    if body is None:
        message = f"how {field.name!r} follows from the input is not stated"
        module.open(field.name, message)
        lines = [f"raise NotImplementedError({literal(f'{plan.class_name}: {message}')})"]
    else:
        lines = _lines(plan, module, body)
    about = sentence(field.description or field.name.replace("_", " "))
    if body is not None and body.note:
        about = f"{about} {body.note}"
    module.add(
        f"def _{field.name}(contract: {plan.input_model}) -> {annotation}:\n"
        f"    {doc(about)}\n" + textwrap.indent("\n".join(lines), "    ")
    )


def _lines(plan: Plan, module: Module, body: Body) -> list[str]:
    for name, imported in body.imports:
        module.use(name, imported)
    if any("_JSON" in line for line in body.lines):
        module.add("_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)")
    raising = f"raise {plan.error}({plan.codes}.INVALID_INPUT, "
    lines = []
    for line in body.lines:
        start, found, rest = line.partition("{error}(")
        chained = " from None" if body.lines[0] == "try:" else ""
        lines.append(
            f"{start}{raising}{rest[:-1]}, contract.correlation_id){chained}" if found else line
        )
    return lines


def _write_class(plan: Plan, module: Module, *, raises: bool) -> None:
    told = f" Raises `{plan.error}` when the input has no result." if raises else ""
    bases, parameters, lines = module.bases()
    arguments = "".join(
        f"        {field.name}=_{field.name}(contract),\n" for field in plan.outputs
    )
    function = f"compute_{identifier(plan.name).strip('_')}"
    module.add(
        f"def {function}(contract: {plan.input_model}) -> {plan.output_model}:\n"
        f'    """The output for an input: the same for the same, and nothing else happens."""\n'
        f"    return {plan.output_model}(\n{arguments}        correlation_id=contract.correlation_id,\n    )"
    )
    constructor = ""
    if parameters:
        constructor = f"    def __init__(self, {', '.join(parameters)}) -> None:\n        {'; '.join(lines)}\n\n"
    module.add(f"""
class {plan.class_name}{bases}:
    {doc(sentence(plan.reading.summary))}

{constructor}    async def {plan.method}(self, contract: {plan.input_model}) -> {plan.output_model}:
        {doc(f"Computes the output.{told}", 8)}
        return {function}(contract)
{module.lifecycle(plan.input_model)}
""")
