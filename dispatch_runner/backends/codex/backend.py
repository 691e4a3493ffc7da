"""OpenAI's Codex as an agent: its command line without a terminal, `codex exec --json`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dispatch_runner.backends.codex.record import SessionRecord
from dispatch_runner.backends.codex.turn import Turn
from dispatch_runner.backends.shared.agent_program import NETWORK, AgentProgram
from dispatch_runner.backends.shared.answers import output_of
from dispatch_runner.backends.shared.choices import (
    access_of,
    commands_of,
    model_of,
)
from dispatch_runner.backends.shared.prices import unknown_price
from dispatch_runner.backends.shared.programs import leftovers
from dispatch_runner.backends.shared.prompts import question_of, whole_prompt
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.backends.shared.strict_schema import is_strict
from dispatch_runner.backends.shared.turns import run_turn
from dispatch_runner.models import JsonObject
from dispatch_runner.process import MARKER
from dispatch_runner.protocols import Access, AgentCall, Answer, Question, Role
from dispatch_runner.settings.backend_options import BackendOptions
from dispatch_runner.settings.environment import DEFAULT_ENVIRONMENT

CREDENTIALS = ("CODEX_API_KEY", "CODEX_HOME", "OPENAI_API_KEY", *NETWORK)
INSTALL = "npm install -g @openai/codex"
SANDBOXES: Mapping[Access, str] = {
    "read": "read-only",
    "edit": "workspace-write",
    "execute": "workspace-write",
}
"""Codex runs commands with any access, within its sandbox."""
QUIET = (
    "analytics.enabled=false",
    "check_for_update_on_startup=false",
    "features.plugins=false",
    'approval_policy="never"',
    "project_doc_max_bytes=0",  # AGENTS.md of the repository
    'shell_environment_policy.inherit="all"',
)
TOOLS_SEE = (
    *DEFAULT_ENVIRONMENT,
    "LOGNAME",
    "SHELL",
    "TERM",
    "DISPATCH_RUNNER_*",
    "TRACEPARENT",
    MARKER,
)
"""What commands of the agent see of the environment: no keys."""
_SANDBOX_SETTINGS: Mapping[Access, tuple[str, ...]] = {
    "read": (),
    "edit": (
        "sandbox_workspace_write.network_access=false",
        "sandbox_workspace_write.exclude_slash_tmp=true",
        "sandbox_workspace_write.exclude_tmpdir_env_var=true",
    ),
    "execute": ("sandbox_workspace_write.network_access=true",),
}
OWN_PROVIDER = "dispatch-runner"
"""The name under which Codex is told of `base_url`."""


class CodexBackend:
    """Asks Codex, once for each round; a repair goes on in the same session.

    Its sandbox keeps the access, also for what its commands start. What it consumed is read from the
    record that it keeps of the session (`CODEX_HOME/sessions`), while it runs.
    """

    name = "codex"
    repairs = True

    def __init__(self, options: BackendOptions) -> None:
        self.provider = options.provider or "openai"
        self._options = options
        self.program = AgentProgram(options, "codex", CREDENTIALS, install=INSTALL)

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role, or null."""
        return self.program.unavailable(role)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null."""
        return unknown_price(self.provider, self._options.model)

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The answer of one round. Raises `AgentError`.

        When it is cancelled, Codex and all that it started have ended before it returns.
        """
        question = await question_of(role, call)
        record = SessionRecord(self._home)
        session = call.repair.session if call.repair else None
        if session is not None:
            record.find(session, from_end=True)
            session = session if record else None  # what was not kept cannot be continued
        spending = Spending(call, self.name, self.provider, self._options.max_turns)
        turn = Turn(call, self.name, record, spending, resumed=session is not None)
        with _schema_file(question.schema) as schema:
            arguments = self._arguments(question, call, session, schema)
            prompt = whole_prompt(
                question, call, in_session=session is not None, schema_in_words=schema is None
            )
            completed = await run_turn(
                self.program, turn, arguments, call, stdin=prompt, variables=self._variables
            )
        return Answer(
            output_of(turn.text, question, turn.session),
            [*turn.warnings, *leftovers(completed.leftovers, self.name)],
            turn.session,
        )

    def _arguments(
        self, question: Question, call: AgentCall, session: str | None, schema: Path | None
    ) -> list[str]:
        access, model = _access(self._options, question), model_of(self._options, question)
        settings = [*QUIET, f"shell_environment_policy.include_only={_toml(TOOLS_SEE)}"]
        settings += _SANDBOX_SETTINGS[access]
        settings += [f"sandbox_workspace_write.writable_roots={_toml(call.roots.roots)}"]
        settings += self._address()
        arguments = ["exec", "--json", "--skip-git-repo-check", "--ignore-rules"]
        arguments += ["--sandbox", SANDBOXES[access]]
        arguments += [f"--model={model}"] if model else []
        arguments += [f"--config={setting}" for setting in settings]
        arguments += ["--output-schema", str(schema)] if schema else []
        return [*arguments, "resume", session, "-"] if session else [*arguments, "-"]

    def _address(self) -> list[str]:
        """Of a server other than that which Codex itself is set up for."""
        if self._options.base_url is None:
            return []
        own = {
            "name": OWN_PROVIDER,
            "base_url": self._options.base_url,
            "env_key": self._options.api_key_env or "OPENAI_API_KEY",
            "wire_api": "responses",
        }
        keys = [
            f"model_providers.{OWN_PROVIDER}.{key}={_toml(value)}" for key, value in own.items()
        ]
        retries = ("request_max_retries=0", "stream_max_retries=0")
        return [
            f'model_provider="{OWN_PROVIDER}"',
            *keys,
            *(f"model_providers.{OWN_PROVIDER}.{each}" for each in retries),
        ]

    @property
    def _home(self) -> Path:
        """Where Codex keeps its sessions."""
        seen = self.program.environment
        default = Path(seen.get("HOME", "~")).expanduser() / ".codex"
        return Path(seen["CODEX_HOME"]) if seen.get("CODEX_HOME") else default

    @property
    def _variables(self) -> Mapping[str, str]:
        """The key under the name that Codex looks for, or that it is told of with the address."""
        key = self.program.key
        own = {} if key is None else {"CODEX_API_KEY": key}
        return own if self._options.base_url is None else self.program.key_variable


def _access(options: BackendOptions, question: Question) -> Access:
    """Single commands cannot be allowed: who may run some does without the network."""
    access = access_of(options, question)
    return "edit" if access == "execute" and commands_of(question) is not None else access


@contextmanager
def _schema_file(schema: JsonObject | None) -> Iterator[Path | None]:
    """The schema in a file, if it is one that the provider takes."""
    if schema is None or not is_strict(schema):
        yield None
        return
    import tempfile

    import orjson

    with tempfile.NamedTemporaryFile(prefix="dispatch-runner-", suffix=".json") as file:
        file.write(orjson.dumps(schema))
        file.flush()
        yield Path(file.name)


def _toml(value: str | tuple[str, ...]) -> str:
    """As a value of TOML: strings of JSON are strings of TOML, but for one character."""
    import json

    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def build(options: BackendOptions) -> CodexBackend:
    """The backend of an agent."""
    return CodexBackend(options)
