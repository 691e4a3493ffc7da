"""What `validate` says about a request that is in order: how it would run. Pure."""

from dataclasses import asdict, dataclass

from dispatch_runner.models import JsonObject


@dataclass(frozen=True, slots=True)
class Plan:
    """How a request would run if nothing failed. Times are null when no task has an estimate."""

    tasks: int
    agents: dict[str, int]
    """How many tasks each agent has."""
    layers: list[list[str]]
    """Task ids by depth: each layer depends only on earlier ones. Nothing runs by layers."""
    critical_path: list[str]
    """The longest chain of dependent tasks, first to last."""
    critical_path_seconds: float | None
    total_estimated_seconds: float | None
    """The sum over all tasks: what one worker would take."""
    estimated_makespan_seconds: float | None
    """What the configured number of workers would take."""
    widest_point: int
    """The most tasks that would run at once if workers were not limited."""
    missing_tools: list[str]
    """What an agent of the request needs and this machine lacks."""


def plan_json(plan: Plan) -> JsonObject:
    """The plan as a JSON object, seconds rounded to milliseconds; `depth` is the number of layers."""
    fields = asdict(plan)
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items()}
    return {"depth": len(plan.layers), **rounded}
