"""The role `echo`: returns its input. For trying things out, smoke tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.protocols import AgentCall, Answer, InputProblem

if TYPE_CHECKING:
    from dispatch_runner.paths import AllowedRoots


class EchoRole:
    """Any JSON object is a valid input, an empty one too, and is its own answer."""

    name = "echo"
    input_model = None
    output_model = None

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        """Nothing can be wrong."""
        return []

    def writes(self, value: JsonObject) -> Sequence[str]:
        """Nothing."""
        return ()

    def missing_tools(self) -> Sequence[str]:
        """None: it needs no program."""
        return ()

    async def solve(self, call: AgentCall) -> Answer:
        """The input itself, not a copy."""
        return Answer(call.input)

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        """The answer, when it equals the input.

        Raises:
            AgentError: `bad_output` otherwise.
        """
        if answer.output is call.input or answer.output == call.input:
            return answer
        raise AgentError(ErrorType.BAD_OUTPUT, "the output differs from the input")
