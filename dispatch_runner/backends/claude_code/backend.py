"""Claude Code's command line as a backend: isolated from the repository's and the user's settings.

It may use just the tools that the access allows, on the files in the allowed folders, and is refused
everything else without being asked. Its answer by schema, its limits of turns and money, and its
sessions are its own means; how it ended is judged in `claude_outcome`.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anyio

from dispatch_runner.backends.claude_code.events import ClaudeRun
from dispatch_runner.backends.claude_code.outcome import lost_session, require_success
from dispatch_runner.backends.shared.agent_program import NETWORK, AgentProgram
from dispatch_runner.backends.shared.answers import output_of
from dispatch_runner.backends.shared.choices import allowed_by
from dispatch_runner.backends.shared.programs import leftovers
from dispatch_runner.backends.shared.prompts import prompt_of, question_of
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import Completed
from dispatch_runner.protocols import Access, AgentCall, Answer, Question, Role
from dispatch_runner.settings.backend_options import BackendOptions

KEYS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
"""With one of these it needs no login, and so nothing of the user's own configuration."""

CREDENTIALS = (
    *KEYS,
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_DEFAULT_*_MODEL",
    "API_TIMEOUT_MS",
    "CLAUDE_CONFIG_DIR",
    *NETWORK,
)

ISOLATED = {
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "DISABLE_AUTOUPDATER": "1",
}
"""It remembers nothing of other runs; it starts nothing in the background, for whose end it would wait
long after its answer; `@/a/file` in a prompt is text and reads no file, which the permissions would not
hinder; nothing but model calls leaves the machine; it gives up early, since the dispatcher tries again."""

TOOLS: Mapping[Access, tuple[str, ...]] = {
    "read": ("Read", "Glob", "Grep"),
    "edit": ("Edit", "Write", "NotebookEdit"),
    "execute": ("Bash",),
}
"""What each access adds to the one before."""

INSTALL = "npm install -g @anthropic-ai/claude-code"

RULES = {
    "Read": "Read",
    "Glob": "Read",
    "Grep": "Read",
    "Edit": "Edit",
    "Write": "Edit",
    "NotebookEdit": "Edit",
}
"""The permission rule by which a tool that works on files is kept to folders."""

LEADS_OUT = re.compile(r"\((//|~|.*\.\.)")
"""A rule whose pattern may lie outside of the folders that are allowed."""

PRICED = re.compile(r"claude|sonnet|opus|haiku|fable|default|best")
"""Models whose price the program knows."""

PROMPT_LIMIT = 10_000_000
"""Bytes that it reads from its standard input."""


class ClaudeCodeBackend:
    """Answers by running `claude -p`, once a round."""

    name = "claude-code"
    repairs = True

    def __init__(self, options: BackendOptions) -> None:
        self.provider = options.provider or "anthropic"
        self._options = options
        self.program = AgentProgram(options, "claude", CREDENTIALS, install=INSTALL)

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role on this machine, or null."""
        return self.program.unavailable(role)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null."""
        model = self._options.model
        if model is None or PRICED.search(model):
            return None
        return f"Claude Code does not know the price of model {model!r}"

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """What Claude Code answered. Raises `AgentError`.

        When it is cancelled, the program and all its descendants have ended before it returns.
        """
        question = await question_of(role, call)
        session = call.repair.session if call.repair else None
        run, completed = await self._run(question, call, session)
        if session is not None and lost_session(run):
            run, completed = await self._run(question, call, None)
        result = require_success(run, completed)
        output = _output(result, question, run.session)
        return Answer(output, list(_warnings(completed)), run.session)

    async def _run(
        self, question: Question, call: AgentCall, session: str | None
    ) -> tuple[ClaudeRun, Completed | None]:
        """One run to its end, counted whatever happens. Raises `AgentError` when it is over budget.

        A program that is still there a grace time after its result is ended; there is no `Completed`.
        """
        prompt = _as_text(prompt_of(question, call, in_session=session is not None))
        run = ClaudeRun(call, resumed=session is not None)
        completed = None
        with anyio.CancelScope() as scope:
            grace = self.program.grace_seconds

            def on_event(event: JsonObject) -> None:
                run.on_event(event)
                ended = event.get("type") == "result"
                scope.deadline = anyio.current_time() + grace if ended else math.inf

            try:
                completed = await self.program.run(
                    list(self._arguments(question, call, session)),
                    call,
                    on_event,
                    stdin=prompt,
                    variables=self._variables(call),
                )
            finally:
                run.settle()
        return run, completed

    def _arguments(self, question: Question, call: AgentCall, session: str | None) -> Iterator[str]:
        """All values are joined to their flags, so that none can be taken for a flag."""
        yield from ("-p", "--output-format=stream-json", "--verbose", "--include-partial-messages")
        # no settings, hooks, MCP servers or CLAUDE.md of the repository or the user
        yield from ("--setting-sources=", "--strict-mcp-config", "--disable-slash-commands")
        tools = self._tools(question)
        yield "--permission-mode=dontAsk"
        yield f"--tools={','.join(dict.fromkeys(map(_name, tools)))}"
        yield f"--settings={_settings(tools, self._folders(call))}"
        if model := self._options.model or question.model:
            yield f"--model={model}"
        if question.system:
            yield f"--append-system-prompt={question.system}"
        if question.schema is not None:
            yield f"--json-schema={_json(question.schema)}"
        yield from self._limits(call)
        if session is not None:
            yield f"--resume={session}"
        elif call.output_prefix is None:
            yield "--no-session-persistence"

    def _limits(self, call: AgentCall) -> Iterator[str]:
        budget = call.budget
        turns = [self._options.max_turns, budget.requests if budget else None]
        if limits := [each for each in turns if each is not None]:
            yield f"--max-turns={max(1, min(limits))}"
        if budget is not None and budget.cost_usd is not None:
            yield f"--max-budget-usd={max(budget.cost_usd, 1e-6):.6f}"

    def _tools(self, question: Question) -> tuple[str, ...]:
        """Tools, perhaps with a pattern; never more than the operator's access allows."""
        access = self._options.access or question.access
        allowed = allowed_by(access, TOOLS)
        if question.tools is None:
            return allowed
        if self._options.access in {None, "execute"}:
            return question.tools
        return tuple(
            tool for tool in question.tools if _name(tool) in allowed and not LEADS_OUT.search(tool)
        )

    def _folders(self, call: AgentCall) -> list[str]:
        own = dict.fromkeys((str(call.folder(self._options.cwd)), str(call.workspace)))
        return [*own, *call.roots.roots]

    def _variables(self, call: AgentCall) -> dict[str, str]:
        variables = dict(ISOLATED)
        if self._options.base_url is not None:
            variables["ANTHROPIC_BASE_URL"] = self._options.base_url
        if self._options.api_key_env is not None:
            variables["ANTHROPIC_API_KEY"] = self.program.key or ""
        seen = {**self.program.environment, **variables}
        logged_in = not any(key in seen for key in KEYS)
        if call.output_prefix is not None and not logged_in and "CLAUDE_CONFIG_DIR" not in seen:
            folder = str(_own_folder(call.output_prefix))
            variables |= {"CLAUDE_CONFIG_DIR": folder, "CLAUDE_CODE_TMPDIR": folder}
        return variables


def _own_folder(output_prefix: Path) -> Path:
    """For the sessions of a dispatch and what else the program leaves: beside the traces, not among
    the user's own."""
    folder = output_prefix.parent / "claude-code"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _settings(tools: Sequence[str], folders: Sequence[str]) -> str:
    """What is allowed: tools that work on files, in some folders; the others, as they are named."""
    allow: list[str] = []
    for tool in tools:
        rule = RULES.get(tool)
        allow += [tool] if rule is None else [f"{rule}(/{_literal(each)}/**)" for each in folders]
    return _json({"permissions": {"allow": list(dict.fromkeys(allow))}})


def _literal(folder: str) -> str:
    """The folder in a permission rule, whose patterns are those of gitignore."""
    return re.sub(r"([\\\[\]*?!#()])", r"\\\1", folder.rstrip("/"))


def _name(tool: str) -> str:
    """`Bash` of `Bash(git *)`."""
    return tool.partition("(")[0]


def _as_text(prompt: str) -> str:
    """The prompt as the program's input, which takes a leading slash for a command of its own."""
    size = len(prompt.encode())
    if size > PROMPT_LIMIT:
        raise AgentError(
            ErrorType.INVALID_INPUT,
            f"the prompt has {size} bytes, more than the {PROMPT_LIMIT} that claude reads",
            hint="give the agent the names of files instead of their content",
        )
    return f" {prompt}" if prompt.startswith("/") else prompt


def _warnings(completed: Completed | None) -> Iterator[str]:
    if completed is None:
        yield "claude did not end by itself after its answer; it was ended"
    else:
        yield from leftovers(completed.leftovers, "claude")


def _output(result: JsonObject, question: Question, session: str | None) -> JsonObject:
    structured = result.get("structured_output")
    if question.schema is not None and isinstance(structured, dict):
        return structured
    return output_of(str(result.get("result") or ""), question, session)


def _json(value: JsonObject) -> str:
    import orjson

    return orjson.dumps(value).decode()


def build(options: BackendOptions) -> ClaudeCodeBackend:
    """The backend of an agent."""
    return ClaudeCodeBackend(options)
