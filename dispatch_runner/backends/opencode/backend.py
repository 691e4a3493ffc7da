"""opencode as an agent: its command line without a terminal, `opencode run --format json`."""

from collections.abc import Mapping
from typing import Any

from dispatch_runner.backends.opencode.turn import Turn
from dispatch_runner.backends.shared.agent_program import NETWORK, AgentProgram
from dispatch_runner.backends.shared.answers import output_of
from dispatch_runner.backends.shared.choices import (
    access_of,
    allowed_by,
    commands_of,
    model_of,
)
from dispatch_runner.backends.shared.prices import unknown_price
from dispatch_runner.backends.shared.programs import leftovers, output_files
from dispatch_runner.backends.shared.prompts import question_of, whole_prompt
from dispatch_runner.backends.shared.spending import Spending
from dispatch_runner.backends.shared.turns import run_turn
from dispatch_runner.models import JsonObject
from dispatch_runner.protocols import Access, AgentCall, Answer, Question, Role
from dispatch_runner.settings.backend_options import BackendOptions

INSTALL = "npm install -g opencode-ai"
KEYS = {
    "google": ("GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
    "opencode": ("OPENCODE_API_KEY",),
}
"""Variables of the keys of those providers whose own is not called `NAME_API_KEY`."""
KNOWN = frozenset({"anthropic", "google", "openai"})
"""Providers whose protocol opencode speaks by itself; others are asked as OpenAI's chat."""
ISOLATED = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
    "OPENCODE_DISABLE_EXTERNAL_SKILLS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    "OPENCODE_DISABLE_SHARE": "1",
}
"""A repository's settings, plugins and servers are not read, and nothing is fetched but the answer."""
MAY: Mapping[Access, tuple[str, ...]] = {
    "read": ("glob", "grep", "list", "lsp", "read", "todoread", "todowrite"),
    "edit": ("edit",),
    "execute": ("bash",),
}
"""What each access adds to the one before, by opencode's names of permissions."""


class OpencodeBackend:
    """Asks opencode, once for each round; a repair goes on in the same session."""

    name = "opencode"
    repairs = True

    def __init__(self, options: BackendOptions) -> None:
        prefix = (options.model or "").partition("/")[0]
        self.provider = options.provider or prefix or "opencode"
        self._options = options
        keys = KEYS.get(prefix, (f"{prefix.upper().replace('-', '_')}_API_KEY",) if prefix else ())
        credentials = (*keys, "XDG_*_HOME", *NETWORK)
        self.program = AgentProgram(options, "opencode", credentials, install=INSTALL)

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role, or null."""
        if self._options.base_url and "/" not in (self._options.model or ""):
            return 'base_url needs a model for opencode: write model = "PROVIDER/MODEL"'
        return self.program.unavailable(role)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null."""
        return unknown_price(self.provider, _name(self._options.model))

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The answer of one round. Raises `AgentError`.

        When it is cancelled, opencode and all that it started have ended before it returns.
        """
        question = await question_of(role, call)
        session = call.repair.session if call.repair else None
        model = model_of(self._options, question)
        spending = Spending(call, self.name, self.provider, self._options.max_turns)
        spending.model = _name(model)
        access = access_of(self._options, question)
        turn = Turn(call, self.name, output_files(call)[1], spending, allowed_by(access, MAY))
        variables = {
            **ISOLATED,
            **self.program.key_variable,
            **_database(call),
            "OPENCODE_CONFIG_CONTENT": _json(self._settings(question, call, access, model)),
        }
        completed = await run_turn(
            self.program,
            turn,
            _arguments(call, model, session),
            call,
            stdin=whole_prompt(question, call, in_session=session is not None),
            variables=variables,
        )
        return Answer(
            output_of(turn.text, question, turn.session),
            leftovers(completed.leftovers, self.name),
            turn.session,
        )

    def _settings(
        self, question: Question, call: AgentCall, access: Access, model: str | None
    ) -> JsonObject:
        settings: JsonObject = {
            "autoupdate": False,
            "share": "disabled",
            "snapshot": False,
            "formatter": False,
            "lsp": False,
            "permission": _permissions(access, question, call),
        }
        provider, _, name = (model or "").partition("/")
        if name:
            settings["provider"] = {provider: self._provider(provider, name)}
        return settings

    def _provider(self, provider: str, model: str) -> JsonObject:
        """The model, which its list may not have yet, and where the operator wants it to be asked."""
        own: JsonObject = {"models": {model: {}}, "options": {}}
        if self._options.api_key_env is not None:
            own["options"]["apiKey"] = f"{{env:{self._options.api_key_env}}}"
        if self._options.base_url is not None:
            own["options"]["baseURL"] = self._options.base_url
            if provider not in KNOWN:
                own["npm"] = "@ai-sdk/openai-compatible"
        return own


def _database(call: AgentCall) -> Mapping[str, str]:
    """Its sessions, one file for each attempt: several opencodes that start at once on one file find it
    locked. Null where there is no folder that lasts: then all use the user's."""
    prefix = call.output_prefix
    if prefix is None:
        return {}
    folder = prefix.parent / "opencode"
    folder.mkdir(mode=0o700, exist_ok=True)
    return {"OPENCODE_DB": str(folder / f"{prefix.name}.{call.attempt}.db")}


def _arguments(call: AgentCall, model: str | None, session: str | None) -> list[str]:
    # without a title it would ask a model for one
    arguments = ["run", "--format=json", "--pure", f"--title={call.task_id}"]
    arguments += ["--print-logs", "--log-level=ERROR"]
    arguments += [f"--model={model}"] if model else []
    return [*arguments, f"--session={session}"] if session else arguments


def _permissions(access: Access, question: Question, call: AgentCall) -> JsonObject:
    """What it may do; all else is denied without being asked."""
    permissions: dict[str, Any] = {"*": "deny", **dict.fromkeys(allowed_by(access, MAY), "allow")}
    permissions["external_directory"] = {
        "*": "deny",
        **{f"{root.rstrip('/')}/*": "allow" for root in call.roots.roots},
    }
    commands = commands_of(question)
    if access == "execute" and commands is not None:
        permissions["bash"] = {"*": "deny", **{f"{each} *": "allow" for each in commands}}
    return permissions


def _name(model: str | None) -> str | None:
    """As the provider calls it."""
    return model.partition("/")[2] or None if model else None


def _json(value: JsonObject) -> str:
    import orjson

    return orjson.dumps(value).decode()


def build(options: BackendOptions) -> OpencodeBackend:
    """The backend of an agent."""
    return OpencodeBackend(options)
