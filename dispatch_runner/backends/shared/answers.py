"""Answers that agents give as text."""

from typing import Any

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType, JsonObject
from dispatch_runner.protocols import Question

EXCERPT = 400
"""Characters of an answer that are quoted when it is not what was asked for."""

MOST_STARTS = 200
"""So many opening braces are tried: each may cost a look at all that follows."""


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
