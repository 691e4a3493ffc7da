"""An agent's own command line as a backend: run once for each round, its events read as they come."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from dispatch_runner.backends.shared.programs import (
    call_variables,
    kept,
    missing_program,
    output_files,
    resource_limits,
)
from dispatch_runner.models import JsonObject
from dispatch_runner.process import OUTPUT_LIMIT, Completed, stream
from dispatch_runner.protocols import AgentCall
from dispatch_runner.settings.backend_options import BackendOptions
from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT, passed_environment

GRACE_SECONDS = 5.0
"""How long an agent's program may take to end after SIGINT, with which some report what they spent,
and after SIGTERM."""


class AgentProgram:
    """Where the program is, what it sees, and how it is run. Shared by backends, for all calls."""

    def __init__(self, options: BackendOptions, program: str, credentials: Sequence[str]) -> None:
        """
        Args:
            options: the operator's; its `command` goes before `program`.
            program: the command's usual name.
            credentials: the variables that it needs besides the usual ones, when the operator names
                none: the keys and addresses of its provider.
        """
        self.command = options.command or (program,)
        self.name = self.command[0]
        self._env = options.env or (*DEFAULT_ENVIRONMENT, *credentials)
        self._options = options

    def missing(self) -> str | None:
        """Why it cannot be started here, or null."""
        return missing_program(self.command[0], self.environment, self._options.cwd)

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """What it sees of our environment."""
        return passed_environment(self._env)

    async def run(
        self,
        arguments: Sequence[str],
        call: AgentCall,
        on_event: Callable[[JsonObject], None],
        *,
        stdin: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> Completed:
        """Runs it in the call's workspace; hands over each JSON object that it prints on a line of its
        own, as soon as it is there. Other lines are only kept in the output's file.

        When it is cancelled, the program and all its descendants have ended before it returns.

        Args:
            arguments: those after the command.
            call: for which it runs; its log gets the names of the output's files.
            on_event: what it raises ends the program, and is raised.
            stdin: what the program reads.
            variables: of its environment, besides those that it sees of ours.
        """
        stdout, stderr = output_files(call)
        call.meter.pulse()
        try:
            return await stream(
                [*self.command, *arguments],
                env={**self.environment, **call_variables(call), **(variables or {})},
                cwd=call.folder(self._options.cwd),
                stdin=stdin.encode(),
                stdout=stdout,
                stderr=stderr,
                on_line=lambda line: _hand_over(line, on_event),
                output_limit=self._options.output_limit or OUTPUT_LIMIT,
                grace_seconds=_or(self._options.grace_seconds, GRACE_SECONDS),
                hurry=call.hurry,
                limits=resource_limits(self._options),
            )
        finally:
            call.log.stdout_file = kept(stdout)
            call.log.stderr_file = kept(stderr)


def _hand_over(line: bytes, on_event: Callable[[JsonObject], None]) -> None:
    import orjson

    if not line.startswith(b"{"):
        return
    try:
        event: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    on_event(event)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
