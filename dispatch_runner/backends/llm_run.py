"""One round with a model, by `pydantic_ai`. Importing this takes half a second and more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic_ai import Agent, RunContext, StructuredDict, capture_run_messages
from pydantic_ai.exceptions import (
    ModelConnectionError,
    ModelHTTPError,
    ToolFailed,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import Tool
from pydantic_ai.toolsets import FunctionToolset
from pydantic_ai.usage import UsageLimits

from dispatch_runner.backends.llm_errors import agent_error, refused
from dispatch_runner.backends.llm_tools import Denied, ModelTool, ToolTrouble
from dispatch_runner.backends.words import asks_for_json, output_of
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject, Usage
from dispatch_runner.models.budget import Budget
from dispatch_runner.protocols import AgentCall, Question

MOST_TURNS = 50
"""Requests of one round, when the operator says nothing."""

TOOL_RETRIES = 3
"""How often in a row a model may call a tool wrongly, such as one that there is not."""

ANSWER_RETRIES = 1
"""How often a model is told that it must answer by the schema."""

LOGGED_CHARACTERS = 400
ANSWER_CHARACTERS = 100_000
"""Of a tool's answer, as the model sees it."""

SETTINGS = ModelSettings(
    max_retries=0,  # the dispatcher tries again, where all tasks of a provider share one gate
    cache=True,  # each request of a round begins with all that was said before
    framing_announcement="when_needed",  # else some models get words of the library in every prompt
)

Messages = list[ModelMessage]


class Round(NamedTuple):
    """What was said in a round, and what came of it."""

    output: JsonObject
    messages: Messages
    warnings: list[str]


class Asked(NamedTuple):
    """What a round starts from."""

    question: Question
    prompt: str
    history: Messages
    tools: Sequence[ModelTool]
    max_turns: int | None


async def ask(model: Model, asked: Asked, call: AgentCall) -> tuple[Messages, Round | AgentError]:
    """Asks until there is an answer, or a failure; with all that was said until then."""
    watch = Watch(model.model_name, call, asked.max_turns or MOST_TURNS)
    with capture_run_messages() as said:
        try:
            answer = await _run(WatchedModel(model, watch), asked, call, watch)
        except AgentError as error:
            return said, error
        except Exception as error:  # noqa: BLE001 - whatever the client libraries raise
            return said, watch.no_answer(error) or agent_error(error, watch.model)
    return said, answer


async def _run(model: Model, asked: Asked, call: AgentCall, watch: Watch) -> Round:
    question = asked.question
    schema = _output_type(question)
    in_words = schema is None and question.schema is not None
    agent = Agent(
        model,
        name=call.agent,
        output_type=schema or str,
        instructions=_instructions(question, in_words=in_words),
        toolsets=[FunctionToolset([watch.tool(each) for each in asked.tools])],
        retries={"tools": TOOL_RETRIES, "output": ANSWER_RETRIES},
    )
    result = await agent.run(
        asked.prompt,
        message_history=asked.history or None,
        model_settings=SETTINGS,
        usage_limits=UsageLimits(request_limit=None),  # kept by the watch, before each request
        event_stream_handler=watch.heed,
    )
    watch.judge(result.response)
    call.log.tell("end", reason=result.response.finish_reason, requests=watch.requests)
    output = result.output
    return Round(
        output_of(output, question) if isinstance(output, str) else dict(output),
        result.all_messages(),
        watch.warnings,
    )


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


class Watch:
    """What a round consumes and does: tells it as it happens, and keeps its limits."""

    def __init__(self, model: str, call: AgentCall, max_turns: int) -> None:
        self.model = model
        self.requests = 0
        self.warnings: list[str] = []
        self._call = call
        self._meter = call.meter
        self._max_turns = max_turns
        self._last: ModelResponse | None = None
        self._running = 0
        self._denied: dict[str, str] = {}
        """The last refusal of each tool that was not followed by a success."""

    def before_request(self) -> None:
        """Raises `AgentError` when nothing more may be asked."""
        self._meter.pulse()
        self._require_budget()
        if self.requests >= self._max_turns:
            raise AgentError(
                ErrorType.BUDGET_EXCEEDED,
                f"model '{self.model}' was asked {self.requests} times in one round and has not"
                " finished",
                hint="raise max_turns of the agent, or give it less to do",
            )
        self.requests += 1

    def not_answered(self, error: BaseException) -> None:
        """A request that the provider refused costs nothing; one that never arrived is none."""
        if isinstance(error, ModelConnectionError) and error.phase in {"pool", "connect"}:
            return
        refused_by_provider = isinstance(error, ModelHTTPError)
        self._meter.spend(Usage(requests=1, cost_usd=0.0 if refused_by_provider else None))

    def answered(self, response: ModelResponse) -> None:
        """A request that began to be answered; the answer may be cut off."""
        self._last, used = response, response.usage
        reported = not used.unmeasured_requests and (used.input_tokens or used.output_tokens)
        self._meter.spend(
            Usage(
                used.input_tokens - used.cache_read_tokens if reported else None,
                used.output_tokens if reported else None,
                used.cache_read_tokens if reported else None,
                requests=1,
                cost_usd=_cost(response) if reported else None,
            )
        )
        if not reported and response.state == "complete":
            self._unmeasured()

    def finished(self) -> None:
        """Raises `AgentError` when the last answer went over the budget."""
        self._require_budget(over=True)

    def judge(self, last: ModelResponse) -> None:
        """Raises `AgentError` when a run that ended well is no success all the same."""
        if last.finish_reason == "content_filter":
            raise refused(self.model, last.text or "")
        if last.finish_reason == "length":
            raise AgentError(
                ErrorType.BUDGET_EXCEEDED,
                f"the answer of model '{self.model}' is cut off: it is as long as the model may answer",
                hint="ask for less at once",
            )
        for name, reason in self._denied.items():
            raise AgentError(
                ErrorType.PERMISSION_DENIED,
                f"the model was not allowed to use '{name}': {reason}",
                hint="give the agent more access, or allow the folder with --allow-path",
                details={"denied": dict(self._denied)},
            )

    def no_answer(self, error: Exception) -> AgentError | None:
        """What it means that the library gave up on the model's answers; null: the error says it."""
        if type(error) is not UnexpectedModelBehavior or self._last is None:
            return None
        if self._last.tool_calls:
            return None
        said = (self._last.text or "").strip()
        if not said:
            return AgentError(
                ErrorType.UNVERIFIED, f"model '{self.model}' ended with an empty answer"
            )
        return AgentError(
            ErrorType.BAD_OUTPUT,
            f"the answer of model '{self.model}' is not the JSON object that was asked for",
            details={"excerpt": said[:LOGGED_CHARACTERS]},
        )

    async def heed(self, _: RunContext[None], events: AsyncIterable[AgentStreamEvent]) -> None:
        """Signs of life, and what tools are called."""
        async for event in events:
            if isinstance(event, FunctionToolCallEvent):
                self._running += 1
                self._log_call(event.part)
            elif isinstance(event, FunctionToolResultEvent):
                self._running = max(0, self._running - 1)
            self._meter.pulse(working=self._running > 0)

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

    def _log_call(self, part: ToolCallPart) -> None:
        given = part.args if isinstance(part.args, str) else json.dumps(part.args, default=str)
        self._call.log.tell("tool", name=part.tool_name, input=given[:LOGGED_CHARACTERS])

    def _require_budget(self, *, over: bool = False) -> None:
        """Args: over: an amount that is just used up is no reason yet."""
        budget, used = self._call.budget, self._meter.usage
        if budget is None or used is None:
            return
        for name, most, so_far in _amounts(budget, used):
            if (
                most is not None
                and so_far is not None
                and (so_far > most if over else so_far >= most)
            ):
                raise AgentError(
                    ErrorType.BUDGET_EXCEEDED,
                    f"the task's budget of {most:g} {name} is used up: {so_far:g} so far",
                    hint="raise it, or give the agent less to do",
                )

    def _unmeasured(self) -> None:
        warning = f"the server of model '{self.model}' does not say how many tokens were used"
        if warning not in self.warnings:
            self.warnings.append(warning)


def _amounts(budget: Budget, used: Usage) -> list[tuple[str, float | None, float | None]]:
    tokens = (used.input_tokens or 0) + (used.output_tokens or 0)
    return [
        ("tokens", budget.tokens, tokens),
        ("requests", budget.requests, used.requests),
        ("USD", budget.cost_usd, used.cost_usd),
    ]


def _cost(response: ModelResponse) -> float | None:
    """By the price list; null when there is no price, or when the answer was cut off."""
    if response.state != "complete":
        return None
    cost: Decimal | None = response.usage.cost  # as the provider said
    if cost is None:
        try:
            cost = response.cost().total_price
        except (LookupError, ValueError, AssertionError):
            return None
    return float(cost)


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


class WatchedModel(WrapperModel):
    """The model; its watch sees each request."""

    def __init__(self, model: Model, watch: Watch) -> None:
        super().__init__(model)
        self._watch = watch

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        self._watch.before_request()
        stream: StreamedResponse | None = None
        try:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
        except BaseException as error:
            if stream is None:
                self._watch.not_answered(error)
            raise
        finally:
            if stream is not None:
                self._watch.answered(stream.get())
        self._watch.finished()
