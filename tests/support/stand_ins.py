"""What a backend gives to its program, as the stand-in for that wrote it down."""

import json
from typing import Any

from dispatch_runner.protocols import Question
from support.agent_suite import Agent, agent_call, role_of


async def asked(
    agent: Agent, question: Question, scenario: str = "success", **options: Any
) -> None:
    """Has it asked; how it answers is of no interest."""
    async with agent.backend(scenario, **options) as backend:
        await backend.answer(role_of(question), agent_call(agent.folder))


def given(agent: Agent) -> Any:
    """Flags, settings and environment of the stand-in that ran last."""
    return json.loads((agent.folder / "workspace/given.json").read_text())
