"""What the errors mean that agents answer with over the Agent Client Protocol.

The protocol has a code of its own for a missing log-in only. For the rest, agents put the provider's
status into the code, the data or the message, or pass on its words.
"""

from typing import Any

from dispatch_runner.backends.acp.connection import RpcError
from dispatch_runner.backends.shared.failures import HINTS, provider_failure
from dispatch_runner.backends.shared.values import object_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import cut

AUTH_REQUIRED = -32000

DATA_LIMIT = 1_000


def failure_of(error: RpcError, program: str) -> AgentError:
    """The failure of a task whose agent's program answered with an error."""
    said = f"{error.message}\n{error.data}" if error.data else error.message
    details: JsonObject = {"method": error.method, "code": error.code}
    if error.data:
        details["data"] = cut(str(error.data), DATA_LIMIT)
    if error.code == AUTH_REQUIRED:
        return AgentError(
            ErrorType.AUTH,
            f"{program!r} is not logged in: {error.message}",
            hint=HINTS[ErrorType.AUTH],
            details=details,
        )
    return provider_failure(program, said, status=_status_of(error), details=details)


def _status_of(error: RpcError) -> int | None:
    """The provider's HTTP status, where the agent passes it on as such."""
    data = object_in(error.data)
    values: tuple[Any, ...] = (error.code, data.get("statusCode"), data.get("status"))
    return next((each for each in values if isinstance(each, int) and 400 <= each < 600), None)
