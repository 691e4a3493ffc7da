"""Any program that speaks the Agent Client Protocol, version 1: one backend for the long tail of agents.

The program is the agent's `command`, such as `["gemini", "--acp"]`. It is started for each round, and
given neither our file system nor terminals: it has its own.
"""

from dispatch_runner.backends.acp.connection import Connection
from dispatch_runner.backends.acp.policy import Policy
from dispatch_runner.backends.acp.session import Session
from dispatch_runner.backends.acp.turn import Turn
from dispatch_runner.backends.shared.agent_program import AgentProgram
from dispatch_runner.backends.shared.programs import (
    call_output,
    call_variables,
    leftovers,
    resource_limits,
)
from dispatch_runner.backends.shared.prompts import question_of
from dispatch_runner.process import OUTPUT_LIMIT
from dispatch_runner.process.dialogue import dialogue
from dispatch_runner.protocols import AgentCall, Answer, Role
from dispatch_runner.settings.backend_options import BackendOptions

GRACE_SECONDS = 2.0
"""How long a program may take to end after its stdin was closed, and after each signal."""


class AcpBackend:
    """Answers by asking an agent over the Agent Client Protocol."""

    name = "acp"
    repairs = True

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self.program = AgentProgram(options, "acp", grace_seconds=GRACE_SECONDS)
        self.provider = options.provider or self.program.name.rpartition("/")[2]

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role on this machine, or null."""
        return self.program.unavailable(role)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known: the protocol does not ask for it."""
        return f"{self.program.name!r} need not tell what it costs: the protocol leaves that open"

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The agent's answer to this round.

        When it is cancelled, the agent is told so, and its program and all its descendants have ended
        before it returns.
        """
        question = await question_of(role, call)
        folder = call.folder(self._options.cwd)
        environment = {**self.program.environment, **self.program.key_variable}
        policy = Policy(question, self._options.access, call.roots, str(folder))
        turn = Turn(call, self.program.name, policy, self._options.max_turns)
        call.meter.pulse()
        with call_output(call) as (stdout, stderr):
            async with dialogue(
                self.program.command,
                env={**environment, **call_variables(call)},
                cwd=folder,
                stdout=stdout,
                stderr=stderr,
                output_limit=self._options.output_limit or OUTPUT_LIMIT,
                grace_seconds=self.program.grace_seconds,
                hurry=call.hurry,
                limits=resource_limits(self._options),
            ) as program:
                connection = Connection(program, self.program.name, turn)
                session = Session(
                    connection,
                    turn,
                    call,
                    model=self._options.model,
                    environment=environment,
                )
                answer = await connection.during(lambda: session.answer(question, str(folder)))
        answer.warnings += leftovers(program.leftovers, self.program.name)
        return answer


def build(options: BackendOptions) -> AcpBackend:
    """The backend of an agent; `options.command` is there."""
    return AcpBackend(options)
