"""Makes the tracebacks of `examples/mixed_workflow.json`: runs the nodes that the example generates."""

import subprocess
import sys

FOLDER = "/tmp/dispatch-runner-example"

DRIVERS = {
    "debug-relevance": """
from node_relevance_compute import ModelRelevanceInput, compute_relevance

compute_relevance(ModelRelevanceInput(query="dispatch", normalized_text="a graph of tasks"))
""",
    "debug-page-fetch": """
from uuid import UUID
from node_page_fetch_effect import (
    ModelPageFetchInput,
    ModelRetryPolicy,
    NodePageFetchEffect,
    PageFetchUnavailableError,
)

class Unplugged:
    async def fetch(self, contract, idempotency_key):
        raise PageFetchUnavailableError("connection refused")

node = NodePageFetchEffect(Unplugged(), retry=ModelRetryPolicy(max_attempts=1))
asked = ModelPageFetchInput(url="https://example.org", correlation_id=UUID(int=1))
node.execute_effect(asked).send(None)
""",
}
"""By task: a program that fails inside the node which that task analyses."""


def traceback_of(task_id: str) -> str:
    """What Python prints when the task's program is run beside the generated nodes."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVERS[task_id]], cwd=FOLDER, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    return done.stderr
