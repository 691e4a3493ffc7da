"""Mutation operators: what each kind of code may become, and that every change is one of text."""

import ast
from pathlib import Path

import pytest

from dispatch_runner.agents.debug.mutate import Mutant, mutants
from dispatch_runner.agents.debug.pycode import PyCode, parse_python
from dispatch_runner.agents.debug.sources import Source

HERE = Path(__file__)


def parsed(text: str) -> PyCode:
    code = parse_python(Source("/p.py", "analysed", "python", tuple(text.split("\n"))))
    assert isinstance(code, PyCode)
    return code


def changed(text: str, mutant: Mutant) -> str:
    return text[: mutant.start] + mutant.text + text[mutant.end :]


def lines_after(body: str, *, line: int = 2, operator: str = "") -> set[str]:
    """What a line of `def f(a, b, items):` and this body may become."""
    text = f"def f(a, b, items):\n{body}"
    found = [item for item in mutants(parsed(text), {line}) if operator in ("", item.operator)]
    return {changed(text + "\n", item).split("\n")[line - 1].strip() for item in found}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    return a < b", "return a <= b"),
        ("    return a is b", "return a is not b"),
        ("    return a in items", "return a not in items"),
        ("    return a + b", "return a - b"),
        ("    return a + b", "return b + a"),
        ("    return a + b", "return a"),
        ("    return a & b", "return a | b"),
        ("    return (a + b) * 2", "return (a - b) * 2"),
        ("    return a and b", "return a or b"),
        ("    return not a", "return a"),
        ("    return items[a]", "return items[a + 1]"),
        ("    return items[a:]", "return items"),
        ("    return items[a:]", "return items[a:-1]"),
        ("    return items[a, b]", "return items[b, a]"),
        ("    return range(len(items))", "return range(len(items) - 1)"),
        ("    return 3", "return 4"),
        ("    return True", "return False"),
        ("    return True", "return not a"),
        ("    return f(a, b)", "return f(b, a)"),
        ("    return f(a)", "return a"),
        ("    return any(items)", "return all(items)"),
        ("    return a.left + a.right", "return a.right + a.right"),
        ("    return [a]", "return [a, b]"),
        ("    return []", "return [[]]"),
        ("    return a", "return b"),
        ("    return a", "return None"),
        ("    return a * 2", "return b * 2"),
        ("    a += b", "a -= b"),
        ("    a += b", "a = b"),
        ("    a = b", "a = max(a, b)"),
        ("    a = b", "pass"),
        ("    while a:\n        break", "while not a:"),
        ("    while a.next:\n        break", "while a is None or a.next:"),
        ("    if a < b:\n        return", "if a < b or not items:"),
        ("    for x in items:\n        return x", "for x in items[1:]:"),
    ],
)
def test_operators(line, expected):
    assert expected in lines_after(line)


def test_a_loop_exit_becomes_the_other_one():
    body = "    for x in items:\n        break"
    assert "continue" in lines_after(body, line=3, operator="loop exit")


def test_statements_of_the_function_are_inserted_before_and_after():
    text = "def f(a):\n    total = 0\n    for x in a:\n        total += x\n    return total\n"
    found = {changed(text, item) for item in mutants(parsed(text), {4})}
    assert text.replace("total += x\n", "total += x\n        total += x\n") in found
    assert text.replace("        total += x", "        total = 0\n        total += x") in found


def test_what_runs_at_import_is_marked():
    found = mutants(parsed("LIMIT = 3\n\n\ndef f(a=4):\n    return a < LIMIT\n"), {1, 4, 5})
    at_import = {item.line for item in found if item.import_time}
    assert at_import == {1, 4}
    assert {item.line for item in found if not item.import_time} == {5}


def test_annotations_texts_and_decorators_stay():
    text = '"""Text."""\n@cache\ndef f(a: int) -> int:\n    """More."""\n    return f"{a + 1}"\n'
    found = mutants(parsed(text), set(range(1, 6)))
    assert {item.line for item in found} <= {5}
    assert (
        all(
            "f'" in changed(text, item) or "return" in item.text
            for item in found
            if 'f"' in item.text
        )
        or found
    )


def test_columns_after_letters_of_several_bytes_are_right():
    body = "    return 'äöü', a < b"
    assert "return 'äöü', a >= b" in lines_after(body)


@pytest.mark.slow
def test_nearly_every_mutant_compiles():
    text = HERE.read_text()
    code = parsed(text)
    found = mutants(code, range(1, len(code.source.lines) + 1))
    broken = [item for item in found if not compiles(changed(code.source.text, item))]
    assert len(found) > 300
    assert len(broken) < len(found) / 100, broken[:3]


def compiles(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
