"""The page of faults and the table of the README are those of the suite."""

import ast
import re
from pathlib import Path

import pytest

from support.faults.page import HEADER, PAGE, REFERENCE, ROOT, Tally, classes, table

README = (ROOT / "README.md").read_text()
NUMBERS = range(1, 29)


def functions(file: Path) -> set[str]:
    """Names of the functions of a module."""
    return {
        node.name
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("file", sorted({file for file, _ in REFERENCE.findall(PAGE.read_text())}))
def test_every_test_that_the_page_names_exists(file: str) -> None:
    named = {name for each, name in REFERENCE.findall(PAGE.read_text()) if each == file}
    assert named - functions(ROOT / "tests" / file) == set()


def test_every_number_of_the_list_of_faults_has_its_tests() -> None:
    cells = re.findall(r"^\| ([\d, to]+) \|.*::", PAGE.read_text(), re.MULTILINE)
    found: set[int] = set()
    for part in ", ".join(cells).split(", "):
        first, _, last = part.partition(" to ")
        found.update(range(int(first), int(last or first) + 1))
    assert found == set(NUMBERS)


def test_the_table_of_the_readme_is_that_of_the_command() -> None:
    expected = table([(each.name, Tally()) for each in classes(PAGE.read_text())])
    start = README.index(HEADER)
    shown = README[start:].split("\n\n")[0].splitlines()
    assert [re.sub(r"[\d,]+", "0", line) for line in shown] == expected
    assert all(line.endswith("| 0 |") for line in shown[2:]), "something was lost"
