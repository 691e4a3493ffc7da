"""What docs/security.md promises is tested: every test that it names exists, and no row is without one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
PROMISES = [
    line
    for part in PAGE.split("| promise | test |\n|---|---|\n")[1:]
    for line in part.split("\n\n")[0].splitlines()
]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_the_page_names_exists(file: str, test: str) -> None:
    assert re.search(rf"^(?:async )?def {test}", (ROOT / file).read_text(), re.MULTILINE)


def test_every_promise_names_a_test() -> None:
    assert len(PROMISES) > 15
    assert not [line for line in PROMISES if "`tests/" not in line.rsplit("|", 2)[1]]
