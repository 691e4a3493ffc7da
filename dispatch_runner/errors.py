"""Exceptions, drawn once.

    DispatchRunnerError
      RequestRejected    the request is wrong; nothing was started
      SettingsError      what the operator defined is wrong
      RecordError        a record could not be written; the dispatch ends
      InternalError      a state that cannot be  [this is a bug]
      AgentError         an attempt did not succeed; becomes a `TaskError` value

A task's failure never leaves the engine as an exception: `AgentError` is how an agent or a role
tells the runner, which turns it into a result.
"""

from collections.abc import Sequence
from pathlib import Path

from dispatch_runner.models import ErrorType, JsonObject, Problem, TaskError

TRANSIENT = frozenset(
    {
        ErrorType.RATE_LIMITED,
        ErrorType.OVERLOADED,
        ErrorType.UNAVAILABLE,
        ErrorType.CRASHED,
        ErrorType.STALLED,
    }
)
"""Error types that another attempt may mend. `crashed` and `stalled` are retried once only."""


class DispatchRunnerError(Exception):
    """Base of everything that this package raises."""


class RequestRejected(DispatchRunnerError):
    """The request is wrong. Carries every problem; nothing was started and nothing was written."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[str] = ()) -> None:
        self.problems = list(problems)
        self.warnings = list(warnings)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(f"request rejected: {first.message}{more}")


class SettingsError(DispatchRunnerError):
    """What the operator defined is wrong: a flag, a variable of the environment, or a file."""

    def __init__(
        self, message: str, *, source: str, line: int | None = None, hint: str | None = None
    ) -> None:
        self.message = message
        self.source = source
        self.line = line
        self.hint = hint
        self.others: list[SettingsError] = []
        """What else is wrong, found at the same time."""
        self.where = f"{source}:{line}" if line is not None else source
        super().__init__(f"{self.where}: {message}" + (f" ({hint})" if hint else ""))

    @classmethod
    def of(cls, problems: "Sequence[SettingsError]") -> "SettingsError":
        """The first of several problems, with the others; not empty."""
        first, *first.others = problems
        return first

    def __str__(self) -> str:
        more = f" (and {len(self.others)} more)" if self.others else ""
        return super().__str__() + more


class RecordError(DispatchRunnerError):
    """A record could not be written. Finished tasks that were announced are on disk."""

    def __init__(self, action: str, path: Path | str, cause: BaseException | str) -> None:
        self.path = Path(path)
        self.cause = cause
        super().__init__(f"cannot {action} '{path}': {cause}")


class InternalError(DispatchRunnerError):
    """A state that should be impossible."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} [this is a bug]")


class AgentError(DispatchRunnerError):
    """An attempt did not succeed. Raised by backends and roles; the runner makes it a value."""

    def __init__(
        self,
        type: ErrorType,  # noqa: A002 - the field's name in the result
        message: str,
        *,
        retryable: bool | None = None,
        hint: str | None = None,
        details: JsonObject | None = None,
        retry_after: float | None = None,
        exhausted: bool | None = None,
        resets_at: float | None = None,
        session: str | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.retryable = type in TRANSIENT if retryable is None else retryable
        self.hint = hint
        self.details = details or {}
        self.retry_after = retry_after
        """Seconds that the other side asked us to wait before the next attempt."""
        self.exhausted = type is ErrorType.AUTH if exhausted is None else exhausted
        """Whether the provider refuses every further call, too: the quota is used up, or the key is
        not accepted."""
        self.resets_at = resets_at
        """When the quota is there again, where it is known: seconds since 1970."""
        self.session = session
        """By which a backend that repairs can go on in spite of this failure."""

    def as_value(self) -> TaskError:
        return TaskError(self.type, self.message, self.retryable, self.hint, self.details)
