"""One round with a model, by `pydantic_ai`. Importing this takes half a second and more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic_ai import Agent, StructuredDict, capture_run_messages
from pydantic_ai.exceptions import ToolFailed, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import Tool
from pydantic_ai.toolsets import FunctionToolset
from pydantic_ai.usage import UsageLimits

from dispatch_runner.backends.llm.errors import EXCERPT, agent_error, refused
from dispatch_runner.backends.llm.tools import Denied, ModelTool, ToolTrouble
from dispatch_runner.backends.llm.watch import Watch, WatchedModel
from dispatch_runner.backends.shared.answers import output_of
from dispatch_runner.backends.shared.prompts import asks_for_json
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.protocols import AgentCall, Question

MOST_TURNS = 50
"""Requests of one round, when the operator says nothing."""

TOOL_RETRIES = 3
"""How often in a row a model may call a tool wrongly, such as one that there is not."""

ANSWER_RETRIES = 1
"""How often a model is told that it must answer, or answer by the schema."""

ANSWER_CHARACTERS = 100_000
"""Of a tool's answer, as the model sees it."""

SETTINGS = ModelSettings(
    max_retries=0,  # the dispatcher tries again, where all tasks of a provider share one gate
    cache=True,  # each request of a round begins with all that was said before
    framing_announcement="when_needed",  # else some models get words of the library in every prompt
)

Messages = list[ModelMessage]


class Asked(NamedTuple):
    """What a round starts from."""

    question: Question
    prompt: str
    history: Messages
    tools: Sequence[ModelTool]
    max_turns: int | None


class Round(NamedTuple):
    """What came of it."""

    outcome: JsonObject | AgentError
    messages: Messages
    """All that was said, with the history."""
    warnings: Sequence[str]


async def ask(model: Model, asked: Asked, call: AgentCall) -> Round:
    """Asks until there is an answer, or a failure. Raises nothing but what cancels it."""
    watch = Watch(model.model_name, call, asked.max_turns or MOST_TURNS)
    outcome: JsonObject | AgentError
    with capture_run_messages() as messages:
        try:
            outcome = await _answer(WatchedModel(model, watch), asked, call, watch)
        except AgentError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 - whatever the client libraries raise
            outcome = _no_answer(error, watch) or agent_error(error, watch.model)
    failed = isinstance(outcome, AgentError)
    reason = outcome.type if isinstance(outcome, AgentError) else _reason(watch)
    call.log.tell("end", failed=failed, reason=reason, requests=watch.requests)
    return Round(outcome, messages, _warnings(watch))


async def _answer(model: Model, asked: Asked, call: AgentCall, watch: Watch) -> JsonObject:
    question, denials = asked.question, Denials(call)
    schema = _output_type(question)
    agent = Agent(
        model,
        name=call.agent,
        output_type=schema or str,
        instructions=_instructions(question, in_words=schema is None),
        toolsets=[FunctionToolset([denials.tool(each) for each in asked.tools])],
        retries={"tools": TOOL_RETRIES, "output": ANSWER_RETRIES},
    )
    result = await agent.run(
        asked.prompt,
        message_history=asked.history or None,
        model_settings=SETTINGS,
        usage_limits=UsageLimits(request_limit=None),  # the watch keeps them
        event_stream_handler=watch.heed,
    )
    _require_whole(result.response, watch.model)
    denials.require_none()
    output = result.output
    return output_of(output, question) if isinstance(output, str) else dict(output)


def _output_type(question: Question) -> type[Any] | None:
    """The answer by a tool with the schema; null when there is none, or when it refers to itself,
    which the library cannot do: then it is asked for in words."""
    if question.schema is None:
        return None
    try:
        return StructuredDict(question.schema)
    except UserError:
        return None


def _instructions(question: Question, *, in_words: bool) -> str | None:
    parts = [question.system]
    if in_words and question.schema is not None:
        parts.append(asks_for_json(question.schema))
    return "\n\n".join(part for part in parts if part) or None


def _require_whole(last: ModelResponse, model: str) -> None:
    """Raises `AgentError` when the model did not end of its own accord."""
    if last.finish_reason == "content_filter":
        raise refused(model, last.text or "")
    if last.finish_reason == "length":
        raise AgentError(
            ErrorType.BUDGET_EXCEEDED,
            f"the answer of model '{model}' is cut off: it is as long as the model may answer",
            hint="ask for less at once",
        )


def _no_answer(error: Exception, watch: Watch) -> AgentError | None:
    """What it means that the library gave up on the model's answers; null: the error says it."""
    last = watch.last
    if type(error) is not UnexpectedModelBehavior or last is None or last.tool_calls:
        return None
    said = (last.text or "").strip()
    if not said:
        return AgentError(ErrorType.UNVERIFIED, f"model '{watch.model}' ended with an empty answer")
    return AgentError(
        ErrorType.BAD_OUTPUT,
        f"the answer of model '{watch.model}' is not the JSON object that was asked for",
        details={"excerpt": said[:EXCERPT]},
    )


def _reason(watch: Watch) -> str | None:
    return watch.last.finish_reason if watch.last else None


def _warnings(watch: Watch) -> list[str]:
    if not watch.unmeasured:
        return []
    return [f"the server of model '{watch.model}' does not say how many tokens were used"]


class Denials:
    """What the model was not allowed. The tools of one round go through it."""

    def __init__(self, call: AgentCall) -> None:
        self._call = call
        self._denied: dict[str, str] = {}
        """The last refusal of each tool that was not followed by a success."""

    def tool(self, tool: ModelTool) -> Tool[None]:
        """The tool, as the library wants it."""

        async def use(**given: Any) -> Any:
            try:
                answer = await tool.run(given)
            except ToolTrouble as trouble:
                if isinstance(trouble, Denied):
                    self._denied[tool.name] = str(trouble)
                    self._call.log.tell("denied", tool=tool.name, reason=str(trouble))
                raise ToolFailed(str(trouble)) from trouble
            if not tool.writes:  # what could not be written is not mended by writing something else
                self._denied.pop(tool.name, None)
            return _bounded(answer)

        return Tool.from_schema(use, tool.name, tool.description, tool.schema)

    def require_none(self) -> None:
        """Raises `AgentError` when the model lacks what it asked for."""
        for name, reason in self._denied.items():
            raise AgentError(
                ErrorType.PERMISSION_DENIED,
                f"the model was not allowed to use '{name}': {reason}",
                hint="give the agent more access, or allow the folder with --allow-path",
                details={"denied": dict(self._denied)},
            )


def _bounded(answer: Any) -> Any:
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    if len(text) <= ANSWER_CHARACTERS:
        return answer
    return f"{text[:ANSWER_CHARACTERS]}\n[cut: {len(text)} characters in all]"


def may_go_on(said: Messages) -> bool:
    """Whether a further word of the user may follow: the model has ended, and waits for no tool."""
    if not said:
        return False
    last = said[-1]
    if isinstance(last, ModelResponse):
        return bool(last.parts) and not last.tool_calls
    return all(isinstance(part, ToolReturnPart) for part in last.parts)
