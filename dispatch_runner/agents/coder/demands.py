"""What a module has to be, in words: taken from what judges it."""

from collections.abc import Iterator

from dispatch_runner.agents.coder import tools
from dispatch_runner.agents.coder.gates import LEVELS
from dispatch_runner.agents.coder.models import Level, NodeType
from dispatch_runner.agents.coder.profiles import Profile
from dispatch_runner.agents.coder.structure import PREFIXES
from dispatch_runner.analysis.onex.check import RULES

PURPOSE: dict[NodeType, str] = {
    "Effect": "An Effect reaches outside: input and output, behind a protocol that is given to its constructor",
    "Compute": "A Compute is a pure transformation: the same for the same, no side effect",
    "Reducer": "A Reducer folds events into a state and emits intents; it does no input or output",
    "Orchestrator": "An Orchestrator coordinates other nodes, which are given to its constructor, and does no work itself",
}
_PREFIXED = ", ".join(
    f"`{prefix}` below {' and '.join(base for base in PREFIXES if PREFIXES[base] == prefix)}"
    for prefix in dict.fromkeys(PREFIXES.values())
)
GATES = {
    "syntax": "it parses as Python 3.11, in UTF-8",
    "lint": f"ruff finds nothing: rules {tools.RUFF_RULES} without {tools.RUFF_IGNORED}, line length 100",
    "naming": "exactly one class is named Node<Name><Type> for the type asked for; the name of a class starts"
    f" with {_PREFIXED}",
    "import": "it imports in a clean interpreter: the standard library, pydantic and what its shape "
    "names are installed; importing it does nothing but define",
    "models": "each of its pydantic models can be made, survives JSON, and refuses an unknown field"
    " (`ConfigDict(extra='forbid')`)",
    "types": "`mypy --strict` finds nothing, and `Any` is nowhere",
    "self_test": "the node can be made with stand-ins for its constructor's parameters (each annotated with a"
    " model or a protocol), and its work method, tried with plain values of its input model, gives its"
    " output model within seconds, without changing its input; a Compute and a Reducer give the same twice",
}
"""What has to hold, by gate. A gate without an entry blocks nothing."""


def blocking(level: Level) -> str:
    """What refuses a module at this level, a line each."""
    return _listed(GATES[gate] for gate in LEVELS[level])


def rules(node_type: NodeType) -> str:
    """The rules of the architecture that bear on this type of node, a line each."""
    types = tuple(f"{known.lower()}-" for known in PURPOSE)
    own = f"{node_type.lower()}-"
    return _listed(
        f"{rule.name} ({rule.severity}): {rule.demand}"
        for rule in RULES
        if rule.name.startswith(own)
        or (rule.severity != "minor" and not rule.name.startswith(types))
    )


def shape(node_type: NodeType, profile: Profile) -> str:
    """The class as this profile has it."""
    return "\n".join([f"{PURPOSE[node_type]}.", _listed(_shape(node_type, profile))])


def _shape(node_type: NodeType, profile: Profile) -> Iterator[str]:
    yield (
        f"its work method is `async def {profile.methods[node_type]}(self, contract: <input model>)"
        " -> <output model>`: one pydantic model in, one out, both annotated"
    )
    if profile.base_module:
        yield f"it derives from `Node{node_type}` of `{profile.base_module}`"
        yield (
            f"its constructor takes `container: {profile.container_class}` of"
            f" `{profile.container_module}` first and hands it to `super().__init__`"
        )
    else:
        yield "it has no base class; besides the standard library it imports pydantic only"
    if profile.lifecycle:
        yield (
            "it also has `async def validate_input(self, contract: <input model>) -> <input model>`"
            " and `async def get_health_status(self) -> bool`"
        )


def _listed(lines: Iterator[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)
