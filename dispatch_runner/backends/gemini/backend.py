"""Gemini CLI as an agent: its command line without a terminal, with events as JSON."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dispatch_runner.backends.gemini.turn import Turn
from dispatch_runner.backends.shared.agent_program import NETWORK, AgentProgram
from dispatch_runner.backends.shared.answers import output_of
from dispatch_runner.backends.shared.choices import (
    access_of,
    commands_of,
    model_of,
)
from dispatch_runner.backends.shared.prices import unknown_price
from dispatch_runner.backends.shared.programs import leftovers
from dispatch_runner.backends.shared.prompts import no_command, question_of, whole_prompt
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.backends.shared.turns import run_turn
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

AT_SIGNS = (
    "In this text, \\@ stands for an at sign alone: the backslash before it is none of the text."
)
"""Told where there are some: the program leaves the backslash that it takes as an escape."""


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
        self.program = AgentProgram(options, "gemini", CREDENTIALS, install=INSTALL)

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role, or null."""
        return self.program.unavailable(role)

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
            prompt = _without_files(no_command(whole_prompt(question, call, in_session=False)))
            completed = await run_turn(
                self.program, turn, arguments, call, stdin=prompt, variables=variables
            )
        warnings = [*turn.warnings, *leftovers(completed.leftovers, self.name)]
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
        seen, base_url = self.program.environment, self._options.base_url
        variables = {"GEMINI_CLI_NO_RELAUNCH": "true"}  # a second process would swallow signals
        if base_url is not None:
            variables["GOOGLE_GEMINI_BASE_URL"] = base_url
        if self.program.key is not None:
            variables["GEMINI_API_KEY"] = self.program.key
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


def _without_files(prompt: str) -> str:
    """The prompt with each at sign escaped: Gemini CLI takes what follows one for a file, also in source
    text, puts the name of a file that resembles it in its place, and adds that file."""
    escaped = re.sub(r"(?<!\\)@", r"\\@", prompt)
    return prompt if escaped == prompt else f"{AT_SIGNS}\n\n{escaped}"


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


def build(options: BackendOptions) -> GeminiBackend:
    """The backend of an agent."""
    return GeminiBackend(options)
