"""What a contract says, read: the one form between the readers and the writers of code."""

from dataclasses import dataclass, field, replace
from typing import Literal

NodeType = Literal["Effect", "Compute", "Reducer", "Orchestrator"]
NODE_TYPES: tuple[NodeType, ...] = ("Effect", "Compute", "Reducer", "Orchestrator")

Base = Literal[
    "str",
    "int",
    "float",
    "bool",
    "bytes",
    "datetime",
    "date",
    "UUID",
    "json",
    "enum",
    "list",
    "dict",
]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type that generated code can spell without `Any`."""

    base: Base
    item: "FieldType | None" = None
    """What a list holds, or the values of a mapping whose keys are text."""
    values: tuple[str, ...] = ()
    """The values of an enumeration."""
    optional: bool = False

    @property
    def numeric(self) -> bool:
        return self.base in {"int", "float"}

    def plain(self) -> "FieldType":
        return replace(self, optional=False)


TEXT = FieldType("str")
INTEGER = FieldType("int")
NUMBER = FieldType("float")
BOOLEAN = FieldType("bool")
JSON = FieldType("json")
OBJECT = FieldType("dict", JSON)


def list_of(item: FieldType) -> FieldType:
    return FieldType("list", item)


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of a model."""

    name: str
    type: FieldType
    description: str = ""
    default: Scalar | tuple[()] = None
    """Meaningful when `has_default`; an empty tuple stands for an empty list or mapping."""
    has_default: bool = False
    bounds: tuple[tuple[str, float], ...] = ()
    """Keyword and number of each limit: `ge`, `gt`, `le`, `lt`, `min_length`, `max_length`."""
    original: str = ""
    """The name in the contract where it could not be kept."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that an effect does outside."""

    name: str
    description: str = ""
    input_fields: tuple[FieldSpec, ...] = ()
    output_fields: tuple[FieldSpec, ...] = ()
    idempotent: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an orchestrator's workflow."""

    name: str
    description: str = ""
    target: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow of a reducer's state machine; `source` is `*` for any state that is not final."""

    source: str
    trigger: str
    target: str
    intents: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """A reducer's finite states."""

    states: tuple[str, ...]
    initial: str
    transitions: tuple[Transition, ...]
    final: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IntentRule:
    """An intent, and when it is emitted."""

    name: str
    condition: tuple[str, str, str] | None = None
    """A comparison: `field operator value`."""
    words: str = ""
    """What the text says of when, lower-case; empty: nothing, so it is emitted with every event."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How an effect tries again."""

    max_attempts: int = 3
    base_delay_seconds: float = 0.5
    max_delay_seconds: float = 30.0
    timeout_seconds: float | None = None
    """Limit of one try, where the contract states one."""


@dataclass(frozen=True, slots=True)
class OpenPoint:
    """Something that the contract does not determine."""

    where: str
    message: str


@dataclass(slots=True)
class Reading:
    """Everything that was read from one contract."""

    name: str = ""
    """The part between `Node` and the type, such as `WebPageFetch`."""
    named: bool = False
    """Whether the contract says the name, rather than what the node does."""
    class_name: str = ""
    """The whole class name, where the contract spells it."""
    node_type: NodeType | None = None
    description: str = ""
    summary: str = ""
    """What the node does, in one sentence."""
    text: str = ""
    """Lower-case words that may determine a body."""
    input_model: str = ""
    output_model: str = ""
    input_fields: list[FieldSpec] = field(default_factory=list)
    output_fields: list[FieldSpec] = field(default_factory=list)
    computed_fields: list[FieldSpec] = field(default_factory=list)
    """What the text says is computed: the output, where nothing is said to be returned."""
    state_fields: list[FieldSpec] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    machine: Machine | None = None
    stated: set[str] = field(default_factory=set)
    """Kinds of fields that have a section of their own: sentences add none to them."""
    sure_only: bool = False
    """Whether only words that cannot mean anything else name fields."""
    intents: list[IntentRule] = field(default_factory=list)
    retry: Retry = Retry()
    idempotent: bool = True
    warnings: list[str] = field(default_factory=list)
    open_points: list[OpenPoint] = field(default_factory=list)
