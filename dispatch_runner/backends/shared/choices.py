"""What the operator and the role say of an agent, brought together."""

import re

from dispatch_runner.backends.shared.agent_program import AgentProgram
from dispatch_runner.protocols import Access, Question, Role
from dispatch_runner.settings.backend_options import BackendOptions

NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE",
)  # fmt: skip
"""Variables without which some machines reach no provider."""

_LEVELS: tuple[Access, ...] = ("read", "edit", "execute")
_EDITING = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write"})
_CLAUDE = re.compile(
    r"(?i)(?:anthropic/)?claude|(?:default|haiku|inherit|opus\w*|sonnet)\b|fable\b"
)


def reason_against(
    role: Role, program: AgentProgram, options: BackendOptions, install: str
) -> str | None:
    """Why a program cannot answer for a role on this machine, or null. Starts nothing."""
    if not hasattr(role, "question"):
        return f"agent {role.name!r} cannot be put into words"
    if missing := program.missing():
        return f"{missing}: install it with '{install}'"
    key = options.api_key_env
    if key is not None and key not in program.environment:
        return f"the environment has no {key!r}, which api_key_env names"
    return None


def access_of(options: BackendOptions, question: Question) -> Access:
    """What the agent may do: as the operator says, else the role; and no more than the tools that the
    role names need."""
    access = options.access or question.access
    if question.tools is None:
        return access
    return min(access, _needed(question.tools), key=_LEVELS.index)


def model_of(options: BackendOptions, question: Question) -> str | None:
    """The model by name: the operator's, else the role's wish unless that is one of Claude's, which
    agent files name, and which other providers do not have."""
    if options.model is not None:
        return options.model
    wish = question.model
    return None if wish is None or _CLAUDE.match(wish) else wish


def prompt_with_system(question: Question, prompt: str) -> str:
    """For programs that take one text: who they are comes first."""
    return f"{question.system}\n\n{prompt}" if question.system else prompt


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
