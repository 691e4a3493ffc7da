"""What the operator and the role say of an agent, brought together."""

import re
from collections.abc import Mapping

from dispatch_runner.protocols import Access, Question
from dispatch_runner.settings.backend_options import BackendOptions

_LEVELS: tuple[Access, ...] = ("read", "edit", "execute")
_EDITING = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write"})
_CLAUDE = re.compile(
    r"(?i)(?:anthropic/)?claude|(?:default|haiku|inherit|opus\w*|sonnet)\b|fable\b"
)


def access_of(options: BackendOptions, question: Question) -> Access:
    """What the agent may do: as the operator says, else the role; and no more than the tools that the
    role names need."""
    access = options.access or question.access
    if question.tools is None:
        return access
    return min(access, _needed(question.tools), key=_LEVELS.index)


def allowed_by(access: Access, added: Mapping[Access, tuple[str, ...]]) -> tuple[str, ...]:
    """All that an access allows.

    Args:
        added: what each access adds to the one before.
    """
    levels = _LEVELS[: _LEVELS.index(access) + 1]
    return tuple(name for level in levels for name in added[level])


def model_of(options: BackendOptions, question: Question) -> str | None:
    """The model by name: the operator's, else the role's wish unless that is one of Claude's, which
    agent files name, and which other providers do not have."""
    if options.model is not None:
        return options.model
    wish = question.model
    return None if wish is None or _CLAUDE.match(wish) else wish


def commands_of(question: Question) -> tuple[str, ...] | None:
    """Beginnings of the commands that a role with named tools may run; null: any command."""
    if question.tools is None or "Bash" in question.tools:
        return None
    named = [tool for tool in question.tools if tool.startswith("Bash(") and tool.endswith(")")]
    return tuple(tool[5:-1].removesuffix("*").rstrip(": ") for tool in named)


def _needed(tools: tuple[str, ...]) -> Access:
    names = {tool.partition("(")[0].strip() for tool in tools}
    if "Bash" in names:
        return "execute"
    return "edit" if names & _EDITING else "read"
