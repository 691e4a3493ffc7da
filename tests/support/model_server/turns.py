"""What a scripted model may do with one request, and the words a script is written in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from support.model_server.request import Request

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. Input that was read from a cache counts in `cache_read_tokens` only."""

    input_tokens: int = 100
    output_tokens: int = 20
    cache_read_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool. `namespace` is what Codex puts before the tools of MCP servers."""

    name: str
    arguments: Mapping[str, Any]
    namespace: str | None = None


class Stop(StrEnum):
    """Why the model stopped, in no protocol's words."""

    END = "end"
    TOOL = "tool"
    LIMIT = "limit"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the model; when streamed, `chunk` characters an event with `pause` seconds between."""

    blocks: tuple[str | ToolCall, ...]
    stop: Stop = Stop.END
    usage: Usage = Usage()
    chunk: int = 256
    pause: float = 0.0

    @property
    def text(self) -> str:
        return "".join(block for block in self.blocks if isinstance(block, str))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(block for block in self.blocks if isinstance(block, ToolCall))


@dataclass(frozen=True, slots=True)
class Structured:
    """An answer by schema: by the structured-output tool where the request offers one, else as text."""

    value: Mapping[str, Any]
    usage: Usage = Usage()


class Reason(StrEnum):
    """Failures whose status or body differs from one protocol to the next."""

    STATUS = "status"
    OVERLOADED = "overloaded"
    QUOTA = "quota"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error in the protocol's own body; `body` replaces it. Status 0: the provider's usual one."""

    status: int
    reason: Reason = Reason.STATUS
    message: str = "scripted failure"
    retry_after: float | None = None
    resets_in: float | None = None
    body: JsonObject | bytes | None = None


@dataclass(frozen=True, slots=True)
class Delayed:
    """Nothing for so many seconds, then that turn."""

    seconds: float
    then: "Step"


@dataclass(frozen=True, slots=True)
class Hang:
    """Never an end: silence from the start, or after the beginning of an answer."""

    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends within the answer, after an error event if there is a failure."""

    reply: Reply
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Garbage:
    """Status 200 and a body that is not of the protocol."""

    body: bytes
    content_type: str = "application/json"


Turn = Reply | Structured | Failure | Delayed | Hang | Cut | Garbage
Step = Turn | Callable[[Request], "Step"]
"""A turn, or what decides on one when it sees the request."""
Steps = Step | list["Steps"] | tuple["Steps", ...]


def text(words: str, *, usage: Usage = Usage(), chunk: int = 256, pause: float = 0.0) -> Reply:
    """Answers so, and ends."""
    return Reply((words,), usage=usage, chunk=chunk, pause=pause)


def long_text(size: int, *, chunk: int = 1024, pause: float = 0.0, usage: Usage = Usage()) -> Reply:
    """Answers with so many bytes of text in lines, no two alike: agents stop a model that repeats itself."""
    lines = (sha256(b"%d" % number).hexdigest() + "\n" for number in range(size // 65 + 1))
    whole = "".join(lines)[:size]
    return text(whole, usage=usage, chunk=chunk, pause=pause)


def tool(
    name: str,
    arguments: Mapping[str, Any],
    *,
    before: str = "",
    namespace: str | None = None,
    usage: Usage = Usage(),
) -> Reply:
    """Asks for a tool, perhaps after some words."""
    call = ToolCall(name, arguments, namespace)
    return Reply((before, call) if before else (call,), Stop.TOOL, usage)


def tools(*calls: Reply) -> Reply:
    """Asks for several tools in one answer: `tools(tool("Read", {...}), tool("Read", {...}))`."""
    return replace(calls[0], blocks=tuple(block for call in calls for block in call.blocks))


def structured(value: Mapping[str, Any], *, usage: Usage = Usage()) -> Structured:
    """Answers by the schema that the request asked for (whether the value fits it is up to you)."""
    return Structured(value, usage)


def refusal(words: str = "I cannot help with that.") -> Reply:
    """Refuses, in the protocol's own way."""
    return Reply((words,), Stop.REFUSAL)


def max_tokens(words: str = "This is where the limit") -> Reply:
    """Stops in the middle because the answer was as long as allowed."""
    return Reply((words,), Stop.LIMIT)


def empty() -> Reply:
    """Ends with no content at all."""
    return Reply(())


def error(
    status: int,
    message: str = "scripted failure",
    *,
    retry_after: float | None = None,
    body: JsonObject | bytes | None = None,
) -> Failure:
    """Fails with exactly that HTTP status and the protocol's usual error body for it."""
    reasons = {401: Reason.KEY, 529: Reason.OVERLOADED}
    return Failure(status, reasons.get(status, Reason.STATUS), message, retry_after, None, body)


def overloaded(*, retry_after: float | None = None) -> Failure:
    """Fails as an overloaded provider: 529 from Anthropic, 503 from the others."""
    return Failure(0, Reason.OVERLOADED, "Overloaded", retry_after)


def refused_key() -> Failure:
    """Fails as for a key that is not valid: 401, from Gemini 400."""
    return Failure(0, Reason.KEY)


def quota_exhausted(*, resets_in: float | None = None) -> Failure:
    """Fails as when a quota is used up: with the time of its reset in seconds, or out of credit."""
    return Failure(0, Reason.QUOTA, "", resets_in, resets_in)


def delay(seconds: float, then: Step) -> Delayed:
    """That turn, but later."""
    return Delayed(seconds, then)


def hang(after: str | None = None) -> Hang:
    """Says nothing, for ever; or begins to answer and then says nothing."""
    return Hang(None if after is None else text(after, chunk=16))


def cut_stream(words: str = "This answer is cut off", failure: Failure | None = None) -> Cut:
    """Begins to answer, then closes the connection (after an error event in the stream, if given)."""
    return Cut(text(words, chunk=4), failure)


def garbage(body: bytes = b"<html>not a model</html>", content_type: str = "text/html") -> Garbage:
    """Answers 200 with something else."""
    return Garbage(body, content_type)


def ended() -> Failure:
    """As the last turn: a request too many is an error that nobody repeats."""
    return Failure(400, message="the script has ended: nobody expected this request")


def repeat(turn: Step, times: int = 1) -> tuple[Step, ...]:
    """That turn so many times. The last turn of a script is repeated for ever as it is."""
    return (turn,) * times


@dataclass(slots=True)
class _FailsFor:
    seconds: float
    then: Step
    failure: Step
    since: float | None = None

    def __call__(self, request: Request) -> Step:
        if self.since is None:
            self.since = request.time
        return self.failure if request.time - self.since < self.seconds else self.then


@dataclass(slots=True)
class _QuotaAfter:
    count: int
    then: Step
    failure: Step
    used: int = field(default=0)

    def __call__(self, _: Request) -> Step:
        self.used += 1
        return self.then if self.used <= self.count else self.failure


def fails_for(seconds: float, then: Step, failure: Step | None = None) -> Step:
    """Fails (429, unless told otherwise) for so long from the first request on, in all sessions."""
    return _FailsFor(seconds, then, failure or error(429))


def quota_after(count: int, then: Step, failure: Step | None = None) -> Step:
    """Answers so many requests of all sessions together; then the quota is used up."""
    return _QuotaAfter(count, then, failure or quota_exhausted())


def at_most(concurrent: int, then: Step, failure: Step | None = None) -> Step:
    """Fails (429, unless told otherwise) while more requests than that are being answered."""
    return lambda request: then if request.in_flight <= concurrent else failure or error(429)
