"""The rounds of one attempt: ask, verify, check; feed a failure back to an agent that can mend it."""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.protocols import Agent, AgentCall, Answer, Backend, Checks, Repair

MENDABLE = frozenset({ErrorType.CHECK_FAILED, ErrorType.BAD_OUTPUT, ErrorType.UNVERIFIED})
"""What an agent may be able to mend when it is told."""

FAILURE_LIMIT = 8_000
"""Characters of a failure that an agent is told."""

QUOTED_LIMIT = 400
"""Characters of one value in it."""

NOT_TOLD = frozenset({"duration_ms", "rejected_file"})
"""Details that an agent is not told: the same failure has others each time."""

EVIDENCE = frozenset({"stdout", "stderr", "exit_code"})
"""What the agent's own program printed, which it is not told either; what a check printed it is."""

PASSING = (
    r"\d+(?:\.\d+)?(?= ?(?:ms|us|s|sec|seconds?)\b)|\b\d\d:\d\d:\d\d(?:[.,]\d+)?|\b0x[0-9a-fA-F]+"
)
"""Durations, times of day and addresses: they differ each time, also where the failure is the same.
Not compiled before it is needed: that takes longer than all else here."""


class Asking:
    """Asks one backend, as often as the agent's definition allows."""

    def __init__(
        self,
        agent: Agent,
        checks: Checks | None,
        names: tuple[str, ...],
        allowance: Callable[[], Budget | None] | None = None,
    ) -> None:
        """
        Args:
            agent: whose role asks.
            checks: what runs the acceptance checks.
            names: of the checks.
            allowance: what may be consumed from now on; asked before each round.
        """
        self._agent = agent
        self._allowance = allowance
        self._checks = checks
        self._names = names

    async def answer(self, backend: Backend, call: AgentCall) -> Answer:
        """A verified answer that passed its checks.

        Raises `AgentError`: what failed in the last round. The rounds end when there have been as
        many as allowed, and when the same failure comes again.
        """
        told = None
        while True:
            last: list[Answer] = []
            try:
                return await self._round(backend, call, last)
            except AgentError as error:
                done = call.repair.round if call.repair else 0
                failure = failure_text(error)
                mendable = error.type in MENDABLE and backend.repairs
                if mendable and done:
                    error.details["repair_rounds"] = done
                same = told is not None and _lasting(failure) == _lasting(told)
                if not mendable or done >= self._agent.repair_rounds or same:
                    raise
                told = failure
                session = last[0].session if last else error.session
                call.repair = Repair(done + 1, failure, last[0].output if last else None, session)
                call.log.tell(
                    "repair",
                    round=done + 1,
                    type=error.type,
                    failure=failure,
                    usage=_shown(call.meter.usage),
                )

    async def _round(self, backend: Backend, call: AgentCall, last: list[Answer]) -> Answer:
        role = self._agent.role
        call.budget = self._allowance() if self._allowance is not None else None
        call.undo.clear()
        answer = await backend.answer(role, call)
        last.append(answer)
        answer = await role.verify(call, answer)
        try:
            if answer.output is not call.input:  # an echo of the input claims nothing
                require_work(answer, call.workspace)
            if self._names and self._checks is not None:
                await self._checks.check(self._names, call, answer)
        except BaseException:  # a cancellation, too: what is not a success is not left in place
            await _take_back(call)
            raise
        return answer


async def _take_back(call: AgentCall) -> None:
    if not call.undo:
        return
    from anyio import to_thread  # only refused answers pay for it

    with anyio.CancelScope(shield=True):
        for undo in reversed(call.undo):
            await to_thread.run_sync(undo)


def _shown(usage: Usage | None) -> JsonObject | None:
    return None if usage is None else asdict(usage)


def _lasting(failure: str) -> str:
    return re.sub(PASSING, "", failure)


def failure_text(error: AgentError) -> str:
    """A failure for the agent to read: the sentence, the hint, and the facts, bounded."""
    lines = [error.message]
    if error.hint:
        lines.append(f"Hint: {error.hint}")
    checked = error.type is ErrorType.CHECK_FAILED
    told = error.details.items()
    lines += _facts({name: v for name, v in told if checked or name not in EVIDENCE}, "")
    text = "\n".join(lines)
    return text if len(text) <= FAILURE_LIMIT else text[:FAILURE_LIMIT] + "\n[... cut]"


def _facts(value: Any, indent: str) -> list[str]:
    """JSON as indented lines; long values are cut, what is empty is left out."""
    pairs = value.items() if isinstance(value, dict) else (("-", item) for item in value)
    lines = []
    for name, item in pairs:
        if name in NOT_TOLD:
            continue
        if isinstance(item, (dict, list)):
            if item:
                lines += [f"{indent}{name}:", *_facts(item, indent + "  ")]
        elif item not in (None, ""):
            lines.append(f"{indent}{name}: {_quoted(str(item), name)}")
    return lines


def _quoted(text: str, name: object) -> str:
    limit = FAILURE_LIMIT // 2 if name in {"stdout", "stderr", "printed"} else QUOTED_LIMIT
    return text if len(text) <= limit else "[...] " + text[-limit:]


def require_work(answer: Answer, folder: Path) -> None:
    """An agent that did nothing did not succeed: there is an output, and the files exist that it says
    it wrote (`generated_file`, `files_written`). Raises `AgentError`."""
    output: object = answer.output
    if not isinstance(output, dict):
        kind = type(output).__name__
        raise AgentError(ErrorType.BAD_OUTPUT, f"output is {kind}, not a JSON object")
    if not output:
        raise AgentError(ErrorType.UNVERIFIED, "the agent ended cleanly with an empty output")
    if not ("files_written" in output or "generated_file" in output):
        return
    missing = [path for path in claimed_files(output) if not (folder / path).is_file()]
    if missing:
        raise AgentError(
            ErrorType.UNVERIFIED,
            f"the agent says that it wrote '{missing[0]}', and there is no such file",
            details={"missing": missing, "output": output},
        )


def claimed_files(output: JsonObject) -> list[str]:
    """The files that an agent says it wrote."""
    written = output.get("files_written")
    claimed = [output.get("generated_file"), *(written if isinstance(written, list) else [written])]
    return [path for path in claimed if isinstance(path, str)]
