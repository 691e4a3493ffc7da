"""What every test shares: both event loops, and how hard hypothesis looks."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings

from dispatch_runner.events import (
    AttemptFailed,
    CacheConsulted,
    DispatchFinished,
    DispatchStarted,
    DispatchStopping,
    Event,
    ProviderHeld,
    TaskDeclared,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from dispatch_runner.models import (
    ErrorType,
    Result,
    Summary,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
)

settings.register_profile("default", max_examples=100, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=2_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session", autouse=True)
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Dispatches of the tests are not made known among those of the user who runs them."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Async tests run on both event loops; only asyncio is shipped."""
    return str(request.param)


@pytest.fixture
def finished() -> Callable[..., TaskFinished]:
    """Makes the event of a settled task: `finished("a", "error", ErrorType.CRASHED, "exit 1")`."""

    def make(
        task_id: str,
        status: str = "success",
        cause: ErrorType | None = None,
        message: str = "it did not work",
        **fields: Any,
    ) -> TaskFinished:
        error = TaskError(cause, message) if cause else None
        ran = status not in {"blocked", "cancelled"}
        result = TaskResult(
            task_id,
            agent="coder",
            backend="offline" if ran else None,
            status=TaskStatus(status),
            output={"done": True} if status == "success" else None,
            error=error,
            attempts=int(ran),
            execution_time_ms=1500.0 if ran else 0.0,
        )
        return TaskFinished(replace(result, **fields), "", {}, (), (), ())

    return make


@pytest.fixture
def dispatch_events(finished: Callable[..., TaskFinished]) -> list[Event]:
    """Every kind of event, in an order that happens: 'a' succeeds, 'b' fails, 'c' is blocked by it."""
    missing = finished("b", "error", ErrorType.MISSING_FILE, "file '/x' does not exist")
    settled = [finished("a"), missing, finished("c", "blocked", blocked_by=("b",))]
    summary = Summary(3, 1, 1, 0, 1, 0, 2500.0, 1.2, 2000.0, 0.6, 2, Usage(1200, 30))
    result = Result(
        "partial",
        "1f0c9a52-0000-4000-8000-000000000000",
        None,
        [each.result for each in settled],
        summary,
        "/traces/index.json",
        "/traces/result.json",
        ["something to know"],
    )
    limited = TaskError(ErrorType.RATE_LIMITED, "too many requests", retryable=True)
    return [
        DispatchStarted(result.correlation_id, {"max_workers": 2}, 2),
        TasksAdded(tuple(TaskDeclared(each, "coder", f"task {each}", ()) for each in "abc")),
        TaskStarted("a", "coder"),
        TaskStarted("b", "coder"),
        AttemptFailed("a", 1, limited, 2.0),
        ProviderHeld("anthropic", "too many requests", 2.0, None),
        CacheConsulted("a", "miss", "0" * 64, "no result of this task is in the cache"),
        *settled,
        DispatchStopping("SIGINT"),
        DispatchFinished(result),
    ]
