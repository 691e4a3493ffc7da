"""One run of an agent's program from start to end, with somebody who understands what it says."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from dispatch_runner.backends.shared.agent_program import AgentProgram
from dispatch_runner.backends.shared.following import looking
from dispatch_runner.backends.shared.prices import load_prices
from dispatch_runner.models import JsonObject
from dispatch_runner.process import Completed
from dispatch_runner.protocols import AgentCall


class Turn(Protocol):
    """What one run of a program says, does and consumes, and what that amounts to."""

    def event(self, event: JsonObject) -> None:
        """The program printed an object. Raises `AgentError` when it must be stopped."""
        ...

    def look(self) -> None:
        """Called from time to time: for what it writes elsewhere. Raises as `event` does."""
        ...

    def settle(self) -> None:
        """Counts what was not told. The program has ended, whatever the reason."""
        ...

    def check(self, completed: Completed) -> None:
        """Raises `AgentError` unless the turn came to a good end."""
        ...


async def run_turn(
    program: AgentProgram,
    turn: Turn,
    arguments: Sequence[str],
    call: AgentCall,
    *,
    stdin: str,
    variables: Mapping[str, str],
) -> Completed:
    """How the program ended, when the turn came to a good end. Raises `AgentError`.

    Parameters are those of `AgentProgram.run`; prices are loaded meanwhile.
    """
    try:
        completed = await looking(
            lambda: program.run(arguments, call, turn.event, stdin=stdin, variables=variables),
            turn.look,
            load_prices,
        )
    finally:
        turn.settle()
    turn.check(completed)
    return completed
