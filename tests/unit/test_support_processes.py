"""The look-out for processes that a test left behind finds them."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import carrying, kill, outlive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and pidfd")


def test_a_process_is_found_by_its_environment_until_it_ends(tmp_path: Path) -> None:
    child = subprocess.Popen(["/bin/sleep", "60"], env={"HOME": str(tmp_path)})
    try:
        assert carrying(str(tmp_path)) == {child.pid: "/bin/sleep 60"}
        assert outlive([child.pid], 0.0) == {child.pid}
    finally:
        kill([child.pid])
    assert outlive([child.pid], 10.0) == set()
    child.wait()
    assert carrying(str(tmp_path)) == {}
    assert outlive([child.pid], 0.0) == set()


def test_a_process_that_is_gone_is_killed_without_a_word() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    kill([child.pid])
