"""The role of an agent that a Markdown file defines: any task in words, under its system prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dispatch_runner.agents import prompting
from dispatch_runner.agents.inputs import check_model, check_paths, text_paths
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.models.base import Model
from dispatch_runner.protocols import Access, AgentCall, Answer, InputProblem, Question

if TYPE_CHECKING:
    from dispatch_runner.paths import AllowedRoots

EDITS = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
PROMISE = (
    "When you have written or changed files, end your answer with one line that lists them all by their"
    ' absolute paths: FILES_WRITTEN: ["/path/one", "/path/two"]. Each is looked for.'
)
_PROMISED = re.compile(
    r"^[ \t`*]*FILES_WRITTEN:[\s`*]*(?P<list>\[(?:[^\]\"]|\"(?:[^\"\\]|\\.)*\")*\])[ \t`*]*$",
    re.MULTILINE,
)
"""The line that the prompt asks for, also over several lines and in a code span."""


class MarkdownInput(Model):
    """The task of an agent that a Markdown file defines."""

    prompt: Annotated[str, Field(min_length=1)]
    """What it has to do."""
    files: list[str] = []
    """Absolute paths of files that it is shown, inside the allowed folders: at most 20,000 characters
    of each and 100,000 of all."""
    context: JsonObject = {}
    """Whatever else it has to know."""


class MarkdownOutput(Model):
    """What such an agent answered."""

    text: str
    """Its answer."""
    files_written: list[str] = []
    """Absolute paths of the files that it says it wrote; each is there."""


class MarkdownRole:
    """One agent of a Markdown file: any task in words."""

    input_model = MarkdownInput
    output_model = MarkdownOutput

    def __init__(
        self,
        name: str,
        description: str,
        system: str,
        tools: tuple[str, ...] | None = None,
        model: str | None = None,
    ) -> None:
        self.name = name
        self.description = description
        self.system = system
        self.tools = tools
        self.model = model

    @property
    def access(self) -> Access:
        """What its tools need: to read, where it names none."""
        names = {tool.partition("(")[0].strip() for tool in self.tools or ()}
        if "Bash" in names:
            return "execute"
        return "read" if names.isdisjoint(EDITS) else "edit"

    def check_input(self, value: JsonObject, roots: AllowedRoots) -> list[InputProblem]:
        """Wrong fields, and files that are no allowed absolute paths."""
        return [*check_model(MarkdownInput, value), *check_paths(text_paths(value, "files"), roots)]

    @property
    def version(self) -> str:
        """By all that its file says, and our prompt around it."""
        from hashlib import sha256

        told = repr((self.system, self.tools, self.model, prompting.template("markdown").version))
        return sha256(told.encode("utf-8", "surrogatepass")).hexdigest()

    def reads(self, value: JsonObject) -> Sequence[str]:
        """The files that it is shown."""
        return [path for _, path in text_paths(value, "files")]

    def writes(self, value: JsonObject) -> Sequence[str]:
        """Nothing that is known: a task declares it with `modifies_files`."""
        return ()

    def missing_tools(self) -> Sequence[str]:
        """None that are known."""
        return ()

    def question(self, call: AgentCall) -> Question:
        """The task with its files and what came before. Raises `AgentError` for files that cannot be
        read."""
        asked = MarkdownInput.model_validate(call.input)
        system, prompt = prompting.say(
            "markdown",
            call,
            {
                "system": self.system,
                "task": prompting.given("task", asked.prompt),
                "context": _context(asked.context),
                "files": prompting.file_texts(asked.files, call.roots, "files", "file"),
                "results": prompting.results(call),
                "promise": PROMISE if self.tools is None or self.access != "read" else "",
            },
        )
        return Question(
            prompt=prompt, system=system, access=self.access, tools=self.tools, model=self.model
        )

    async def verify(self, call: AgentCall, answer: Answer) -> Answer:
        """The answer, with the files that it lists: the engine looks for them.

        Raises `AgentError`: `unverified` for an empty one, `bad_output` for a list that is none.
        """
        text = answer.output.get("text")
        if not isinstance(text, str):
            return answer
        if not text.strip():
            raise AgentError(ErrorType.UNVERIFIED, f"agent {self.name!r} gave an empty answer")
        claimed = answer.output.get("files_written")
        paths = list(claimed) if isinstance(claimed, list) else []
        for found in _PROMISED.finditer(text):
            paths += _paths(found["list"])
        written = [str(call.workspace / str(path)) for path in dict.fromkeys(paths)]
        told = {"text": _PROMISED.sub("", text).strip(), "files_written": written}
        return Answer({**answer.output, **told}, answer.warnings, answer.session)


def _context(context: JsonObject) -> str:
    if not context:
        return ""
    import orjson

    return prompting.given("context", orjson.dumps(context, option=orjson.OPT_INDENT_2).decode())


def _paths(listed: str) -> list[str]:
    """The paths in a promise. Raises `AgentError`."""
    import orjson

    try:
        paths = orjson.loads(listed)
    except orjson.JSONDecodeError:
        paths = None
    if not isinstance(paths, list) or not all(isinstance(path, str) and path for path in paths):
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            f"the list after FILES_WRITTEN is no JSON list of paths: {listed[:200]}",
            hint='write FILES_WRITTEN: ["/path/one"]',
        )
    return paths
