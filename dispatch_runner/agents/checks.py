"""Acceptance checks: the operator's programs that judge what an agent did."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import anyio

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.process import Completed, cut, run
from dispatch_runner.protocols import AgentCall, Answer
from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT, passed_environment

if TYPE_CHECKING:
    from dispatch_runner.settings.schema import CheckSettings

PRINTED_LIMIT = 4_000
"""Characters of each output in the failure."""

QUOTED_LIMIT = 200
"""Characters of its last line in the message."""


class CommandChecks:
    """Checks by programs. A program may read the answer as JSON on stdin; exit code 0 passes."""

    def __init__(self, checks: Mapping[str, "CheckSettings"]) -> None:
        self._checks = checks

    async def check(self, names: Sequence[str], call: AgentCall, answer: Answer) -> None:
        """Runs each once, in the call's workspace, in the order in which they are named.

        Raises `AgentError`: `check_failed` for the first that does not pass or takes too long, with
        the tail of what it printed; `unavailable` when it cannot be started.
        """
        for name in dict.fromkeys(names):
            await self._run(name, self._checks[name], call, answer)

    async def _run(
        self, name: str, check: "CheckSettings", call: AgentCall, answer: Answer
    ) -> None:
        import orjson

        completed = None
        try:
            with anyio.move_on_after(check.timeout_seconds):
                completed = await run(
                    check.command,
                    env={
                        **passed_environment(check.env or DEFAULT_ENVIRONMENT),
                        "DISPATCH_RUNNER_TASK_ID": call.task_id,
                    },
                    cwd=call.workspace,
                    stdin=orjson.dumps(answer.output),
                    hurry=call.hurry,
                )
        except AgentError as error:
            error.message = f"check '{name}': {error.message}"
            raise
        passed = completed is not None and completed.returncode == 0
        call.log.tell("check", check=name, passed=passed)
        call.meter.pulse()
        if not passed:
            raise _failure(name, check, completed)


def _failure(name: str, check: "CheckSettings", completed: Completed | None) -> AgentError:
    if completed is None:
        message = f"check '{name}' did not end within {check.timeout_seconds:g} s"
        return AgentError(ErrorType.CHECK_FAILED, message, details={"check": name})
    ended = (
        f"was killed by {completed.signal}"
        if completed.signal
        else f"ended with exit code {completed.returncode}"
    )
    printed = {
        stream: output.tail(PRINTED_LIMIT)
        for stream, output in (("stdout", completed.stdout), ("stderr", completed.stderr))
        if output.size
    }
    said = _last_line(*printed.values())
    return AgentError(
        ErrorType.CHECK_FAILED,
        f"check '{name}' did not pass: {check.command[0]!r} {ended}"
        + (f": {said}" if said else ""),
        details={"check": name, "exit_code": completed.returncode, **printed},
    )


def _last_line(*outputs: str) -> str:
    """What was printed last, on stderr where there is something; bounded."""
    lines = [line.strip() for output in outputs for line in output.splitlines() if line.strip()]
    return cut(lines[-1], QUOTED_LIMIT) if lines else ""
