"""Any program as an agent: JSON in, an answer out. Defined by the operator only.

The program is an argument vector, never a shell line, and nothing is expanded in it. It gets the
task as one JSON object on stdin, only those variables of the environment that its definition names,
and writes to files beside the task's trace.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from dispatch_runner.backends.shared.outcomes import SAID_LIMIT, crashed
from dispatch_runner.backends.shared.programs import (
    TAIL_LIMIT,
    call_output,
    call_variables,
    evidence,
    last_line,
    leftovers,
    missing_program,
    resource_limits,
)
from dispatch_runner.backends.shared.values import number_in, object_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.process import (
    GRACE_SECONDS,
    OUTPUT_LIMIT,
    Captured,
    Completed,
    ResourceLimits,
    cut,
    run,
)
from dispatch_runner.protocols import AgentCall, Answer, InputProblem, Role
from dispatch_runner.settings.backend_options import BackendOptions
from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT, passed_environment

TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits.h: the exit code that asks for another attempt."""

TEXT_LIMIT = 1_000_000
"""Characters of the answer of a program that prints text; its file may hold more."""

Stdin = Literal["json", "none"]
Output = Literal["json", "text", "exit"]


class ProgramRole:
    """What is asked of an agent that the operator defined as a program: anything."""

    def __init__(self, name: str) -> None:
        self.name = name

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        """Nothing: any JSON object will do; the program judges it."""
        return []

    def writes(self, value: JsonObject) -> Sequence[str]:
        """Nothing that is known: a task declares it with `modifies_files`."""
        return ()

    def missing_tools(self) -> Sequence[str]:
        """None that are known: the backend says whether the program itself is there."""
        return ()

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        """The answer as it is. Raises `AgentError` (`unverified`) for an empty object."""
        if not answer.output:
            raise AgentError(
                ErrorType.UNVERIFIED,
                f"agent {self.name!r} answered with an empty object",
                hint="an answer must say something about what was done",
            )
        return answer


class CommandBackend:
    """Answers by running a program.

    Exit code 0 and a valid output are an answer; 75 is a transient failure; any other is `crashed`
    with the tail of what was printed. With the output `json` the program may report its own error
    as `{"error": {type, message, retryable, hint, details, retry_after}}`, whatever its exit code.
    With `text` it must print something, since an agent that did nothing did not succeed; for a
    program that has nothing to say, `exit` lets the exit code alone decide.
    """

    name = "command"
    provider = None
    repairs = False

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: Stdin = "json",
        output: Output = "json",
        env: Sequence[str] = DEFAULT_ENVIRONMENT,
        cwd: Path | None = None,
        output_limit: int = OUTPUT_LIMIT,
        grace_seconds: float = GRACE_SECONDS,
        limits: ResourceLimits | None = None,
    ) -> None:
        self.command = tuple(command)
        self.stdin = stdin
        self.output = output
        self.env = tuple(env)
        """Names and globs of the variables that the program sees. A glob never passes a variable
        that looks like a secret: such a one must be named in full."""
        self.cwd = cwd
        """Where it runs; null: in the workspace of the call."""
        self.output_limit = output_limit
        """Bytes that are kept of each output; head and tail when there are more."""
        self.grace_seconds = grace_seconds
        self.limits = limits
        """Of each of its processes; null: none besides our own."""

    def unavailable(self, role: Role) -> str | None:
        """Why the program cannot be started here, or null."""
        return missing_program(self.command[0], self._passed, self.cwd)

    def unknown_cost(self, role: Role) -> str | None:
        """Null: a program consumes nothing that is counted."""
        return None

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """What the program answered.

        When it is cancelled, the program and all its descendants have ended before it returns.
        """
        with call_output(call) as (stdout, stderr):
            completed = await run(
                self.command,
                env={**self._passed, **call_variables(call)},
                cwd=call.folder(self.cwd),
                stdin=_envelope(call) if self.stdin == "json" else b"",
                stdout=stdout,
                stderr=stderr,
                output_limit=self.output_limit,
                grace_seconds=self.grace_seconds,
                hurry=call.hurry,
                limits=self.limits,
            )
        answer = Answer(self._judge(completed))
        answer.warnings += _warnings(completed, self.command[0])
        return answer

    def _judge(self, completed: Completed) -> JsonObject:
        if self.output == "json":
            return self._judge_json(completed)
        if completed.returncode != 0:
            raise _failure(self.command[0], completed)
        if self.output == "exit":
            return {"exit_code": 0}
        text = completed.stdout.text(TEXT_LIMIT)
        if not text.strip():
            raise AgentError(
                ErrorType.UNVERIFIED,
                f"{self.command[0]!r} ended well but printed nothing",
                hint='define it with output = "exit" if its exit code says enough',
                details=evidence(completed),
            )
        return {"text": text, "exit_code": 0}

    def _judge_json(self, completed: Completed) -> JsonObject:
        program = self.command[0]
        failed = completed.returncode != 0
        if failed and (completed.stdout.truncated or not completed.stdout.size):
            raise _failure(program, completed)
        try:
            output = _json_object(program, completed.stdout)
        except AgentError:
            if failed:
                raise _failure(program, completed) from None
            raise
        if output.get("error") not in (None, False):
            raise _reported(program, output["error"], completed)
        if failed:
            raise _failure(program, completed)
        return output

    @cached_property
    def _passed(self) -> dict[str, str]:
        return passed_environment(self.env)


def _envelope(call: AgentCall) -> bytes:
    """What the program reads: the task as one JSON object."""
    import orjson

    document = {
        "task_id": call.task_id,
        "agent": call.agent,
        "description": call.description,
        "input": call.input,
        "dependencies": dict(call.dependencies),
        "correlation_id": call.correlation_id,
        "attempt": call.attempt,
        "workspace": str(call.workspace),
    }
    try:
        return orjson.dumps(document)
    except TypeError as error:  # integers over 64 bits, lone surrogates
        raise AgentError(
            ErrorType.INVALID_INPUT, f"the task cannot be written as JSON: {error}"
        ) from error


def _json_object(program: str, stdout: Captured) -> JsonObject:
    import orjson

    hint = "print one JSON object on stdout and nothing else; progress belongs on stderr"
    if stdout.truncated:
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            f"{program!r} printed {stdout.size} bytes, more than the {stdout.kept} that are kept",
            hint="raise its output_limit, or print less",
            details={"size": stdout.size},
        )
    content = stdout.content().removeprefix(b"\xef\xbb\xbf")
    try:
        output = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        reason = f"{error.msg} ({position})" if content.strip() else "nothing was printed"
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            f"output of {program!r} is not JSON: {reason}",
            hint=hint,
            details={"excerpt": _excerpt(content, error.pos), "size": stdout.size},
        ) from None
    if not isinstance(output, dict):
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            f"output of {program!r} is a JSON {_json_type(output)}, not an object",
            hint=hint,
            details={"excerpt": _excerpt(content, 0), "size": stdout.size},
        )
    return output


def _excerpt(content: bytes, position: int) -> str:
    text = content.decode("utf-8", "replace")
    return text[max(0, position - 80) : position + 80]


def _json_type(value: object) -> str:
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else "boolean" if isinstance(value, bool) else "number"


def _failure(program: str, completed: Completed) -> AgentError:
    """What it means that the program did not end with exit code 0."""
    if completed.returncode != TRY_AGAIN or completed.exceeded is not None:
        return crashed(program, completed)
    last = last_line(completed)
    message = f"{program!r} asked to be run again (exit code {TRY_AGAIN})"
    return AgentError(
        ErrorType.UNAVAILABLE,
        f"{message}: {cut(last, SAID_LIMIT)}" if last else message,
        retryable=True,
        details=evidence(completed),
    )


def _reported(program: str, error: Any, completed: Completed) -> AgentError:
    """The error that the program printed as its answer."""
    fields = error if isinstance(error, dict) else {"message": error}
    kind = _error_type(fields.get("type"))
    message = _text(fields.get("message")) or f"{program!r} reported an error without a message"
    details = dict(object_in(fields.get("details")), exit_code=completed.returncode)
    if kind is None:
        details["reported"] = error
    retryable = fields.get("retryable")
    if not isinstance(retryable, bool):
        retryable = True if completed.returncode == TRY_AGAIN else None
    return AgentError(
        kind or ErrorType.CRASHED,
        cut(message, TAIL_LIMIT),
        retryable=retryable,
        hint=_text(fields.get("hint")) or None,
        details=details,
        retry_after=number_in(fields.get("retry_after")),
    )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _error_type(name: object) -> ErrorType | None:
    try:
        return ErrorType(cast("str", name))
    except ValueError:
        return None


def _warnings(completed: Completed, program: str) -> list[str]:
    found = [
        f"{program!r} printed {output.size} bytes on {name}; only head and tail were kept"
        for name, output in (("stdout", completed.stdout), ("stderr", completed.stderr))
        if output.truncated
    ]
    return [*found, *leftovers(completed.leftovers, program)]


def build(options: BackendOptions) -> CommandBackend:
    """The backend of an agent; `options.command` is there."""
    wanted = {
        "stdin": options.stdin,
        "output": options.output,
        "env": options.env,
        "cwd": options.cwd,
        "output_limit": options.output_limit,
        "grace_seconds": options.grace_seconds,
        "limits": resource_limits(options),
    }
    given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    return CommandBackend(options.command or (), **given)
