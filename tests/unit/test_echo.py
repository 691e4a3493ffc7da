"""The role `echo`."""

from pathlib import Path

import anyio
import pytest

from dispatch_runner.agents.echo import EchoRole
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall, Answer, OfflineRole

pytestmark = pytest.mark.anyio

ROOTS = AllowedRoots(("/tmp",))


def call_with(value: dict) -> AgentCall:
    return AgentCall(
        "t", "echo", "", value, {}, "id", 1, 60.0, Path("/tmp"), ROOTS, None, anyio.Event()
    )


async def test_it_is_an_offline_role_that_takes_anything_and_writes_nothing():
    role = EchoRole()
    assert isinstance(role, OfflineRole)
    assert role.check_input({"any": [1, None, {"deep": "x"}]}, ROOTS) == []
    assert list(role.writes({"output_path": "/tmp/x"})) == []


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"nested": {"list": [1, "two", None]}}])
async def test_the_output_is_the_input_and_passes_its_verification(value):
    role, call = EchoRole(), call_with(value)
    answer = await role.verify(call, await role.solve(call))
    assert answer.output == value


async def test_another_output_is_refused():
    with pytest.raises(AgentError) as caught:
        await EchoRole().verify(call_with({"a": 1}), Answer({"a": 2}))
    assert caught.value.type is ErrorType.BAD_OUTPUT
