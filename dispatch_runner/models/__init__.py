"""The documents: request, result, trace, index. Pure data, no I/O."""

from dispatch_runner.models.json import JsonObject
from dispatch_runner.models.request import Config, Request, RunWhen, Task
from dispatch_runner.models.result import (
    DispatchStatus,
    ErrorType,
    Interruption,
    Problem,
    Rejection,
    Result,
    Summary,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
)

__all__ = [
    "Config",
    "DispatchStatus",
    "ErrorType",
    "Interruption",
    "JsonObject",
    "Problem",
    "Rejection",
    "Request",
    "Result",
    "RunWhen",
    "Summary",
    "Task",
    "TaskError",
    "TaskResult",
    "TaskStatus",
    "Usage",
]
