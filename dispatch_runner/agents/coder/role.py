"""The role `coder`: what it is asked, its own offline answer, and how any answer is verified."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from dispatch_runner.agents.coder.models import CoderInput, CoderOutput, Gate, OpenPoint
from dispatch_runner.agents.inputs import check_model, check_paths, text_paths
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.paths import AllowedRoots, identity
from dispatch_runner.protocols import AgentCall, Answer, InputProblem, Question

if TYPE_CHECKING:
    from types import ModuleType

    from dispatch_runner.agents.coder.gates import Verdict
    from dispatch_runner.agents.coder.generate import Generated
    from dispatch_runner.agents.quality import Quality

FORMAT_SECONDS = 20.0
PLACED = "file_placed"
"""The event in the trace of a file that passed and was put in place."""
TAKEN_BACK = "file_taken_back"
"""The event of such a file that was then refused; it is kept beside the trace."""
FENCED = re.compile(r"\s*```[a-z]*\n(.*)```\s*", re.DOTALL)


class CoderRole:
    """Makes one ONEX node module from a contract description. Keeps nothing between calls."""

    name = "coder"
    input_model = CoderInput
    output_model = CoderOutput

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        """Everything that is wrong with an input, the paths' places included."""
        problems = check_model(CoderInput, value)
        pairs = [*text_paths(value, "output_path"), *text_paths(value, "context_files")]
        problems += check_paths(
            [pair for pair in pairs if pair[1] or pair[0] != ("output_path",)], roots
        )
        path, text = value.get("output_path"), value.get("contract_description")
        if isinstance(path, str) and path and not path.endswith(".py"):
            message = f"output path {path!r} is not a Python file"
            problems.append(
                InputProblem(("output_path",), "invalid_value", message, "end it in '.py'")
            )
        if isinstance(text, str) and text and not text.strip():
            message = "field 'contract_description' is blank"
            problems.append(
                InputProblem(
                    ("contract_description",), "invalid_value", message, "say what the node does"
                )
            )
        return problems

    @property
    def version(self) -> str:
        """Of its prompt, and of the tools that judge a module."""
        from dispatch_runner.agents.versions import role_version

        return role_version("coder")

    def reads(self, value: JsonObject) -> Sequence[str]:
        """The context files."""
        return [path for _, path in text_paths(value, "context_files")]

    def writes(self, value: JsonObject) -> Sequence[str]:
        """The one file."""
        path = value.get("output_path")
        return [path] if isinstance(path, str) else []

    def missing_tools(self) -> Sequence[str]:
        """`ruff` and `mypy`, where they are not installed."""
        from dispatch_runner.analysis.tools import missing

        return missing(["ruff", "mypy"])

    def question(self, call: AgentCall) -> Question:
        """The task in words; the answer is a `CoderAnswer`.

        Raises `AgentError`: the output exists (`invalid_input`), a context file does not
        (`missing_file`).
        """
        from dispatch_runner.agents.coder import files
        from dispatch_runner.agents.coder.brief import brief

        asked = CoderInput.model_validate(call.input)
        if call.repair is None:
            files.check_free(asked.output_path, overwrite=asked.overwrite)
        return brief(asked, call)

    async def solve(self, call: AgentCall) -> Answer:
        """The source of the module, formatted; nothing is written yet.

        Raises `AgentError`: the output exists (`invalid_input`), a context file does not
        (`missing_file`).
        """
        files, generate = await to_thread.run_sync(_loaded)
        asked = CoderInput.model_validate(call.input)
        await to_thread.run_sync(
            lambda: files.check_free(asked.output_path, overwrite=asked.overwrite)
        )
        context = await to_thread.run_sync(files.read_context, asked.context_files, call.roots)
        made = await to_thread.run_sync(
            lambda: generate(
                asked.contract_description, asked.node_type, asked.output_path,
                context=context, node_name=asked.node_name, profile=asked.profile,
            )
        )  # fmt: skip
        output: JsonObject = {
            "code": await _formatted(made.source, call),
            "open_points": [
                {"where": point.where, "message": point.message} for point in made.open_points
            ],
        }
        return Answer(output=output, warnings=list(made.warnings))

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        """Runs the gates and puts the file in place; the answer becomes a `CoderOutput`.

        The source is the answer's `code`, else the file that the backend wrote at `output_path`.

        Raises `AgentError`: a blocking gate failed (`check_failed`), could not judge
        (`unverified`), or there is no source (`unverified`; `bad_output`, when it was asked for in
        words). No file is left at `output_path` then; nor when a check refuses the answer, where
        what was there before is put back.
        """

        asked = CoderInput.model_validate(call.input)
        code = await _code(answer.output, call)
        written = code is None
        source = await _written(asked, call) if code is None else code
        open_points = _open_points(answer.output)
        verdict, quality = await _judge(asked, source, call, open_declared=bool(open_points))
        refusal = _refusal(verdict.gates, asked.validation_level)
        if refusal is not None:
            await _reject(asked, call, source, refusal, written=written)
            raise refusal
        path = await to_thread.run_sync(_put_in_place, asked, call, source, written)
        sha256 = hashlib.sha256(source).hexdigest()
        call.log.tell(PLACED, path=path, sha256=sha256)
        structure = verdict.structure
        output = CoderOutput(
            generated_file=path,
            validation_passed=True,
            validation_level=asked.validation_level,
            class_name=next(iter(structure.node_classes), None) if structure else None,
            node_type=asked.node_type,
            gates=verdict.gates,
            quality=quality,
            open_points=open_points,
            models=list(structure.models) if structure else [],
            lines=source.count(b"\n"),
            sha256=sha256,
            warnings=answer.warnings,
        )
        return Answer(output.model_dump(mode="json"), answer.warnings, answer.session)


def _loaded() -> "tuple[ModuleType, Callable[..., Generated]]":
    """In a thread: the first import takes tens of milliseconds, in which others may start."""
    from dispatch_runner.agents.coder import files
    from dispatch_runner.agents.coder.generate import generate

    return files, generate


async def _formatted(source: str, call: AgentCall) -> str:
    """The source as the formatter has it; unchanged when there is no formatter."""
    from dispatch_runner.agents.coder.tools import RUFF_FORMAT
    from dispatch_runner.analysis.tools import ToolProblem, output_of

    try:
        formatted = await output_of(
            "ruff", RUFF_FORMAT, seconds=FORMAT_SECONDS, stdin=source.encode(), codes=(0,),
            hurry=call.hurry,
        )  # fmt: skip
    except ToolProblem:
        return source
    return formatted.decode()


async def _code(output: JsonObject, call: AgentCall) -> bytes | None:
    """The source in an answer; null when the agent may have written it itself."""
    code = output.get("code")
    in_words = _asked_in_words(call)
    if not isinstance(code, str):
        if in_words:
            raise AgentError(ErrorType.BAD_OUTPUT, "the answer has no text in 'code'")
        return None
    if not code.strip():
        raise AgentError(ErrorType.UNVERIFIED, "the agent's module is empty")
    if in_words:
        fenced = FENCED.fullmatch(code)
        code = await _formatted(fenced[1] if fenced else code, call)
    return code.encode("utf-8", "replace")


def _asked_in_words(call: AgentCall) -> bool:
    """Whether the answer is that to `question`: then a file that is there is none of its making."""
    told = (event.event for event in reversed(call.log.events))
    return next((event for event in told if event in {"prompt", "fallback"}), "") == "prompt"


async def _written(asked: CoderInput, call: AgentCall) -> bytes:
    """What a backend wrote at the output path."""
    from dispatch_runner.agents.coder.files import MAX_SOURCE
    from dispatch_runner.agents.reading import read_bounded

    try:
        source = await to_thread.run_sync(read_bounded, asked.output_path, call.roots, MAX_SOURCE)
    except AgentError as error:
        if error.type is not ErrorType.MISSING_FILE:
            raise
        raise AgentError(
            ErrorType.UNVERIFIED,
            f"the agent wrote nothing at {asked.output_path!r}",
            hint="it has to write that file, or give its text as 'code'",
        ) from error
    return source


def _open_points(output: JsonObject) -> list[OpenPoint]:
    """What the answer says is left to be written; entries of another shape are kept as text."""
    listed = output.get("open_points")
    return [
        OpenPoint(where=str(item.get("where", "")), message=str(item.get("message", "")))
        if isinstance(item, dict)
        else OpenPoint(where="", message=str(item))
        for item in (listed if isinstance(listed, list) else [])
    ]


async def _judge(
    asked: CoderInput, source: bytes, call: AgentCall, *, open_declared: bool
) -> "tuple[Verdict, Quality]":
    """The gates' verdict and, at the same time, what the quality tool says; it is not waited for
    when the verdict is a refusal."""
    from dispatch_runner.agents import quality
    from dispatch_runner.agents.coder.gates import Candidate, run_gates
    from dispatch_runner.agents.coder.profiles import PROFILES

    candidate = Candidate(
        source=source,
        node_type=asked.node_type,
        level=asked.validation_level,
        stem=PurePosixPath(asked.output_path).stem,
        methods=[profile.methods[asked.node_type] for profile in PROFILES.values()],
        open_declared=open_declared,
        hurry=call.hurry,
    )
    if asked.validation_level == "lenient":
        not_asked = quality.Quality(status="not_assessed", reason="asked from 'moderate' on")
        return await run_gates(candidate), not_asked
    told = quality.LATE

    async def ask() -> None:
        nonlocal told
        told = await quality.ask(call, source, asked.output_path)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        verdict = await run_gates(candidate)
        refused = _refusal(verdict.gates, asked.validation_level) is not None
        grace = 0.0 if refused else quality.GRACE_SECONDS
        group.cancel_scope.deadline = anyio.current_time() + grace
    return verdict, told


def _refusal(gates: list[Gate], level: str) -> AgentError | None:
    """Why the file is refused, or null: what failed goes before what could not be judged."""
    failed = [gate for gate in gates if gate.blocking and gate.status == "failed"]
    unjudged = [gate for gate in gates if gate.blocking and gate.status == "not_assessed"]
    blamed = failed or unjudged
    if not blamed:
        return None
    first = blamed[0].findings[0] if blamed[0].findings else None
    where = f" (line {first.line})" if first and first.line else ""
    names = ", ".join(repr(gate.name) for gate in blamed)
    verb = "failed" if failed else "could not be assessed"
    return AgentError(
        ErrorType.CHECK_FAILED if failed else ErrorType.UNVERIFIED,
        f"{verb} at level {level}: {names}: {first.message if first else 'no finding'}{where}",
        hint=None if failed else "install what is missing, or ask for a lower 'validation_level'",
        details={
            "gates": [
                gate.model_dump(mode="json")
                for gate in sorted(gates, key=lambda gate: gate not in blamed)
            ]
        },
    )


def _put_in_place(asked: CoderInput, call: AgentCall, source: bytes, written: bool) -> str:
    """The resolved path of the file; it can be taken back."""
    from dispatch_runner.agents.coder import files

    before = None
    if written:
        path = identity(asked.output_path)
    else:
        if asked.overwrite:
            before = files.content(asked.output_path, call.roots)
        path = files.put_in_place(asked.output_path, source, call.roots, overwrite=asked.overwrite)

    def take_back() -> None:
        if files.take_back(path, source, before, call.roots):
            kept = files.keep_rejected(call.output_prefix, source)
            call.log.tell(TAKEN_BACK, path=path, kept=kept)

    call.undo.append(take_back)
    return path


async def _reject(
    asked: CoderInput, call: AgentCall, source: bytes, refusal: AgentError, *, written: bool
) -> None:
    """Keeps the refused file beside the trace, and takes it away from where it would be used."""
    from dispatch_runner.agents.coder import files

    kept = await to_thread.run_sync(files.keep_rejected, call.output_prefix, source)
    refusal.details["rejected_file"] = kept
    if written:
        await to_thread.run_sync(files.remove, asked.output_path, call.roots)
