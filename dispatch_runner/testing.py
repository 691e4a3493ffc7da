"""Fakes for tests of agents, and of programs that use this package. No process, no file, no network."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Agent, AgentCall, Answer, InputProblem, Role

Script = Callable[[AgentCall], Awaitable[JsonObject]]
"""What a fake agent does with a call: returns an output, raises, waits."""


class AnyInputRole:
    """A role that takes any input and believes any answer."""

    def __init__(self, name: str = "fake", writes: Iterable[str] = ()) -> None:
        self.name = name
        self._writes = tuple(writes)

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        return []

    def writes(self, value: JsonObject) -> Sequence[str]:
        return self._writes

    def missing_tools(self) -> Sequence[str]:
        return ()

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        return answer


class ScriptedBackend:
    """Answers by a script, and remembers the calls."""

    name = "scripted"

    def __init__(
        self,
        script: Script | None = None,
        *,
        provider: str | None = None,
        repairs: bool = False,
        unknown_cost: str | None = None,
    ) -> None:
        self.calls: list[AgentCall] = []
        self.provider = provider
        self.repairs = repairs
        self._script = script or _done
        self._unknown_cost = unknown_cost

    def unknown_cost(self, role: Role) -> str | None:
        return self._unknown_cost

    def unavailable(self, role: Role) -> str | None:
        return None

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        self.calls.append(call)
        return Answer(await self._script(call))


def scripted_agent(
    name: str = "fake", script: Script | None = None, *, writes: Iterable[str] = ()
) -> Agent:
    """An agent that does what the script says; without one it answers `{"done": true}` at once."""
    return Agent(name, AnyInputRole(name, writes), ScriptedBackend(script))


class FixedAgents:
    """A registry of just these agents."""

    def __init__(self, *agents: Agent) -> None:
        self._agents: Mapping[str, Agent] = {agent.name: agent for agent in agents}

    def get(self, name: str) -> Agent | None:
        return self._agents.get(name)

    def names(self) -> Sequence[str]:
        return sorted(self._agents)


async def _done(call: AgentCall) -> JsonObject:
    return {"done": True}
