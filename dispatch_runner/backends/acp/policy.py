"""What an agent that speaks the Agent Client Protocol may do, by the kinds that it gives its tools."""

import os
from collections.abc import Iterable
from typing import Any

from dispatch_runner.backends.shared.values import objects_in
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import Access, Question

LOOKS = frozenset({"read", "search", "think", "fetch"})
CHANGES = frozenset({"edit", "delete", "move"})

KINDS_OF_ACCESS: dict[Access, frozenset[str]] = {
    "read": LOOKS,
    "edit": LOOKS | CHANGES,
    "execute": LOOKS | CHANGES | {"execute", "other"},
}
"""`other` may be anything. `switch_mode`, by which an agent asks for more rights, is never allowed."""

KINDS_OF_TOOLS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("Read", "LS", "NotebookRead"), frozenset({"read"})),
    **dict.fromkeys(("Glob", "Grep"), frozenset({"search"})),
    **dict.fromkeys(("Edit", "Write", "MultiEdit", "NotebookEdit"), frozenset({"edit"})),
    **dict.fromkeys(("WebFetch", "WebSearch"), frozenset({"fetch", "search"})),
    "Bash": frozenset({"execute"}),
}
"""By the names in Claude Code. One with a pattern, such as `Bash(git *)`, is none of them: the protocol
has no means to hold an agent to it."""

MODES: dict[bool, tuple[str, ...]] = {
    True: ("read-only", "default", "ask", "plan"),
    False: ("default", "build", "code", "agent", "auto"),
}
"""Names of modes to work in, by whether nothing may be changed; the first that the agent has. One that
asks is better than one for plans, in which some agents write their plans into files."""

ALLOWING = ("allow_once",)
REFUSING = ("reject_once", "reject_always")


class Policy:
    """What one call's agent may do."""

    def __init__(
        self, question: Question, most: Access | None, roots: AllowedRoots, workspace: str
    ) -> None:
        """
        Args:
            question: says what the role needs.
            most: what the operator allows, whatever the role needs; null: nothing is said.
            roots: where files may be changed.
            workspace: what the paths that are not absolute are relative to.
        """
        self.kinds = _allowed_kinds(question, most)
        self._roots = roots
        self._workspace = workspace

    @property
    def only_reads(self) -> bool:
        return self.kinds <= LOOKS

    def forbids(self, kind: str, locations: Any) -> bool:
        """Whether the use of such a tool is a breach: it changes or runs something, and must not."""
        return kind in CHANGES | {"execute"} and not self.permits(kind, locations)

    def permits(self, kind: str, locations: Any) -> bool:
        """Whether it may use such a tool on those files."""
        if kind not in self.kinds:
            return False
        return kind not in CHANGES or all(map(self._inside, _paths(locations)))

    def _inside(self, path: str) -> bool:
        return self._roots.problem(os.path.join(self._workspace, path)) is None  # noqa: PTH118


def permission(options: Any, granted: bool) -> JsonObject:
    """The answer to a request for leave: for this once, never for more."""
    wanted = ALLOWING if granted else REFUSING
    by_kind = {option.get("kind"): option for option in objects_in(options)}
    for kind in wanted:
        if kind in by_kind:
            return {"outcome": {"outcome": "selected", "optionId": by_kind[kind].get("optionId")}}
    return CANCELLED


CANCELLED: JsonObject = {"outcome": {"outcome": "cancelled"}}
"""The answer to a request for leave when nothing is to be done any more."""


def _allowed_kinds(question: Question, most: Access | None) -> frozenset[str]:
    if question.tools is None:
        return KINDS_OF_ACCESS[most or question.access]
    kinds = (KINDS_OF_TOOLS.get(tool, frozenset[str]()) for tool in question.tools)
    named = frozenset({"think"}).union(*kinds)
    return named if most is None else named & KINDS_OF_ACCESS[most]


def _paths(locations: Any) -> Iterable[str]:
    paths = (location.get("path") for location in objects_in(locations))
    return (path for path in paths if isinstance(path, str))
