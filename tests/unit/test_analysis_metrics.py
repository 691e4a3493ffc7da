"""Numbers about Python code, checked by hand."""

import math

import pytest

from dispatch_runner.analysis.metrics import (
    documentation_coverage,
    function_metrics,
    maintainability_index,
    typing_coverage,
)
from dispatch_runner.analysis.pycode import Broken, PyCode, parse_python


def parsed(text: str) -> PyCode:
    code = parse_python(text)
    assert isinstance(code, PyCode)
    return code


def complexities(body: str) -> tuple[int, int]:
    """Cyclomatic and cognitive complexity of a function with this body."""
    lines = "\n".join("    " + line for line in body.strip("\n").split("\n"))
    first = function_metrics(parsed(f"def f(a, b, c):\n{lines}\n"))[0]
    return first.cyclomatic, first.cognitive


@pytest.mark.parametrize(
    ("body", "cyclomatic", "cognitive"),
    [
        ("return 1", 1, 0),
        ("if a:\n    return 1", 2, 1),
        ("if a:\n    pass\nelse:\n    pass", 2, 2),
        ("if a:\n    pass\nelif b:\n    pass\nelse:\n    pass", 3, 3),
        ("for x in a:\n    if x:\n        pass", 3, 3),
        ("while a:\n    for x in b:\n        if x:\n            pass", 4, 6),
        ("return a and b and c", 3, 1),
        ("return a and b or c", 3, 2),
        ("try:\n    pass\nexcept ValueError:\n    if a:\n        pass", 3, 3),
        ("return [x for x in a if x]", 3, 0),
        ("return f(a - 1, b, c)", 1, 1),
        ("match a:\n    case 1:\n        pass\n    case _:\n        pass", 2, 1),
        ("def g():\n    if a:\n        pass\nreturn g", 1, 2),
        ("return 1 if a else 2 if b else 3", 3, 3),
    ],
)  # fmt: skip
def test_complexities_are_those_of_their_definitions(
    body: str, cyclomatic: int, cognitive: int
) -> None:
    assert complexities(body) == (cyclomatic, cognitive)


def test_an_elif_is_no_deeper_than_its_if() -> None:
    chain = "if a:\n    pass\n" + "elif b:\n    pass\n" * 5
    assert complexities(chain) == (7, 6)
    text = "def f(a, b):\n    " + chain.rstrip().replace("\n", "\n    ")
    assert function_metrics(parsed(text))[0].nesting == 1


def test_maintainability_follows_the_published_formula() -> None:
    expected = 171 - 5.2 * math.log(100) - 0.23 * 4 - 16.2 * math.log(20)
    assert maintainability_index(100, 4, 20) == pytest.approx(expected)
    assert maintainability_index(1e9, 500, 100_000) == 0.0


def test_a_function_is_measured_without_docstring_comments_and_blank_lines() -> None:
    text = 'def f(a):\n    """Says.\n\n    More.\n    """\n\n    # why\n    return a\n'
    metrics = function_metrics(parsed(text))[0]
    assert (metrics.lines, metrics.code_lines) == (8, 2)


def test_the_self_of_a_method_is_no_parameter() -> None:
    text = "class A:\n    def f(self, a, *, b): ...\n    @staticmethod\n    def g(a): ...\n"
    assert [each.parameters for each in function_metrics(parsed(text))] == [2, 1]


def test_documentation_counts_what_is_public() -> None:
    text = '''"""Module."""
class Open:
    """Documented."""
    def shown(self): ...
    def _hidden(self): ...
def inner():
    """Documented."""
    def nested(): ...
'''
    coverage = documentation_coverage(parsed(text))
    assert (coverage.covered, coverage.total) == (3, 4)
    assert coverage.missing == [(4, "Open.shown")]


def test_typing_counts_parameters_and_results() -> None:
    text = """from typing import Any
class A:
    def __init__(self, a: int) -> None: ...
    def f(self, a, b: Any) -> int: ...
"""
    coverage = typing_coverage(parsed(text))
    assert (coverage.covered, coverage.total) == (2, 4)
    assert coverage.missing == [(4, "A.f(a)"), (4, "A.f(b)")]
    assert typing_coverage(parsed(text), any_counts=True).covered == 3


def test_nothing_to_cover_is_all_covered() -> None:
    assert typing_coverage(parsed("x = 1\n")).share == 1.0


@pytest.mark.parametrize("text", ["def f(:\n", "x = (", "\0", "a\ud800 = 1", "  x\n y"])
def test_what_does_not_parse_says_why(text: str) -> None:
    broken = parse_python(text)
    assert isinstance(broken, Broken)
    assert broken.message
    assert broken.line >= 1


def test_depth_is_no_problem() -> None:
    deep = "".join(f"{' ' * depth}if a:\n" for depth in range(90)) + " " * 90 + "pass\n"
    text = "def f(a):\n" + "".join(f" {line}\n" for line in deep.splitlines())
    sums = "x = " + "+".join(["1"] * 500) + "\n"
    metrics = function_metrics(parsed(text + sums))[0]
    assert (metrics.nesting, metrics.cyclomatic) == (90, 91)


def test_the_innermost_scope_of_a_line_is_known() -> None:
    code = parsed("class A:\n    def f(self):\n        x = 1\n    y = 2\nz = 3\n")
    assert [code.scope_at(line) for line in range(1, 7)] == ["A", "A.f", "A.f", "A", "", ""]
    assert code.scope_at(1000) == ""


def test_a_byte_order_mark_is_no_syntax_error() -> None:
    assert parsed("\ufeffdef f(): ...\n").functions[0].name == "f"


def test_a_form_feed_does_not_shift_the_lines() -> None:
    code = parsed("x = 1\n\x0c\ndef f():\n    return 1\n")
    assert code.functions[0].line_start == 3
    assert code.lines[2] == "def f():"
