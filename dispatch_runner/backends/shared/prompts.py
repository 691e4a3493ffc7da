"""Questions as text, for every backend that is spoken to."""

from typing import cast

from anyio import to_thread

from dispatch_runner.models import JsonObject
from dispatch_runner.protocols import AgentCall, PromptedRole, Question, Repair, Role


def unprompted(role: Role) -> str | None:
    """Why a role cannot be put into words, or null."""
    if hasattr(role, "question"):
        return None
    return f"agent {role.name!r} cannot be put into words"


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


def whole_prompt(
    question: Question, call: AgentCall, *, in_session: bool, schema_in_words: bool = True
) -> str:
    """All that is said in this round, for agents that take one text: who they are, the question, and
    the form of the answer. In a session, what failed.

    Args:
        schema_in_words: false when the agent is held to the schema by other means.
    """
    prompt = prompt_of(question, call, in_session=in_session)
    if in_session:
        return prompt
    schema = question.schema if schema_in_words else None
    form = asks_for_json(schema) if schema is not None else None
    return "\n\n".join(part for part in (question.system, prompt, form) if part)


def no_command(prompt: str) -> str:
    """The prompt for an agent that takes a text with a slash at its start for a command to itself."""
    return f"Your task:\n\n{prompt}" if prompt.lstrip().startswith("/") else prompt


def asks_for_json(schema: JsonObject) -> str:
    """The form of the answer in words, for agents that cannot be held to a schema."""
    import orjson

    return (
        "Answer with one JSON object and nothing else: no Markdown fence, no text around it."
        f" It must be valid for this JSON Schema:\n{orjson.dumps(schema).decode()}"
    )


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
