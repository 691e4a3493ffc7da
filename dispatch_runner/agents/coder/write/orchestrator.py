"""Writes Orchestrator nodes: steps that start when those they need have ended, under a lease."""

import re

from dispatch_runner.agents.coder.plan import Plan
from dispatch_runner.agents.coder.spec import FieldSpec, Step
from dispatch_runner.agents.coder.words import identifier, literal, sentence
from dispatch_runner.agents.coder.write.module import Module, doc


def write_orchestrator(plan: Plan) -> Module:
    """The module of an Orchestrator node."""
    module = Module(plan)
    steps = plan.reading.steps or _placeholder(plan, module)
    module.error(
        {
            "lease_lost": "another epoch holds the lease",
            "step_failed": "a step did not succeed",
            "incomplete": "the steps gave no value for an output field",
        }
    )
    members = module.enum(
        f"Enum{plan.name}Step", f"The steps of {plan.class_name}", [step.name for step in steps]
    )
    _write_models(plan, module, steps)
    _write_protocols(plan, module)
    _write_table(plan, module, steps, members)
    _write_class(plan, module, steps)
    module.open(
        f"Protocol{plan.name}Dispatcher", "who carries out an action is given to the constructor"
    )
    module.open(f"Protocol{plan.name}Leases", "where leases are kept is given to the constructor")
    return module


def _placeholder(plan: Plan, module: Module) -> list[Step]:
    name = identifier(plan.name)
    module.open("steps", f"the contract names no steps; there is one, {name!r}")
    return [Step(name, plan.reading.description)]


def _write_models(plan: Plan, module: Module, steps: list[Step]) -> None:
    module.use("pydantic", "JsonValue", "Field")
    module.use("uuid", "UUID")
    module.model(f"Model{plan.name}Lease", "The right to issue actions: one holder at a time, each with a higher epoch", (), [
        'lease_id: UUID = Field(description="which lease")',
        'epoch: int = Field(ge=0, description="grows with each holder; older ones are refused")',
    ])  # fmt: skip
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
    targets = (
        [
            'target: str = Field(description="the node that carries it out; empty: the dispatcher knows")'
        ]
        if any(step.target for step in steps)
        else []
    )
    module.model(f"Model{plan.name}Action", "What a step asks another node to do, under a lease", (), [
        f'step: Enum{plan.name}Step = Field(description="which step")',
        *targets,
        'payload: dict[str, JsonValue] = Field(description="the input and what earlier steps gave")',
        f'lease: Model{plan.name}Lease = Field(description="under which it is issued")',
        module.correlation(given=True),
    ])  # fmt: skip


def _write_protocols(plan: Plan, module: Module) -> None:
    module.use("typing", "Protocol")
    module.add(f'''
class Protocol{plan.name}Dispatcher(Protocol):
    """Carries out actions."""

    async def issue(self, action: Model{plan.name}Action) -> dict[str, JsonValue]:
        """What the step gave. Raises anything when it did not succeed."""
        ...
''')
    module.add(f'''
class Protocol{plan.name}Leases(Protocol):
    """Keeps the leases."""

    async def acquire(self, correlation_id: UUID) -> Model{plan.name}Lease:
        """A lease with an epoch above all earlier ones."""
        ...

    async def is_current(self, lease: Model{plan.name}Lease) -> bool:
        """Whether no later epoch was given out."""
        ...

    async def release(self, lease: Model{plan.name}Lease) -> None:
        """Gives the lease back."""
        ...
''')


def _write_table(plan: Plan, module: Module, steps: list[Step], members: dict[str, str]) -> None:
    rows = "".join(
        f"    {members[step.name]}: ({''.join(members[need] + ', ' for need in step.needs)}),\n"
        for step in steps
    )
    enum = f"Enum{plan.name}Step"
    module.add(
        f"STEPS: dict[{enum}, tuple[{enum}, ...]] = {{\n{rows}}}\n"
        '"""Each step with those that must have ended before it; a step stands after what it needs."""'
    )
    if not any(step.target for step in steps):
        return
    targets = "".join(
        f"    {members[step.name]}: {literal(step.target)},\n" for step in steps if step.target
    )
    module.add(
        f"TARGETS: dict[{enum}, str] = {{\n{targets}}}\n"
        '"""The node that carries out a step, where the contract says."""'
    )


KNOWN = (
    (r"(?:completed_steps|steps_completed|steps|executed_steps)", "list", "[step.value for step in results]"),
    (r"(?:step_count|steps_count|completed_count|completed_step_count|steps_executed)", "int", "len(results)"),
    (r"(?:results|step_results|outputs)", "dict", "{step.value: dict(result) for step, result in results.items()}"),
    (r"(?:is_)?(?:\w+_)?(?:success|succeeded|completed?|ok)", "bool", "True"),
    (r"(?:status|final_status|workflow_status|state)", "str", '"completed"'),
)  # fmt: skip


def _value(field: FieldSpec, plan: Plan) -> str | None:
    """The expression of an output field, or null: it is taken from the steps' results by its name."""
    for pattern, base, expression in KNOWN:
        if re.fullmatch(pattern, field.name) and field.type.base == base:
            return expression
    if re.fullmatch(r"(?:workflow_)?status|state", field.name) and field.type.base == "enum":
        done = next(
            (
                v
                for v in field.type.values
                if v.lower() in {"completed", "success", "succeeded", "done"}
            ),
            "",
        )
        return literal(done) if done else None
    same = next((f for f in plan.inputs if f.name == field.name and f.type == field.type), None)
    return f"contract.{same.name}" if same else None


def _write_class(plan: Plan, module: Module, steps: list[Step]) -> None:
    targeted = any(step.target for step in steps)
    target = '            target=TARGETS.get(step, ""),\n' if targeted else ""
    module.use("asyncio", "Task", "TaskGroup")
    module.use("pydantic", "ValidationError")
    name, step = plan.name, f"Enum{plan.name}Step"
    lease, results = f"Model{name}Lease", f"dict[{step}, dict[str, JsonValue]]"
    bases, parameters, lines = module.bases()
    signature = ", ".join(
        [
            "self",
            *parameters,
            f"dispatcher: Protocol{name}Dispatcher",
            f"leases: Protocol{name}Leases",
        ]
    )
    start = "".join(f"        {line}\n" for line in lines)
    module.add(f'''
class {plan.class_name}{bases}:
    {doc(sentence(plan.reading.summary))}

    def __init__({signature}) -> None:
{start}        self._dispatcher = dispatcher
        self._leases = leases

    async def {plan.method}(self, contract: {plan.input_model}) -> {plan.output_model}:
        """Runs the steps, each as soon as those it needs have ended, and gives the lease back.

        Raises `{plan.error}` when a step fails or the lease is lost; what runs is cancelled first.
        """
        lease = await self._leases.acquire(contract.correlation_id)
        try:
            results = await self._run_all(contract, lease)
        finally:
            await self._leases.release(lease)
        return self._output(contract, results)

    async def _run_all(self, contract: {plan.input_model}, lease: {lease}) -> {results}:
        tasks: dict[{step}, Task[dict[str, JsonValue]]] = {{}}
        try:
            async with TaskGroup() as group:
                for step, needs in STEPS.items():
                    earlier = {{need: tasks[need] for need in needs}}
                    tasks[step] = group.create_task(self._run(step, earlier, contract, lease))
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            if isinstance(first, {plan.error}):
                raise first from first.__cause__
            raise
        return {{step: task.result() for step, task in tasks.items()}}

    async def _run(
        self,
        step: {step},
        earlier: dict[{step}, Task[dict[str, JsonValue]]],
        contract: {plan.input_model},
        lease: {lease},
    ) -> dict[str, JsonValue]:
        given: dict[str, JsonValue] = {{need.value: await task for need, task in earlier.items()}}
        if not await self._leases.is_current(lease):
            raise {plan.error}(
                {plan.codes}.LEASE_LOST, f"before step {{step.value!r}}", contract.correlation_id
            )
        action = Model{name}Action(
            step=step,
{target}            payload={{"input": contract.model_dump(mode="json"), "results": given}},
            lease=lease,
            correlation_id=contract.correlation_id,
        )
        try:
            return await self._dispatcher.issue(action)
        except Exception as error:
            raise {plan.error}(
                {plan.codes}.STEP_FAILED, f"step {{step.value!r}}: {{error}}", contract.correlation_id
            ) from error

{_output(plan, results)}
{module.lifecycle(plan.input_model)}
''')


def _output(plan: Plan, results: str) -> str:
    """The method that builds the output from the input and the steps' results."""
    known = {field.name: _value(field, plan) for field in plan.outputs}
    rows = "".join(
        f"            {literal(name)}: {value},\n" for name, value in known.items() if value
    )
    taken = [name for name, value in known.items() if not value]
    found = ""
    if taken:
        names = ", ".join(literal(name) for name in taken)
        found = (
            f"        for result in results.values():\n"
            f"            values.update({{key: result[key] for key in ({names},) if key in result}})\n"
        )
    if plan.outputs == tuple(f for f in plan.outputs if f.name == "result") and not known.get(
        "result"
    ):
        rows = '            "result": {step.value: dict(result) for step, result in results.items()},\n'
        found = ""
    return f'''
    @staticmethod
    def _output(contract: {plan.input_model}, results: {results}) -> {plan.output_model}:
        """The output; a field that the workflow does not give itself is the last step's of that name."""
        values: dict[str, object] = {{
{rows}            "correlation_id": contract.correlation_id,
        }}
{found}        try:
            return {plan.output_model}.model_validate(values)
        except ValidationError as error:
            raise {plan.error}(
                {plan.codes}.INCOMPLETE, str(error), contract.correlation_id
            ) from error
'''.strip("\n")
