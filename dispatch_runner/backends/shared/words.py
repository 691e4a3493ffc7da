"""Questions and answers as text, for every backend that is spoken to."""

from typing import Any, cast

from anyio import to_thread

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.protocols import AgentCall, PromptedRole, Question, Repair, Role

EXCERPT = 400
"""Characters of an answer that are quoted when it is not what was asked for."""

MOST_STARTS = 200
"""So many opening braces are tried: each may cost a look at all that follows."""


async def question_of(role: Role, call: AgentCall) -> Question:
    """What a role that can be put into words asks. Raises `AgentError`.

    In a thread: it reads files, and the first one of a kind loads modules for tens of milliseconds.
    """
    return await to_thread.run_sync(cast("PromptedRole", role).question, call)


def prompt_of(question: Question, call: AgentCall, *, in_session: bool) -> str:
    """What is said in this round.

    Args:
        question: the role's.
        call: `repair` says whether something failed before.
        in_session: the agent remembers what was said before; else all of it is said again.
    """
    if call.repair is None:
        return question.prompt
    if in_session:
        return _failed(call.repair)
    return f"{question.prompt}\n\n{_earlier(call.repair)}{_failed(call.repair)}"


def asks_for_json(schema: JsonObject) -> str:
    """The form of the answer in words, for agents that cannot be held to a schema."""
    import orjson

    return (
        "Answer with one JSON object and nothing else: no Markdown fence, no text around it."
        f" It must be valid for this JSON Schema:\n{orjson.dumps(schema).decode()}"
    )


def output_of(text: str, question: Question, session: str | None = None) -> JsonObject:
    """The answer in a text: the JSON object that was asked for, or `{"text": ...}`.

    Raises `AgentError`: `unverified` for an empty text, `bad_output` for one without the object.
    """
    if not text.strip():
        raise AgentError(
            ErrorType.UNVERIFIED, "the agent ended with an empty answer", session=session
        )
    if question.schema is None:
        return {"text": text}
    found = json_object_in(text)
    if found is None:
        raise AgentError(
            ErrorType.BAD_OUTPUT,
            "the agent's answer is not the JSON object that was asked for",
            details={"excerpt": text.strip()[:EXCERPT]},
            session=session,
        )
    return found


def json_object_in(text: str) -> JsonObject | None:
    """The JSON object that a text is, or that stands in it within a fence or between words."""
    import json
    from itertools import islice

    starts = (at for at, mark in enumerate(text) if mark == "{")
    for start in islice(starts, MOST_STARTS):
        try:
            value, end = json.JSONDecoder(parse_constant=_refuse).raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value if not _another(text[end:]) else None
    return None


def _another(rest: str) -> bool:
    """Whether a further object follows: then it is not known which one is the answer."""
    return "{" in rest and json_object_in(rest) is not None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _failed(repair: Repair) -> str:
    return (
        "Your answer did not pass. What failed:\n\n"
        f"{repair.failure}\n\n"
        "Mend it, and give the whole answer again in the form that was asked for."
    )


def _earlier(repair: Repair) -> str:
    if repair.previous is None:
        return ""
    import orjson

    answer = orjson.dumps(repair.previous, option=orjson.OPT_INDENT_2).decode()
    return f"You answered before:\n\n{answer}\n\n"
