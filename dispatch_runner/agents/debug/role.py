"""The role `debug`: what it is asked, and what makes an analysis count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
from pydantic import ValidationError

from dispatch_runner.agents.debug.models import DebugInput, DebugOutput
from dispatch_runner.agents.inputs import check_model, check_paths, text_paths
from dispatch_runner.agents.quality import GRACE_SECONDS, LATE, Quality, ask
from dispatch_runner.agents.reading import check_roots
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.models.base import Model
from dispatch_runner.protocols import AgentCall, Answer, InputProblem, Question

if TYPE_CHECKING:
    from dispatch_runner.agents.debug.deep import Running
    from dispatch_runner.paths import AllowedRoots

QUALITY_FILES = 3
TOOLS_FIELDS = frozenset({"depth", "traces", "files"})
"""Fields of an analysis that no judgement has."""
Form = TypeVar("Form", bound=Model)

Analyse = Callable[
    [DebugInput, anyio.Event | None, "Running"], Awaitable[tuple[JsonObject, list[str]]]
]


class DebugRole:
    """Analyses a problem in given files. Changes nothing; runs what it analyses only at depth `deep`,
    by the tests that are named, in child processes with limits."""

    name = "debug"
    input_model = DebugInput
    output_model = DebugOutput

    def __init__(self, test_commands: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        """`test_commands`: argument vectors that the operator defined, by name."""
        self._test_commands = test_commands

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        """Wrong fields, files and tests that are no allowed absolute paths, unknown test commands."""
        pairs = [*text_paths(value, "affected_files"), *text_paths(value, "test_paths")]
        return [
            *check_model(DebugInput, value),
            *check_paths(pairs, roots),
            *self._unknown_command(value.get("test_command")),
        ]

    def _unknown_command(self, name: object) -> list[InputProblem]:
        if not isinstance(name, str) or not name or name in self._test_commands:
            return []
        known = ", ".join(sorted(self._test_commands)) or "none"
        return [
            InputProblem(
                ("test_command",),
                "invalid_value",
                f"no test command is defined under the name {name[:80]!r}",
                f"the operator defines them in [tests.NAME] of dispatch.toml; defined: {known}",
            )
        ]

    @property
    def version(self) -> str:
        """Of its prompt, and of the tools that look at the code."""
        from dispatch_runner.agents.versions import role_version

        return role_version("debug")

    def reads(self, value: JsonObject) -> Sequence[str] | None:
        """The affected files; null when tests are run, which may use any code."""
        if value.get("test_paths") or value.get("test_command"):
            return None
        return [path for _, path in text_paths(value, "affected_files")]

    def writes(self, value: JsonObject) -> Sequence[str]:
        """Nothing."""
        return []

    def missing_tools(self) -> Sequence[str]:
        """`ruff`, `mypy`, `git` and `pytest`, where they are not installed."""
        from importlib.util import find_spec

        from dispatch_runner.analysis.tools import missing

        pytest = [] if find_spec("pytest") else ["pytest"]
        return [*missing(["ruff", "mypy", "git"]), *pytest]

    def question(self, call: AgentCall) -> Question:
        """The task in words; the answer is a `Judgement`.

        Raises:
            AgentError: `missing_file`, when none of the affected files exists.
        """
        from dispatch_runner.agents.debug.brief import brief

        return brief(DebugInput.model_validate(call.input), call)

    async def solve(self, call: AgentCall) -> Answer:
        """The analysis.

        Raises:
            AgentError: `missing_file`, when none of the affected files, or a named test, does not exist.
        """
        asked, analyse, running = await anyio.to_thread.run_sync(
            _prepare, call, self._test_commands
        )
        output, warnings = await analyse(asked, call.hurry, running)
        if asked.analysis_depth != "quick":
            output["quality"] = await _quality_of_suspects(call, output)
        return Answer(output, warnings=warnings)

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        """The answer, when it has the output's form, points at lines that exist, and has evidence.

        A judgement, which has no evidence of tools in it, is completed first: tools look at the same
        files, as at this depth without an agent.

        Raises:
            AgentError: `bad_output` for a wrong form or a place that is not there; `unverified`,
                with the analysis in its details, when nothing points to a fault.
        """
        if answer.output.keys().isdisjoint(TOOLS_FIELDS):
            answer = await self._completed(call, answer)
        output = await anyio.to_thread.run_sync(_valid, answer.output)
        if not (output.evidence_found and output.suspects):
            raise AgentError(
                ErrorType.UNVERIFIED,
                "no evidence was found: no stack trace and no finding points to a fault",
                hint="give the full error output in `error_traces`, or name the files that it "
                "mentions in `affected_files`",
                details={"analysis": answer.output},
            )
        return answer

    async def _completed(self, call: AgentCall, answer: Answer) -> Answer:
        """The analysis that a judgement becomes. Raises `AgentError`."""
        from dispatch_runner.agents.debug.analyse import examine
        from dispatch_runner.agents.debug.judged import analysis_of, locate
        from dispatch_runner.agents.debug.judgement import Judgement

        judgement = _held_to(Judgement, answer.output)
        asked, _, running = await anyio.to_thread.run_sync(_prepare, call, self._test_commands)
        located = await anyio.to_thread.run_sync(locate, judgement, asked, call.roots)
        job, found = await examine(asked, call.hurry, running)
        output = await anyio.to_thread.run_sync(analysis_of, judgement, located, job, found)
        if asked.analysis_depth != "quick":
            output["quality"] = await _quality_of_suspects(call, output)
        return Answer(output, [*answer.warnings, *job.warnings()], answer.session)


async def _quality_of_suspects(call: AgentCall, output: JsonObject) -> list[JsonObject]:
    """What the quality tool says of the first suspects' Python files. Bounded in time."""
    suspects = (suspect["file"] for suspect in output["suspects"])
    files = [file for file in dict.fromkeys(suspects) if file.endswith(".py")][:QUALITY_FILES]
    told = dict.fromkeys(files, LATE)

    async def ask_about(file: str) -> None:
        try:
            source = await anyio.Path(file).read_bytes()
        except OSError as error:
            told[file] = Quality(status="not_assessed", reason=str(error.strerror))
            return
        told[file] = await ask(call, source, file)

    with anyio.move_on_after(GRACE_SECONDS):
        async with anyio.create_task_group() as group:
            for file in files:
                group.start_soon(ask_about, file)
    return [{"file": file, "quality": told[file].model_dump(mode="json")} for file in files]


def _prepare(
    call: AgentCall, commands: Mapping[str, Sequence[str]]
) -> tuple[DebugInput, Analyse, Running]:
    """In a thread: the first use loads and builds for tens of milliseconds.

    Raises `AgentError` for a path that has come to lead out of the allowed folders.
    """
    from dispatch_runner.agents.debug.analyse import analyse
    from dispatch_runner.agents.debug.deep import Running

    asked = DebugInput.model_validate(call.input)
    for path in (*asked.affected_files, *asked.test_paths):
        check_roots(path, call.roots)
    return asked, analyse, Running(call.timeout_seconds, call.workspace, commands)


def _valid(value: JsonObject) -> DebugOutput:
    output = _held_to(DebugOutput, value)
    wrong = _wrong_place(output)
    if wrong is not None:
        raise AgentError(ErrorType.BAD_OUTPUT, wrong)
    return output


def _held_to(model: type[Form], value: JsonObject) -> Form:
    """The value in its form. Raises `AgentError` (`bad_output`)."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [
            {"location": "/".join(map(str, item["loc"])), "message": item["msg"]}
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            f"the analysis does not have the form of the output: {problems[0]['location']!r}: "
            f"{problems[0]['message']}",
            details={"problems": problems[:50]},
        ) from error


def _wrong_place(output: DebugOutput) -> str | None:
    """The first suspect whose lines its file does not have; files that cannot be read are passed."""
    from dispatch_runner.agents.debug.sources import read_source

    lengths: dict[str, int] = {}
    for suspect in output.suspects:
        if not suspect.file.startswith("/"):
            continue
        if suspect.file not in lengths:
            lengths[suspect.file] = len(read_source(suspect.file).lines)
        length = lengths[suspect.file]
        if length and suspect.line_end > length:
            return (
                f"suspect {suspect.rank} names line {suspect.line_end} of {suspect.file!r}, "
                f"which has {length} lines"
            )
    return None
