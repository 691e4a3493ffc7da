"""Sizes that we hold ourselves to, and the names that the package exports."""

import ast
import re
from pathlib import Path
from statistics import median

import dispatch_runner

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dispatch_runner"
MOST_FILE_LINES = 500
MEDIAN_FUNCTION_LINES = 8
LONG_FUNCTION_LINES = 50
MOST_LONG_FUNCTIONS = 0.02


def function_lengths() -> dict[str, int]:
    """Lines of every function without its docstring."""
    lengths = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                place = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                lengths[place] = _length(node)
    return lengths


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is None:
        return whole
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1)


def test_functions_are_short() -> None:
    lengths = function_lengths()
    assert median(lengths.values()) <= MEDIAN_FUNCTION_LINES
    long = {place: length for place, length in lengths.items() if length > LONG_FUNCTION_LINES}
    assert len(long) <= MOST_LONG_FUNCTIONS * len(lengths), long


def test_files_are_short() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    sizes = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in files}
    assert {name: size for name, size in sizes.items() if size > MOST_FILE_LINES} == {}


def test_nothing_is_mocked() -> None:
    mocked = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if path != Path(__file__)
        and re.search(r"\b(unittest|mocker|MagicMock|Mock)\b", path.read_text())
    }
    assert mocked == set()


def test_exported_names_are_exactly_those_that_can_be_imported() -> None:
    names = dispatch_runner.__all__
    assert names == sorted(names)
    assert set(names) == {*dispatch_runner._PLACE_OF, "__version__"}
    for name in names:
        assert getattr(dispatch_runner, name) is not None


def test_exported_names_are_known_to_type_checkers() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module not in {"importlib", "typing"}
        for alias in node.names
    }
    assert imports == dispatch_runner._PLACE_OF
