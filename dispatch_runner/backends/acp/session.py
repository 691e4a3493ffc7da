"""The conversation with one agent over the Agent Client Protocol, from greeting to answer."""

from collections.abc import Mapping
from contextlib import suppress

import anyio

from dispatch_runner.backends.acp.choices import (
    Choice,
    mode_choice,
    model_choice,
)
from dispatch_runner.backends.acp.connection import Connection, RpcError
from dispatch_runner.backends.acp.failures import AUTH_REQUIRED, failure_of
from dispatch_runner.backends.acp.policy import MODES
from dispatch_runner.backends.acp.turn import Turn
from dispatch_runner.backends.shared.answers import EXCERPT, output_of
from dispatch_runner.backends.shared.outcomes import MORE_ACCESS
from dispatch_runner.backends.shared.prompts import no_command, whole_prompt
from dispatch_runner.backends.shared.values import object_in, objects_in
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.process import cut
from dispatch_runner.protocols import AgentCall, Answer, Question
from dispatch_runner.settings.names import suggestion

VERSION = 1
"""Of the protocol."""

CANCEL_SECONDS = 2.0
"""How long an agent that is told to cancel may take to say what it consumed."""

NO_CAPABILITIES = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
"""An agent has its own files and terminals; some handle ours badly."""

STOPS = {
    "max_tokens": (ErrorType.BUDGET_EXCEEDED, "the agent's answer reached its limit of tokens"),
    "max_turn_requests": (
        ErrorType.BUDGET_EXCEEDED,
        "the agent reached its own limit of requests to its model",
    ),
    "refusal": (ErrorType.UNVERIFIED, "the agent's model refused to answer"),
    "cancelled": (ErrorType.UNVERIFIED, "the agent stopped by itself before it was done"),
}


class Session:
    """One round with one program."""

    def __init__(
        self,
        connection: Connection,
        turn: Turn,
        call: AgentCall,
        *,
        model: str | None,
        environment: Mapping[str, str],
    ) -> None:
        """
        Args:
            model: the operator's choice.
            environment: the program's, where a key for its log-in may be.
        """
        self._connection = connection
        self._turn = turn
        self._call = call
        self._model = model
        self._environment = environment
        self._warnings: list[str] = []
        self._id = ""

    async def answer(self, question: Question, folder: str) -> Answer:
        """The agent's answer to the question, asked in that folder. Raises `AgentError`."""
        try:
            welcome = await self._greet()
            state, again = await self._open(welcome, {"cwd": folder, "mcpServers": []})
            mode = await self._choose_mode(state, again=again)
            model = await self._choose_model(state, question)
            agent, session = _identity(welcome), self._id
            self._call.log.tell(
                "session", agent=agent, session=session, continued=again, mode=mode, model=model
            )
            prompt = no_command(whole_prompt(question, self._call, in_session=again))
            result = await self._prompt(prompt)
        except RpcError as error:
            raise failure_of(error, self._connection.name) from error
        return Answer(self._output(result, question), self._warnings, self._id)

    async def _greet(self) -> JsonObject:
        from dispatch_runner import __version__

        welcome = await self._connection.request(
            "initialize",
            {
                "protocolVersion": VERSION,
                "clientCapabilities": NO_CAPABILITIES,
                "clientInfo": {"name": "dispatch-runner", "version": __version__},
            },
        )
        version = welcome.get("protocolVersion")
        if version != VERSION:
            raise AgentError(
                ErrorType.UNAVAILABLE,
                f"{self._connection.name!r} speaks version {version} of ACP, not {VERSION}",
                retryable=False,
                hint=f"use a release of the agent that speaks version {VERSION}",
            )
        return welcome

    # the session

    async def _open(self, welcome: JsonObject, params: JsonObject) -> tuple[JsonObject, bool]:
        """What there is to choose in the session, and whether it is the one of the round before."""
        repair = self._call.repair
        if repair is not None and repair.session is not None:
            state = await self._continue(welcome, {**params, "sessionId": repair.session})
            if state is not None:
                self._id = repair.session
                return state, True
        state = await self._new(welcome, params)
        if not isinstance(session := state.get("sessionId"), str):
            message = f"{self._connection.name!r} opened a session without an id"
            raise AgentError(ErrorType.BAD_OUTPUT, message)
        self._id = session
        return state, False

    async def _continue(self, welcome: JsonObject, params: JsonObject) -> JsonObject | None:
        """The old session's state; null where the agent cannot continue it: then all is said anew."""
        able = object_in(welcome.get("agentCapabilities"))
        resumes = isinstance(object_in(able.get("sessionCapabilities")).get("resume"), dict)
        if not resumes and able.get("loadSession") is not True:
            return None
        try:
            return await self._connection.request(
                "session/resume" if resumes else "session/load", params
            )
        except RpcError as error:
            self._call.log.tell("session_lost", code=error.code, message=error.message[:EXCERPT])
            return None

    async def _new(self, welcome: JsonObject, params: JsonObject) -> JsonObject:
        try:
            return await self._connection.request("session/new", params)
        except RpcError as error:
            method = self._log_in_method(welcome)
            if error.code != AUTH_REQUIRED or method is None:
                raise
        await self._connection.request("authenticate", {"methodId": method})
        return await self._connection.request("session/new", params)

    def _log_in_method(self, welcome: JsonObject) -> str | None:
        """A way to log in that needs no person: by a key in the agent's environment."""
        for method in objects_in(welcome.get("authMethods")):
            name = method.get("id")
            if isinstance(name, str) and _by_key(method, self._environment):
                return name
        return None

    # its mode and its model

    async def _choose_mode(self, state: JsonObject, *, again: bool) -> str | None:
        """The mode to work in, as far as the agent has modes: one that only reads where nothing may be
        changed, else one that asks.

        It is set in any case in an old session: some agents, such as Gemini's, go on replaying that when
        they have said that it is loaded, and have done when they answer to something else.
        """
        choice = mode_choice(state, self._id)
        if choice is None:
            return None
        found = (choice.find(name) for name in MODES[self._turn.policy.only_reads])
        value = next((value for value in found if value), None)
        return await self._set(choice, value, always=again)

    async def _choose_model(self, state: JsonObject, question: Question) -> str | None:
        """The model that answers, as far as the agent tells. Raises `AgentError` when it does not have
        the operator's."""
        choice = model_choice(state, self._id)
        wanted = self._model or question.model
        if wanted is None:
            return None if choice is None else str(choice.current)
        value = choice.find(wanted) if choice is not None else None
        if choice is not None and value is not None:
            return await self._set(choice, value)
        names = () if choice is None else tuple(choice.names)
        hint = suggestion(wanted, names) if names else "choose the model in the agent's command"
        message = f"{self._connection.name!r} offers no model {wanted!r}"
        if self._model is not None:
            raise AgentError(ErrorType.INVALID_INPUT, message, hint=hint)
        self._warnings.append(f"{message}: its own was used")
        return None if choice is None else str(choice.current)

    async def _set(self, choice: Choice, value: str | None, *, always: bool = False) -> str:
        if value is None or (value == choice.current and not always):
            return str(choice.current)
        await self._connection.request(choice.method, {**choice.parameters, choice.key: value})
        return value

    # the prompt

    async def _prompt(self, words: str) -> JsonObject:
        """How the prompt ended. What it consumed is told whatever happens."""
        self._turn.begin(self._id)
        params = {"sessionId": self._id, "prompt": [{"type": "text", "text": words}]}
        result: JsonObject | None = None
        try:
            with self._turn.scope:
                try:
                    result = await self._connection.request("session/prompt", params)
                except anyio.get_cancelled_exc_class():
                    result = await self._cancel()
                    raise
        finally:
            self._turn.end(result)
        if self._turn.halted is not None:
            raise self._turn.halted
        assert result is not None
        return result

    async def _cancel(self) -> JsonObject | None:
        """Tells the agent to stop; what it answers to the prompt then, if it does so soon."""
        self._turn.leave()
        self._connection.notify("session/cancel", {"sessionId": self._id})
        result: JsonObject | None = None
        with anyio.move_on_after(CANCEL_SECONDS, shield=True) as waiting:
            async with anyio.create_task_group() as group:
                group.start_soon(_end_by, self._call.hurry, waiting)
                with suppress(RpcError, AgentError):
                    result = await self._connection.response()
                group.cancel_scope.cancel()
        return result

    def _output(self, result: JsonObject, question: Question) -> JsonObject:
        """The answer, when it is one. Raises `AgentError`."""
        reason, denied = result.get("stopReason"), self._turn.denied
        self._call.log.tell("ended", reason=reason, denied=denied)
        text = self._turn.text
        if denied:
            raise AgentError(
                ErrorType.PERMISSION_DENIED,
                f"the agent was not allowed to use {denied[0]!r}",
                hint=MORE_ACCESS,
                details={"denied": denied, "answer": text[:EXCERPT]},
                session=self._id,
            )
        if reason == "end_turn":
            return output_of(text, question, self._id)
        kind, message = STOPS.get(
            str(reason),
            (ErrorType.BAD_OUTPUT, f"the agent ended for an unknown reason: {reason!r}"),
        )
        details = {"stop_reason": reason, "answer": text[:EXCERPT]}
        raise AgentError(kind, message, details=details, session=self._id)


async def _end_by(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _identity(welcome: JsonObject) -> str:
    """What the agent calls itself, and its version."""
    about = object_in(welcome.get("agentInfo"))
    return cut(f"{about.get('name', '?')} {about.get('version', '')}".strip(), EXCERPT)


def _by_key(method: JsonObject, environment: Mapping[str, str]) -> bool:
    """Whether a way to log in only takes a key from the environment."""
    if method.get("type") == "env_var":
        variables = [each for each in objects_in(method.get("vars")) if not each.get("optional")]
        return all(each.get("name") in environment for each in variables)
    return method.get("type") in {None, "agent"} and "api-key" in str(method.get("id"))
