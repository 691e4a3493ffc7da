"""Writes Effect nodes: a protocol for the outside thing, bounded retries, an idempotency key."""

from dispatch_runner.agents.coder.naming import GIVING
from dispatch_runner.agents.coder.plan import Plan
from dispatch_runner.agents.coder.spec import FieldSpec, FieldType, Operation
from dispatch_runner.agents.coder.words import (
    base_verb,
    constant,
    identifier,
    literal,
    sentence,
    words_of,
)
from dispatch_runner.agents.coder.write.module import Module, doc


def write_effect(plan: Plan) -> Module:
    """The module of an Effect node."""
    module = Module(plan)
    operations = plan.operations or (_single(plan),)
    module.error({"unavailable": "the outside did not answer"})
    _write_signal(plan, module)
    _write_retry(plan, module)
    _write_models(plan, module, operations)
    _write_protocol(plan, module, operations)
    _write_class(plan, module, operations)
    module.open(
        f"Protocol{plan.name}Client",
        "the outside thing has no implementation here; one is given to the constructor",
    )
    return module


def _single(plan: Plan) -> Operation:
    """The one thing that a node does whose contract lists no operations: the name's verb."""
    words = words_of(plan.reading.summary)[:1]
    third_person = (
        words
        and base_verb(words[0]) not in GIVING
        and words[0].endswith("s")
        and base_verb(words[0]) != words[0].lower()
    )
    named = words_of(plan.name)
    verb = base_verb(words[0]) if third_person else named[-1].lower() if named else "call"
    return Operation(
        identifier(verb, "call"), plan.reading.summary, idempotent=plan.reading.idempotent
    )


def _write_signal(plan: Plan, module: Module) -> None:
    module.add(f'''
class {plan.name}UnavailableError(Exception):
    """Raised by a client when another try may succeed."""
''')


def _write_retry(plan: Plan, module: Module) -> None:
    retry = plan.reading.retry
    fields: tuple[FieldSpec, ...] = (
        FieldSpec("max_attempts", FieldType("int"), "tries in all", retry.max_attempts, True, (("ge", 1), ("le", 10))),
        FieldSpec("base_delay_seconds", FieldType("float"), "wait before the second try", retry.base_delay_seconds, True, (("ge", 0.0),)),
        FieldSpec("max_delay_seconds", FieldType("float"), "longest wait", retry.max_delay_seconds, True, (("ge", 0.0),)),
    )  # fmt: skip
    if retry.timeout_seconds is not None:
        limit = FieldSpec(
            "timeout_seconds", FieldType("float"), "limit of one try", retry.timeout_seconds, True, (("gt", 0.0),)
        )  # fmt: skip
        fields = (*fields, limit)
    module.model("ModelRetryPolicy", "How often and how patiently the outside is tried again", fields, methods='''
def delay(self, attempt: int) -> float:
    """Seconds to wait after a failed try, counted from 1: doubled each time, within the limit."""
    return min(self.max_delay_seconds, self.base_delay_seconds * 2.0 ** (attempt - 1))
''')  # fmt: skip


def _write_models(plan: Plan, module: Module, operations: tuple[Operation, ...]) -> None:
    extra, methods = [module.correlation(given=False)], ""
    if len(operations) > 1:
        members = module.enum(
            f"Enum{plan.name}Operation",
            f"What {plan.class_name} can do",
            [op.name for op in operations],
        )
        extra.insert(0, f'operation: Enum{plan.name}Operation = Field(description="what to do")')
        needed = {
            members[op.name]: [
                f.name for f in op.input_fields if not f.has_default and f.name != "correlation_id"
            ]
            for op in operations
        }
        rows = ", ".join(
            f"{key}: ({''.join(literal(name) + ', ' for name in names)})"
            for key, names in needed.items()
        )
        module.use("pydantic", "model_validator")
        module.use("typing", "Self")
        module.add(f"_NEEDED: dict[Enum{plan.name}Operation, tuple[str, ...]] = {{{rows}}}")
        methods = """
@model_validator(mode="after")
def _has_what_the_operation_needs(self) -> Self:
    missing = [name for name in _NEEDED[self.operation] if getattr(self, name) is None]
    if missing:
        raise ValueError(f"operation {self.operation.value!r} needs: {', '.join(missing)}")
    return self
"""
    inputs = [field for field in plan.inputs if field.name != "operation" or len(operations) == 1]
    module.model(plan.input_model, f"Input of {plan.class_name}", inputs, extra, methods)
    module.model(
        plan.output_model,
        f"Output of {plan.class_name}",
        plan.outputs,
        [module.correlation(given=True)],
    )


def _write_protocol(plan: Plan, module: Module, operations: tuple[Operation, ...]) -> None:
    module.use("typing", "Protocol")
    methods = "\n\n".join(
        f"    async def {op.name}(self, contract: {plan.input_model}, idempotency_key: str) -> {plan.output_model}:\n"
        f"        {doc(sentence(op.description or op.name.replace('_', ' ')), 8)}\n        ..."
        for op in operations
    )
    module.add(
        f"class Protocol{plan.name}Client(Protocol):\n"
        f'    """The outside thing: does one try. Work whose key it has done before is not done again.\n\n'
        f"    Raises `{plan.name}UnavailableError` when another try may succeed.\n"
        f'    """\n\n{methods}'
    )


def _write_class(plan: Plan, module: Module, operations: tuple[Operation, ...]) -> None:
    module.use("asyncio", "sleep")
    module.use("collections.abc", "Awaitable", "Callable")
    module.use("hashlib", "sha256")
    bases, parameters, lines = module.bases()
    signature = ", ".join([
        "self", *parameters, f"client: Protocol{plan.name}Client", "*", "retry: ModelRetryPolicy | None = None",
        "wait: Callable[[float], Awaitable[None]] = sleep",
    ])  # fmt: skip
    start = "".join(f"        {line}\n" for line in lines)
    module.add(f'''
class {plan.class_name}{bases}:
    {doc(sentence(plan.reading.summary))}

    def __init__({signature}) -> None:
{start}        self._client = client
        self._retry = retry or ModelRetryPolicy()
        self._wait = wait

    async def {plan.method}(self, contract: {plan.input_model}) -> {plan.output_model}:
        """Does the work outside, with bounded retries under one idempotency key.

        Raises `{plan.error}` when the last try failed; the client's error is its cause.
        """
        key = self.idempotency_key(contract)
        attempts = {_attempts(plan, operations)}
        for attempt in range(1, attempts + 1):
            try:
                {_try(plan, module)}
            except {_caught(plan)} as error:
                if attempt == attempts:
                    raise {plan.error}(
                        {plan.codes}.UNAVAILABLE, f"gave up after {{attempt}} tries", contract.correlation_id
                    ) from error
                await self._wait(self._retry.delay(attempt))
        raise AssertionError("unreachable: there is at least one try")

    @staticmethod
    def idempotency_key(contract: {plan.input_model}) -> str:
        """The same for the same work, whatever its correlation id."""
        return sha256(contract.model_dump_json(exclude={{"correlation_id"}}).encode()).hexdigest()

{_dispatch(plan, operations)}
{module.lifecycle(plan.input_model)}
''')


def _limit(plan: Plan) -> str:
    """How long one try may take, as an expression; empty: as long as the client lets it."""
    given = [
        f.name for f in plan.inputs if f.name == "timeout_seconds" and f.type == FieldType("float")
    ]
    if given:
        return f"contract.{given[0]}"
    return "self._retry.timeout_seconds" if plan.reading.retry.timeout_seconds is not None else ""


def _try(plan: Plan, module: Module) -> str:
    if not _limit(plan):
        return "return await self._do(contract, key)"
    module.use("asyncio", "timeout")
    return f"async with timeout({_limit(plan)}):\n                    return await self._do(contract, key)"


def _caught(plan: Plan) -> str:
    return (
        f"({plan.name}UnavailableError, TimeoutError)"
        if _limit(plan)
        else f"{plan.name}UnavailableError"
    )


def _attempts(plan: Plan, operations: tuple[Operation, ...]) -> str:
    """How often it is tried: work that must not be done twice is tried once."""
    once = [op.name for op in operations if not op.idempotent]
    if not once:
        return "self._retry.max_attempts"
    if len(once) == len(operations):
        return "1  # the contract says that the work is not idempotent"
    members = ", ".join(f"Enum{plan.name}Operation.{constant(name)}" for name in once)
    return f"1 if contract.operation in {{{members}}} else self._retry.max_attempts"


def _dispatch(plan: Plan, operations: tuple[Operation, ...]) -> str:
    head = (
        f"    async def _do(self, contract: {plan.input_model}, key: str) -> {plan.output_model}:\n"
    )
    if len(operations) == 1:
        return f"{head}        return await self._client.{operations[0].name}(contract, key)\n"
    cases = "".join(
        f"            case Enum{plan.name}Operation.{constant(op.name)}:\n"
        f"                return await self._client.{op.name}(contract, key)\n"
        for op in operations
    )
    return f"{head}        match contract.operation:\n{cases}"
