"""A pytest plugin that runs tests one by one under limits, unchanged or with one fault at a time.

It runs inside the process of the tested project, under that project's interpreter, so it needs
nothing but pytest and the standard library, and never imports the package that starts it. What it
is to do comes from the file that `DEBUG_AGENT_PROBE` names; what it saw goes, a JSON document a
line, into the file named there, so that what was seen survives any end of the process.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .job import read_job
from .plugin import Probe

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Registers the probe, and keeps other plugins from running tests in other processes."""
    for name, value in (("numprocesses", None), ("dist", "no"), ("tx", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    path = os.environ.pop("DEBUG_AGENT_PROBE", None)
    if path is not None:
        config.pluginmanager.register(Probe(read_job(path)), "dispatch_runner_probe_run")
