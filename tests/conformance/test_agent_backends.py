"""The suite of `support/agent_suite.py`, for every agent backend with its stand-in.

A new backend adds a module to `agent_builders/`.
"""

import importlib
import pkgutil
from pathlib import Path

import pytest

from conformance import agent_builders
from support.agent_suite import *  # noqa: F403 - the tests themselves
from support.agent_suite import Agent, agent_of

pytestmark = pytest.mark.anyio

NAMES = [module.name for module in pkgutil.iter_modules(agent_builders.__path__)]


@pytest.fixture(params=NAMES)
def agent(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> Agent:
    module = importlib.import_module(f"conformance.agent_builders.{request.param}")
    return agent_of(module, tmp_path, anyio_backend)
