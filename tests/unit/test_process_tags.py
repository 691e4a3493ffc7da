"""A tag goes with what is started, and leaves this process as it was."""

import os
import resource
import subprocess
import sys

import pytest

from dispatch_runner.process.tags import LOWEST, NUMBER_BITS, OURS, Tagged, new_tag, tag_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the mark is Linux's")

SAY = "import resource; print(resource.getrlimit(resource.RLIMIT_RTTIME)[0])"


def test_tags_are_unique_and_of_one_family() -> None:
    tags = {new_tag() for _ in range(1000)}
    assert len(tags) == 1000
    assert {tag >> NUMBER_BITS for tag in tags} == {OURS}
    assert min(tags) >= LOWEST


def test_what_is_started_within_carries_the_tag_whatever_its_environment() -> None:
    before, tag = resource.getrlimit(resource.RLIMIT_RTTIME), new_tag()
    with Tagged(tag):
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec env -i {sys.executable} -I -S -c '{SAY}'"],
            stdout=subprocess.PIPE,
        )
    assert resource.getrlimit(resource.RLIMIT_RTTIME) == before
    assert tag_of(process.pid) == tag
    assert process.communicate(timeout=20)[0] == f"{tag}\n".encode()


def test_a_process_without_a_tag_and_one_that_is_not_there_have_none() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert tag_of(process.pid) is None
        process.kill()
    assert tag_of(process.pid) is None


def test_a_limit_that_somebody_means_is_left_alone() -> None:
    code = (
        "import resource\n"
        "from dispatch_runner.process.tags import Tagged, new_tag\n"
        "meant = (1_000_000, 2_000_000)\n"
        "resource.setrlimit(resource.RLIMIT_RTTIME, meant)\n"
        "with Tagged(new_tag()):\n"
        "    assert resource.getrlimit(resource.RLIMIT_RTTIME) == meant\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20, env=os.environ)
