"""What a program that is an agent gets on stdin."""

from dataclasses import dataclass

from dispatch_runner.models.json import JsonObject


@dataclass(slots=True)
class Envelope:
    """One attempt, as one JSON object on the program's stdin."""

    task_id: str
    agent: str
    """The name that the request used."""
    description: str
    input: JsonObject
    """The task's `input_data` with its references resolved."""
    dependencies: dict[str, JsonObject | None]
    """Output of each direct dependency; null for one that did not succeed."""
    correlation_id: str
    """UUID of the dispatch."""
    attempt: int
    """1 for the first."""
    workspace: str
    """Absolute path of the working directory."""
