"""What the tests of the documents share."""

import os
import sys

import pytest


@pytest.fixture(scope="session")
def path_with_us(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A search path on which `dispatch-runner` is the one of this checkout."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "dispatch-runner"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dispatch_runner "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"
