"""Answers by the role itself: real tools, no model, no network."""

from typing import cast

from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.protocols import AgentCall, Answer, OfflineRole, Role


class OfflineBackend:
    """The backend of every role that can answer by itself."""

    name = "offline"
    provider = None
    repairs = False

    def unknown_cost(self, role: Role) -> str | None:
        """Null: nothing is spent."""
        return None

    def unavailable(self, role: Role) -> str | None:
        """Why it cannot serve this role, or null."""
        # Not isinstance: a runtime protocol takes 20 us, and this is asked for every call.
        if hasattr(role, "solve"):
            return None
        return f"agent {role.name!r} has no offline answer: choose a backend, as with --backend"

    async def answer(self, role: Role, call: AgentCall) -> Answer:
        """The role's own answer. Raises what the role raises."""
        reason = self.unavailable(role)
        if reason is not None:
            raise AgentError(
                ErrorType.UNAVAILABLE, reason, retryable=False, hint="choose another backend for it"
            )
        return await cast("OfflineRole", role).solve(call)


def build(options: object) -> OfflineBackend:
    """The same for every agent: there is nothing to choose."""
    return OfflineBackend()
