"""A bare model as an agent, by `pydantic_ai`: Anthropic, OpenAI, Google, Ollama, and what speaks alike.

It has file tools and the tools of the operator's MCP servers, and no way to start a program.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from dispatch_runner.backends.llm.models import (
    INSTALL,
    ModelName,
    build_model,
    http_client,
    load_client,
    missing,
    model_name,
)
from dispatch_runner.backends.shared.prices import unknown_price
from dispatch_runner.backends.shared.prompts import prompt_of, question_of, unprompted
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.protocols import Answer

if TYPE_CHECKING:
    from dispatch_runner.backends.llm.run import Asked, Messages, Round
    from dispatch_runner.backends.llm.tools import ModelTool
    from dispatch_runner.protocols import AgentCall, Question, Repair, Role
    from dispatch_runner.settings.backend_options import BackendOptions

CLOSING_SECONDS = 2.0
"""How long the farewell of connections may take."""

MARGIN_SECONDS = 5.0
"""How much longer than the attempt a server may be silent, so that the attempt's limit decides."""

MOST_SESSIONS = 32
"""Conversations that are remembered, in memory, in case that one is continued."""


class LlmBackend:
    """One model for one agent; calls share nothing but what was said, for as long as it may be needed."""

    name = "llm"
    repairs = True

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._model = None if options.model is None else model_name(options.model)
        self._sessions: OrderedDict[str, Messages] = OrderedDict()

    @property
    def provider(self) -> str | None:
        """The operator's word, else the model's."""
        if self._options.provider is None and isinstance(self._model, ModelName):
            return self._model.provider.name
        return self._options.provider

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role, or null."""
        if reason := unprompted(role):
            return reason
        if self._model is None:
            return f'no model is chosen: write model = "PROVIDER:NAME" in [agents.{role.name}]'
        return self._model if isinstance(self._model, str) else missing(self._model, self._options)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null."""
        if not isinstance(self._model, ModelName):
            return None
        return unknown_price(self._model.provider.name, self._model.name)

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """One round. Raises `AgentError`; with a session when the conversation can go on."""
        model = self._require(role)
        question = await question_of(role, call)
        call.meter.pulse()
        await _require_loaded(model.prefix)
        from dispatch_runner.backends.llm import run

        history = self._continued(call.repair)
        prompt = prompt_of(question, call, in_session=bool(history))
        tools, warnings = await self._tools(question, call)
        call.log.tell("init", model=self._options.model, tools=[tool.name for tool in tools])
        asked = run.Asked(question, prompt, history, tools, self._options.max_turns)
        done = await self._ask(model, asked, call)
        session = self._remember(done.messages)
        if isinstance(done.outcome, AgentError):
            done.outcome.session = session
            raise done.outcome
        return Answer(done.outcome, [*warnings, *done.warnings], session)

    def _require(self, role: Role) -> ModelName:
        """Raises `AgentError` when nothing can be asked."""
        reason = self.unavailable(role) or _wrong_event_loop()
        if reason is None and isinstance(self._model, ModelName):
            return self._model
        raise AgentError(ErrorType.UNAVAILABLE, str(reason), retryable=False)

    async def _ask(self, model: ModelName, asked: Asked, call: AgentCall) -> Round:
        """On connections of its own: what is shared by calls would have to be closed by one of them."""
        from dispatch_runner.backends.llm.run import ask

        client = http_client(call.timeout_seconds + MARGIN_SECONDS)
        try:
            return await ask(build_model(model, self._options, client), asked, call)
        finally:
            with anyio.move_on_after(CLOSING_SECONDS, shield=True):
                await client.aclose()

    async def _tools(
        self, question: Question, call: AgentCall
    ) -> tuple[list[ModelTool], list[str]]:
        """What the model may use, and what the role asks for in vain."""
        from dispatch_runner.backends.llm.tools import FileTools, server_tools

        access = self._options.access or question.access
        files = FileTools(call.workspace, call.roots).offered(access)
        servers = server_tools(await call.tools.offered(), call)
        named: dict[str, ModelTool] = {}
        for tool in (*files, *servers):
            named.setdefault(tool.name, tool)
        chosen = [tool for tool in named.values() if tool.is_in(question.tools)]
        warnings = [
            f"backend 'llm' has no tool '{name}' for this agent"
            for name in question.tools or ()
            if not any(tool.is_in((name,)) for tool in chosen)
        ]
        if access == "execute" and question.tools is None:
            warnings.append("backend 'llm' runs no programs: the agent worked with files only")
        return chosen, warnings

    def _continued(self, repair: Repair | None) -> Messages:
        """What was said in the session; empty when it is not known any more."""
        return [] if repair is None else self._sessions.pop(repair.session or "", [])

    def _remember(self, said: Messages) -> str | None:
        """A name for what was said; null when it ends in the middle."""
        from dispatch_runner.backends.llm.run import may_go_on

        if not may_go_on(said):
            return None
        session = os.urandom(8).hex()
        self._sessions[session] = said
        if len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session


_loading = threading.Lock()
_loaded: set[str] = set()


async def _require_loaded(prefix: str) -> None:
    """Raises `AgentError` when an installed package is not the one that is needed."""
    if prefix in _loaded:
        return
    try:
        await anyio.to_thread.run_sync(_load, prefix, abandon_on_cancel=True)
    except ImportError as error:
        raise AgentError(
            ErrorType.UNAVAILABLE,
            f"the client library cannot be loaded: {error}",
            retryable=False,
            hint=INSTALL,
        ) from error


def _load(prefix: str) -> None:
    """Imports all that a call needs, for up to two seconds the first time; in a thread.

    One thread at a time: modules that import each other may be seen half made by another. What is
    imported lives for ever and is many objects: the garbage collector would stop everything for 100 ms
    and more whenever it looked at them, and is told not to.
    """
    with _loading:
        if prefix in _loaded:
            return
        import gc

        collects = gc.isenabled()
        gc.disable()
        try:
            import dispatch_runner.backends.llm.run  # noqa: F401

            load_client(prefix)
            gc.freeze()
        finally:
            if collects:
                gc.enable()
        _loaded.add(prefix)


def _wrong_event_loop() -> str | None:
    """The client libraries know one only."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "backend 'llm' needs the event loop of asyncio"
    return None


def build(options: BackendOptions) -> LlmBackend:
    """The backend of one agent."""
    return LlmBackend(options)
