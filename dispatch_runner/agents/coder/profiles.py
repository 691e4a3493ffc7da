"""Names that changed between versions of the ONEX libraries, as data."""

from dataclasses import dataclass

from dispatch_runner.agents.coder.spec import NodeType


@dataclass(frozen=True, slots=True)
class Profile:
    """How a node's class is shaped in one version."""

    name: str
    methods: dict[NodeType, str]
    """The work method of each type."""
    base_module: str = ""
    """Where the base classes `Node<Type>` are imported from; empty: there are none."""
    container_module: str = ""
    container_class: str = ""
    """The constructor's first parameter, handed to the base class."""
    lifecycle: bool = False
    """Whether the node has `validate_input` and `get_health_status`."""


def _methods(effect: str, compute: str, reducer: str, orchestrator: str) -> dict[NodeType, str]:
    return {"Effect": effect, "Compute": compute, "Reducer": reducer, "Orchestrator": orchestrator}


EXECUTE = _methods(
    "execute_effect", "execute_compute", "execute_reduction", "execute_orchestration"
)
PROCESS = _methods(
    "process_effect", "process_compute", "process_reduction", "process_orchestration"
)

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("standalone", EXECUTE),
        Profile("standalone-process", PROCESS, lifecycle=True),
        Profile(
            "omnibase-core",
            dict.fromkeys(EXECUTE, "process"),
            base_module="omnibase_core.nodes",
            container_module="omnibase_core.models.container.model_onex_container",
            container_class="ModelONEXContainer",
        ),
    )
}
DEFAULT_PROFILE = "standalone"
