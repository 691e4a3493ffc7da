"""What a round with a model consumes and does: told as it happens, and kept within its limits."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.lowlevel import checkpoint
from pydantic_ai import RunContext
from pydantic_ai.exceptions import ModelConnectionError, ModelHTTPError
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    ModelResponse,
    ToolCallPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from dispatch_runner.backends.shared.spending import over_budget, used_up
from dispatch_runner.models import Usage
from dispatch_runner.models.usage import total_usage
from dispatch_runner.protocols import AgentCall

TURN_SECONDS = 0.0005
"""How long one answer may be read before others get a turn: fifty may arrive at once."""
LOGGED_CHARACTERS = 400
"""Of a tool's input, in the trace."""


class Watch:
    """Sees every request of a round, and every event of its answer."""

    def __init__(self, model: str, call: AgentCall, max_turns: int) -> None:
        self.model = model
        self.requests = 0
        self.last: ModelResponse | None = None
        """The last answer, whole or cut off."""
        self.unmeasured = False
        """Whether the server did not say how much was used."""
        self._call = call
        self._meter = call.meter
        self._max_turns = max_turns
        self._running = 0
        self._used: Usage | None = None
        """Of this round: the budget is what was left at its start."""

    def before_request(self) -> None:
        """Raises `AgentError` when nothing more may be asked."""
        self._meter.pulse()
        self._require_budget()
        if self.requests >= self._max_turns:
            turns = f"it made {self.requests} requests, and max_turns is {self._max_turns}"
            raise over_budget(self.model, turns)
        self.requests += 1

    def not_answered(self, error: BaseException) -> None:
        """A request that the provider refused costs nothing; one that never arrived is none."""
        if isinstance(error, ModelConnectionError) and error.phase in {"pool", "connect"}:
            return
        refused = isinstance(error, ModelHTTPError)
        self._spend(Usage(requests=1, cost_usd=0.0 if refused else None))

    def answered(self, response: ModelResponse) -> None:
        """A request that began to be answered; the answer may be cut off."""
        self.last = response
        self._spend(_usage(response) or Usage(requests=1))
        if response.usage.unmeasured_requests:
            self.unmeasured = True

    def finished(self) -> None:
        """Raises `AgentError` when the last answer went over the budget."""
        self._require_budget(over=True)

    async def heed(self, _: RunContext[None], events: AsyncIterable[AgentStreamEvent]) -> None:
        """Signs of life, and what tools are called.

        What has arrived is read without waiting, hundreds of events at a time: others get their turn
        in between.
        """
        turn_began = time.monotonic()
        async for event in events:
            if time.monotonic() - turn_began > TURN_SECONDS:
                await checkpoint()
                turn_began = time.monotonic()
            if isinstance(event, FunctionToolCallEvent):
                self._running += 1
                self._tell(event.part)
            elif isinstance(event, FunctionToolResultEvent):
                self._running = max(0, self._running - 1)
            self._meter.pulse(working=self._running > 0)

    def _spend(self, usage: Usage) -> None:
        self._used = total_usage([self._used, usage])
        self._meter.spend(usage)

    def _tell(self, part: ToolCallPart) -> None:
        given = part.args if isinstance(part.args, str) else json.dumps(part.args, default=str)
        self._call.log.tell("tool", name=part.tool_name, input=given[:LOGGED_CHARACTERS])

    def _require_budget(self, *, over: bool = False) -> None:
        """
        Args:
            over: an amount that is just used up is no reason yet.
        """
        if reason := used_up(self._call.budget, self._used, over=over):
            raise over_budget(self.model, reason)


def _usage(response: ModelResponse) -> Usage | None:
    """What an answer consumed; null when the server has not said it."""
    used = response.usage
    if used.unmeasured_requests or not (used.input_tokens or used.output_tokens):
        return None
    return Usage(
        used.input_tokens - used.cache_read_tokens,
        used.output_tokens,
        used.cache_read_tokens,
        requests=1,
        cost_usd=_cost(response),
    )


def _cost(response: ModelResponse) -> float | None:
    """As the provider said, else by the price list; null when there is no price, or when the answer was
    cut off: the rest of it may be paid, too."""
    if response.state != "complete":
        return None
    if response.usage.cost is not None:
        return float(response.usage.cost)
    try:
        return float(response.cost().total_price)
    except (LookupError, ValueError, AssertionError):
        return None


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
