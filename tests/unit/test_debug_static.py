"""Static analysis: our own checks, complexity, ruff and mypy as they really answer."""

import anyio
import pytest

from dispatch_runner.agents.debug import lint
from dispatch_runner.agents.debug.lint import (
    module_of,
    mypy_batches,
    run_mypy,
    run_ruff,
)
from dispatch_runner.agents.debug.pycode import Broken, PyCode, complexity, parse_python
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.suspicious import suspicious
from dispatch_runner.analysis.tools import ToolProblem

pytestmark = pytest.mark.anyio


def parsed(text: str) -> PyCode:
    code = parse_python(Source("/w/a.py", "analysed", "python", tuple(text.splitlines())))
    assert isinstance(code, PyCode)
    return code


BAD = {
    "unreachable-code": ("def f():\n    return 1\n    print(2)\n", 3),
    "implicit-none": ("def f(x):\n    if x:\n        return 1\n", 1),
    "index-beyond-end": ("for i in range(len(a) + 1):\n    a[i]\n", 1),
    "changed-while-iterated": ("for x in xs:\n    xs.remove(x)\n", 2),
    "dropped-result": ("name = ' a'\nname.strip()\n", 2),
    "always-true": ("if x == 1 or 2:\n    pass\n", 1),
    "swallowed-error": ("try:\n    f()\nexcept Exception:\n    pass\n", 3),
}
GOOD = {
    "unreachable-code": "def f():\n    if x:\n        return 1\n    print(2)\n",
    "implicit-none": "def f(x):\n    if x:\n        return 1\n    raise ValueError\n",
    "a search that says None itself": "def f(xs):\n    for x in xs:\n        return x\n    return None\n",
    "index-beyond-end": "for i in range(len(a) + 1):\n    print(i)\n",
    "changed-while-iterated": "for x in list(xs):\n    xs.remove(x)\n",
    "dropped-result": "import os\nos.replace('a', 'b')\n",
    "always-true": "if x == 1 or y:\n    pass\n",
    "swallowed-error": "try:\n    f()\nexcept KeyError:\n    pass\n",
    "a generator": "def f(x):\n    if x:\n        return 1\n    yield 2\n",
}


@pytest.mark.parametrize("rule", BAD)
async def test_suspicious_code_is_found_at_its_line(rule):
    text, line = BAD[rule]
    assert (rule, line) in [(finding.rule, finding.line) for finding in suspicious(parsed(text))]


@pytest.mark.parametrize("rule", GOOD)
async def test_its_innocent_neighbour_is_not(rule):
    assert suspicious(parsed(GOOD[rule])) == []


async def test_complexity_counts_decisions_of_the_function_itself():
    code = parsed(
        "def f(x):\n"
        "    if x and x > 1 or x < -1:\n"  # if, and, or: 3
        "        return [y for y in x if y]\n"  # comprehension and its if: 2
        "    for y in x:\n"  # 1
        "        try:\n"
        "            g()\n"
        "        except KeyError:\n"  # 1
        "            pass\n"
        "    def inner():\n"
        "        if x:\n"
        "            pass\n"
    )
    assert [(item.name, complexity(item.node)) for item in code.functions if item.name == "f"] == [
        ("f", 8)
    ]


async def test_scopes_are_named_in_full():
    code = parsed(
        "class A:\n    @d\n    def f(self):\n        def g():\n            pass\n    x = 1\n"
    )
    assert [code.scope_at(line) for line in range(1, 7)] == [
        "A",
        "A.f",
        "A.f",
        "A.f.g",
        "A.f.g",
        "A",
    ]


@pytest.mark.parametrize(
    "text",
    ["def f(:\n", "x = 1\n  y = 2\n", "(" * 5000, "x = " + "-" * 100_000 + "1", "'unfinished"],
    ids=["syntax", "indentation", "parentheses", "depth", "string"],
)
async def test_what_does_not_parse_says_where(text):
    code = parse_python(Source("/w/a.py", "analysed", "python", tuple(text.splitlines())))
    assert isinstance(code, Broken)
    assert code.line >= 1
    assert code.message


async def test_warnings_of_the_parser_stay_silent(recwarn):
    parsed("x = '\\d'\n")
    assert len(recwarn) == 0


BUGGY = "import os\n\n\ndef f(items=[]):\n    return undefined_thing + items\n"


async def test_ruff_finds_bugs_whatever_the_project_configured(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(BUGGY)
    (tmp_path / "ruff.toml").write_text("lint.select = []\nexclude = ['a.py']\n")
    found = await run_ruff([str(path)], "quick", None)
    rules = {item.rule: item for item in found}
    assert {"F401", "F821", "B006"} <= set(rules)
    assert rules["F401"].weight == 0 < rules["B006"].weight < rules["F821"].weight
    assert rules["F821"].line == 5
    assert rules["F821"].file == str(path)


async def test_ruff_looks_for_security_and_complexity_only_beyond_quick(tmp_path):
    path = tmp_path / "a.py"
    branches = "".join(f"    if x == {n}:\n        return {n}\n" for n in range(12))
    path.write_text(f"def f(x):\n{branches}    eval(x)\n    return 0\n")
    quick = await run_ruff([str(path)], "quick", None)
    standard = await run_ruff([str(path)], "standard", None)
    assert {"C901", "S307"} - {item.rule for item in quick} == {"C901", "S307"}
    assert {"C901", "S307"} <= {item.rule for item in standard}


async def test_a_missing_tool_is_a_problem_not_a_crash(monkeypatch, tmp_path):
    monkeypatch.setattr(lint, "find", lambda name: None)
    with pytest.raises(ToolProblem, match="not installed"):
        await run_ruff(["/w/a.py"], "quick", None)
    monkeypatch.setattr(lint, "find", lambda name: f"/no/such/{name}")
    with pytest.raises(ToolProblem, match="cannot be started"):
        await run_mypy(["/w/a.py"], lambda file, line: "", anyio.Event())


@pytest.mark.slow
async def test_mypy_finds_the_missing_none_check(tmp_path):
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "store.py").write_text(
        "def find(x: int) -> str | None:\n    return None if x else 'a'\n"
    )
    path = package / "use.py"
    path.write_text(
        "from shop.store import find\n\n\ndef use() -> str:\n    return find(1).upper()\n"
    )
    (tmp_path / "mypy.ini").write_text("[mypy]\nignore_errors = True\n")
    found = await run_mypy([str(path)], lambda file, line: "", None)
    assert [(item.rule, item.line, item.file) for item in found] == [("union-attr", 5, str(path))]


def test_modules_of_one_name_go_to_different_runs(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "__init__.py").touch()
    paths = [tmp_path / "p" / "a.py", tmp_path / "x" / "a.py", tmp_path / "y" / "a.py"]
    assert module_of(paths[0]) == (str(tmp_path), "p.a")
    batches = mypy_batches([str(path) for path in paths])
    assert [[path[-6:] for path in files] for _, files in batches] == [
        ["p/a.py", "x/a.py"],
        ["y/a.py"],
    ]


@pytest.mark.parametrize(
    ("rule", "weight"),
    [("F401", 0.0), ("F821", 0.6), ("F811", 0.25), ("B006", 0.35), ("B999", 0.05), ("XYZ", 0.1)],
)
def test_the_longest_known_beginning_of_a_rule_gives_its_weight(rule, weight):
    assert lint.weight_of(rule) == weight
