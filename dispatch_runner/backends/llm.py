"""A bare model as an agent, by `pydantic_ai`: Anthropic, OpenAI, Google, Ollama, and what speaks alike.

It has file tools and the tools of the operator's MCP servers, and no way to start a program.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

from dispatch_runner.backends.llm_models import (
    ModelName,
    missing,
    model_name,
    unknown_price,
)
from dispatch_runner.backends.words import prompt_of
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dispatch_runner.backends.llm_run import Messages
    from dispatch_runner.backends.llm_tools import ModelTool
    from dispatch_runner.models import JsonObject
    from dispatch_runner.protocols import (
        AgentCall,
        Answer,
        PromptedRole,
        Question,
        Role,
        ToolInfo,
    )
    from dispatch_runner.settings.values import BackendOptions

MOST_SESSIONS = 64
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
        if not hasattr(role, "question"):
            return f"agent {role.name!r} cannot be asked in words"
        if self._model is None:
            return f"no model is chosen: write model = \"PROVIDER:NAME\" in [agents.{role.name}]"
        return self._model if isinstance(self._model, str) else missing(self._model, self._options)

    def unknown_cost(self, role: Role) -> str | None:
        """Why the cost of a call will not be known, or null."""
        if not isinstance(self._model, ModelName) or missing(self._model, self._options):
            return None
        return unknown_price(self._model)

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """One round. Raises `AgentError`; with a session, if the conversation may go on."""
        model = self._require(role)
        question = cast("PromptedRole", role).question(call)
        call.meter.pulse()
        history = self._sessions.pop(call.repair.session or "", []) if call.repair else []
        prompt = prompt_of(question, call, in_session=bool(history))
        call.log.tell("init", model=self._options.model, provider=model.provider.name)
