"""Gemini CLI as an agent: its command line without a terminal, with events as JSON."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dispatch_runner.backends.gemini.turn import Turn
from dispatch_runner.backends.shared.agent_program import AgentProgram
from dispatch_runner.backends.shared.choices import (
    NETWORK,
    access_of,
    commands_of,
    model_of,
    prompt_with_system,
    reason_against,
)
from dispatch_runner.backends.shared.following import looking
from dispatch_runner.backends.shared.prices import load_prices, unknown_price
from dispatch_runner.backends.shared.programs import leftovers
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.backends.shared.words import asks_for_json, output_of, prompt_of, question_of
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import temporary_folder
from dispatch_runner.protocols import Access, AgentCall, Answer, Question, Role
from dispatch_runner.settings.backend_options import BackendOptions

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS")
"""With one of these it needs no login, and so nothing of the user's own settings."""
CREDENTIALS = (
    *KEYS,
    "GEMINI_CLI_HOME",
    "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_GEMINI_BASE_URL",
    "GOOGLE_GENAI_USE_GCA",
    "GOOGLE_GENAI_USE_VERTEXAI",
    *NETWORK,
)
INSTALL = "npm install -g @google/gemini-cli"
DEFAULT_MODEL = "pro"
"""Without a model, it would first ask another one which to use."""
MODES: Mapping[Access, str] = {"read": "default", "edit": "auto_edit", "execute": "auto_edit"}
RULE = '[[rule]]\ntoolName = "run_shell_command"\ndecision = "allow"\npriority = 500\n'


class GeminiBackend:
    """Asks Gemini CLI, once for each round.

    With a key it runs in a home of its own, with settings of ours and none of the user's; with the
    user's login in the user's. A repair says everything again, since that home is gone.
    """

    name = "gemini"
    repairs = True

    def __init__(self, options: BackendOptions) -> None:
        self.provider = options.provider or "google"
        self._options = options
        key = options.api_key_env
        self.program = AgentProgram(options, "gemini", (*CREDENTIALS, *((key,) if key else ())))

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role, or null."""
        return reason_against(role, self.program, self._options, INSTALL)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null."""
        return unknown_price(self.provider, self._options.model)

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The answer of one round. Raises `AgentError`.

        When it is cancelled, Gemini CLI and all that it started have ended before it returns.
        """
        question = await question_of(role, call)
        spending = Spending(call, self.name, self.provider, None)
        with self._private_folder(question) as (folder, variables):
            home = variables.get("GEMINI_CLI_HOME") or self._users_home
            turn = Turn(call, self.name, Path(home) / ".gemini", spending)
            arguments = self._arguments(question, call, folder)
            try:
                completed = await looking(
                    lambda: self.program.run(
                        arguments,
                        call,
                        turn.event,
                        stdin=_prompt(question, call),
                        variables=variables,
                    ),
                    turn.look,
                    load_prices,
                )
            finally:
                turn.settle()
        turn.check(completed)
        warnings = [*turn.warnings, *leftovers(completed, self.name)]
        return Answer(output_of(turn.text, question), warnings)

    def _arguments(self, question: Question, call: AgentCall, folder: Path) -> list[str]:
        access = access_of(self._options, question)
        arguments = [
            f"--model={model_of(self._options, question) or DEFAULT_MODEL}",
            "--output-format=stream-json",
            f"--approval-mode={MODES[access]}",
            "--extensions=none",
        ]
        if access == "execute":
            policy = folder / "policy.toml"
            policy.write_text(_rules(commands_of(question)))
            arguments.append(f"--policy={policy}")
        workspace = call.folder(self._options.cwd)
        arguments += [f"--include-directories={each}" for each in _further_folders(call, workspace)]
        if not has_settings(workspace):
            arguments.append("--skip-trust")
        return arguments

    @contextmanager
    def _private_folder(self, question: Question) -> Iterator[tuple[Path, Mapping[str, str]]]:
        """A folder that is gone afterwards, and the variables that send the program there."""
        folder = Path(tempfile.mkdtemp(prefix="dispatch-runner-"))
        try:
            temporary = folder / "tmp"
            temporary.mkdir()
            yield folder, {**self._variables(folder), "TMPDIR": str(temporary)}
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _variables(self, folder: Path) -> Mapping[str, str]:
        seen, own = self.program.environment, self._options
        variables = {"GEMINI_CLI_NO_RELAUNCH": "true"}  # a second process would swallow signals
        if own.base_url is not None:
            variables["GOOGLE_GEMINI_BASE_URL"] = own.base_url
        if own.api_key_env is not None and own.api_key_env in seen:
            variables["GEMINI_API_KEY"] = seen[own.api_key_env]
        keyed = any(seen.get(key) or variables.get(key) for key in KEYS)
        if keyed and "GOOGLE_GENAI_USE_GCA" not in seen:
            variables["GEMINI_CLI_HOME"] = str(folder)
            vertex = seen.get("GOOGLE_GENAI_USE_VERTEXAI") == "true"
            self._write_settings(folder, "vertex-ai" if vertex else "gemini-api-key")
        return variables

    def _write_settings(self, home: Path, login: str) -> None:
        import orjson

        settings: JsonObject = {
            "security": {
                "auth": {"selectedType": login},
                "environmentVariableRedaction": {"enabled": True},
            },
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            "general": {
                "enableAutoUpdate": False,
                "enableAutoUpdateNotification": False,
                "maxAttempts": 1,
                "retryFetchErrors": False,
            },
        }
        if self._options.max_turns is not None:
            settings["model"] = {"maxSessionTurns": self._options.max_turns}
        (home / ".gemini").mkdir()
        (home / ".gemini/settings.json").write_bytes(orjson.dumps(settings))

    @property
    def _users_home(self) -> str:
        seen = self.program.environment
        return seen.get("GEMINI_CLI_HOME") or seen.get("HOME", "")


def has_settings(workspace: Path) -> bool:
    """Whether a folder has settings for Gemini CLI, which may start programs and send the key
    elsewhere: only the user's own trust, given to Gemini CLI, makes it read them."""
    home = Path.home()
    return (workspace / ".gemini").exists() or any(
        (folder / name).exists()
        for folder in (workspace, *workspace.parents)
        if folder != home
        for name in (".env", ".gemini/.env")
    )


def _further_folders(call: AgentCall, workspace: Path) -> list[str]:
    """Allowed folders besides the workspace. It reads all their names before it starts: not those of
    the temporary folder, nor of one around the workspace."""
    return [
        root
        for root in call.roots.roots
        if root != temporary_folder() and not workspace.is_relative_to(root) and Path(root).is_dir()
    ]


def _rules(commands: Sequence[str] | None) -> str:
    """A policy that lets it run these commands, or any."""
    if commands is None:
        return RULE
    import json

    return "\n".join(f"{RULE}commandPrefix = {json.dumps(command)}\n" for command in commands)


def _prompt(question: Question, call: AgentCall) -> str:
    prompt = prompt_of(question, call, in_session=False)
    if question.schema is not None:
        prompt += f"\n\n{asks_for_json(question.schema)}"
    prompt = prompt_with_system(question, prompt)
    # a slash at the start would be a command of Gemini CLI
    return f"Your task:\n\n{prompt}" if prompt.lstrip().startswith("/") else prompt


def build(options: BackendOptions) -> GeminiBackend:
    """The backend of an agent."""
    return GeminiBackend(options)
