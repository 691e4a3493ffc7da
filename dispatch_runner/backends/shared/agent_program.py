"""An agent's own command line as a backend: run once for each round, its events read as they come."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from dispatch_runner.backends.shared.programs import (
    call_output,
    call_variables,
    missing_program,
    resource_limits,
)
from dispatch_runner.backends.shared.prompts import unprompted
from dispatch_runner.models import JsonObject
from dispatch_runner.process import OUTPUT_LIMIT, Completed, stream
from dispatch_runner.protocols import AgentCall, Role
from dispatch_runner.settings.backend_options import BackendOptions
from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT, passed_environment

NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE",
)  # fmt: skip
"""Variables without which some machines reach no provider."""

GRACE_SECONDS = 5.0
"""How long an agent's program may take to end after SIGINT, with which some report what they spent,
and after SIGTERM."""


class AgentProgram:
    """Where the program is, what it sees, and how it is run. Shared by backends, for all calls."""

    def __init__(
        self,
        options: BackendOptions,
        program: str,
        credentials: Sequence[str] = (),
        *,
        install: str | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """
        Args:
            options: the operator's; its `command` goes before `program`.
            program: the command's usual name.
            credentials: the variables that it needs besides the usual ones, when the operator names
                none: the keys and addresses of its provider.
            install: the command that installs it; null: the operator knows.
            grace_seconds: how long it may take to end after each signal, unless the operator says.
        """
        self.command = options.command or (program,)
        self.name = self.command[0]
        own = options.grace_seconds
        self.grace_seconds = grace_seconds if own is None else own
        self._env = options.env or (*DEFAULT_ENVIRONMENT, *credentials)
        self._install = install
        self._options = options

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot answer for a role on this machine, or null. Starts nothing."""
        if reason := unprompted(role):
            return reason
        if missing := missing_program(self.command[0], self.environment, self._options.cwd):
            return (
                missing
                if self._install is None
                else f"{missing}: install it with '{self._install}'"
            )
        if self._options.api_key_env is not None and self.key is None:
            return f"the environment has no {self._options.api_key_env!r}, which api_key_env names"
        return None

    @property
    def key(self) -> str | None:
        """The key that the operator's `api_key_env` names; null: none is named, or it is not there."""
        name = self._options.api_key_env
        return None if name is None else os.environ.get(name)

    @property
    def key_variable(self) -> Mapping[str, str]:
        """The key under the operator's name for it, for programs that look for it there."""
        name, key = self._options.api_key_env, self.key
        return {} if name is None or key is None else {name: key}

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
        call.meter.pulse()
        with call_output(call) as (stdout, stderr):
            return await stream(
                [*self.command, *arguments],
                env={**self.environment, **call_variables(call), **(variables or {})},
                cwd=call.folder(self._options.cwd),
                stdin=stdin.encode(),
                stdout=stdout,
                stderr=stderr,
                on_line=lambda line: _hand_over(line, on_event),
                output_limit=self._options.output_limit or OUTPUT_LIMIT,
                grace_seconds=self.grace_seconds,
                hurry=call.hurry,
                limits=resource_limits(self._options),
            )


def _hand_over(line: bytes, on_event: Callable[[JsonObject], None]) -> None:
    import orjson

    if not line.startswith(b"{"):
        return
    try:
        event: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    on_event(event)
