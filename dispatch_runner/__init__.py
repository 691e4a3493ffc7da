"""Task JSON in, a graph of agent tasks run in parallel, result JSON out.

Importing this package imports nothing else and prints nothing; each name is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dispatch_runner.dispatching.api import Session, dispatch
    from dispatch_runner.errors import (
        AgentError,
        DispatchRunnerError,
        InternalError,
        RecordError,
        RequestRejected,
        SettingsError,
    )
    from dispatch_runner.models import (
        Config,
        ErrorType,
        Request,
        Result,
        Summary,
        Task,
        TaskError,
        TaskResult,
        TaskStatus,
        Usage,
    )
    from dispatch_runner.protocols import AgentCall, Answer, InputProblem
    from dispatch_runner.settings import Flags

_PLACES = {
    "dispatch_runner.dispatching.api": ["Session", "dispatch"],
    "dispatch_runner.errors": [
        "AgentError",
        "DispatchRunnerError",
        "InternalError",
        "RecordError",
        "RequestRejected",
        "SettingsError",
    ],
    "dispatch_runner.models": [
        "Config",
        "ErrorType",
        "Request",
        "Result",
        "Summary",
        "Task",
        "TaskError",
        "TaskResult",
        "TaskStatus",
        "Usage",
    ],
    "dispatch_runner.protocols": ["AgentCall", "Answer", "InputProblem"],
    "dispatch_runner.settings": ["Flags"],
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "AgentCall",
    "AgentError",
    "Answer",
    "Config",
    "DispatchRunnerError",
    "ErrorType",
    "Flags",
    "InputProblem",
    "InternalError",
    "RecordError",
    "Request",
    "RequestRejected",
    "Result",
    "Session",
    "SettingsError",
    "Summary",
    "Task",
    "TaskError",
    "TaskResult",
    "TaskStatus",
    "Usage",
    "__version__",
    "dispatch",
]


def __getattr__(name: str) -> Any:
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module 'dispatch_runner' has no attribute '{name}'")
    return getattr(import_module(place), name)
