"""How a program can end without an answer, whatever agent it is."""

from collections.abc import Sequence

from dispatch_runner.backends.shared.programs import evidence, last_line
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.process import Completed, cut

SAID_LIMIT = 500
"""Characters of what a program said, in a message."""

MOST_DENIALS = 20
"""In the details of an error."""

MORE_ACCESS = 'give the agent more access (access = "edit" or "execute"), or ask for less'


def crashed(
    program: str,
    completed: Completed,
    *,
    kind: ErrorType = ErrorType.CRASHED,
    session: str | None = None,
) -> AgentError:
    """It ended by a signal, by a limit, or with an exit code of which no more is known."""
    last, retryable, hint = last_line(completed), None, None
    if completed.exceeded is not None:
        how = f"was ended by {completed.exceeded}"
        retryable, hint = False, "raise the limit in the agent's definition, or give it less to do"
    elif completed.signal is not None:
        how = f"was killed by {completed.signal}"
        if completed.signal == "SIGKILL":
            hint = "the system kills programs when memory is short"
    else:
        how = f"ended with exit code {completed.returncode}"
    said = f": {cut(last, SAID_LIMIT)}" if last else ""
    return AgentError(
        kind,
        f"{program!r} {how}{said}",
        retryable=retryable,
        hint=hint,
        details=evidence(completed),
        session=session,
    )


def unreadable(program: str, completed: Completed) -> AgentError:
    """It ended as if all were well, and said nothing that can be understood."""
    message = f"{program!r} ended without an answer that can be read"
    return AgentError(ErrorType.BAD_OUTPUT, message, details=evidence(completed))


def denied(program: str, what: Sequence[str], session: str | None = None) -> AgentError:
    """It was refused what it tried, whatever it says of the outcome."""
    return AgentError(
        ErrorType.PERMISSION_DENIED,
        f"{program!r} was not allowed what it needed: {cut(what[0], SAID_LIMIT)}",
        hint=MORE_ACCESS,
        details={"denied": [cut(each, SAID_LIMIT) for each in what[:MOST_DENIALS]]},
        session=session,
    )
