"""What every test shares: both event loops, and how hard hypothesis looks."""

import os

import pytest
from hypothesis import settings

settings.register_profile("default", max_examples=100, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=2_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Async tests run on both event loops; only asyncio is shipped."""
    return str(request.param)
