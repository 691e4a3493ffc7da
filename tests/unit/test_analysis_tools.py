"""Programs and grammars that look at code."""

from pathlib import Path

import pytest

from dispatch_runner.analysis.grammars import Outline, outline
from dispatch_runner.analysis.lint import NOT_PARSED, lint_files, lint_text
from dispatch_runner.analysis.tools import (
    ToolProblem,
    clean_environment,
    find,
    missing,
    output_of,
)

pytestmark = pytest.mark.anyio


def test_the_ruff_of_our_own_environment_is_found() -> None:
    found = find("ruff")
    assert found is not None
    assert Path(found).is_file()


def test_a_program_that_there_is_not_is_missing() -> None:
    assert find("no-such-program-here") is None
    assert missing(["ruff", "no-such-program-here"]) == ["no-such-program-here"]


def test_the_environment_of_tools_configures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUFF_CONFIG", "/evil.toml")
    monkeypatch.setenv("GIT_DIR", "/evil")
    environment = clean_environment(EXTRA="1")
    assert environment["EXTRA"] == "1"
    assert not {"RUFF_CONFIG", "GIT_DIR", "HOME"} & environment.keys()


async def test_findings_of_a_text_have_line_rule_and_fix() -> None:
    found = await lint_text("import os\nx = undefined\n", "F")
    assert [(each.rule, each.line) for each in found] == [("F401", 1), ("F821", 2)]
    assert found[0].fix == "Remove unused import: `os`"


async def test_a_text_that_does_not_parse_is_a_finding() -> None:
    found = await lint_text("def f(:\n", "F")
    assert {each.rule for each in found} == {NOT_PARSED}


async def test_findings_of_files_name_them(tmp_path: Path) -> None:
    (tmp_path / "-x.py").write_text("import os\n")
    (tmp_path / "ruff.toml").write_text("broken = [")
    found = await lint_files([str(tmp_path / "-x.py")], "F")
    assert [(each.file, each.rule) for each in found] == [(str(tmp_path / "-x.py"), "F401")]


async def test_a_rule_that_there_is_not_is_a_problem_that_says_so() -> None:
    with pytest.raises(ToolProblem, match="ruff ended with 2: "):
        await lint_text("", "ZZZ")


async def test_a_missing_program_is_a_problem_that_says_so() -> None:
    with pytest.raises(ToolProblem, match="no-such-program-here is not installed"):
        await output_of("no-such-program-here", [], seconds=1)


async def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ToolProblem, match=r"sleep took longer than 0\.05 s"):
        await output_of("sleep", ["60"], seconds=0.05)


@pytest.mark.parametrize(
    ("language", "text", "functions"),
    [
        ("go", "package a\nfunc f(x int) {\n if x > 1 && x < 3 { return }\n}\n", [("f", 2, 3, 3)]),
        ("javascript", "class A { m(a) {\n return a ? 1 : 2 } }\n", [("m", 1, 2, 2)]),
        ("typescript", "function f(x: number) { for (const y of [x]) {} }\n", [("f", 1, 1, 2)]),
        ("java", "class A { int f(int x) { while (x > 0) x--; return x; } }\n", [("f", 1, 1, 2)]),
        ("rust", "fn f(x: i32) -> i32 { if x > 1 { 3 } else { 4 } }\n", [("f", 1, 1, 2)]),
        ("ruby", "def f(x)\n  return 1 if x\nend\n", [("f", 1, 3, 2)]),
    ],
)
def test_the_structure_of_other_languages_is_known(
    language: str, text: str, functions: list[tuple[str, int, int, int]]
) -> None:
    pytest.importorskip("tree_sitter")
    known = outline(text, language)
    assert isinstance(known, Outline)
    assert [(f.name, f.line, f.lines, f.cyclomatic) for f in known.functions] == functions
    assert known.error_lines == []


def test_what_a_grammar_does_not_understand_is_told_by_line() -> None:
    pytest.importorskip("tree_sitter")
    known = outline("const a = 1;\nfunction(\n", "javascript")
    assert isinstance(known, Outline)
    assert known.error_lines == [2]


def test_a_language_without_a_grammar_says_so() -> None:
    assert outline("x", "cobol") == "no grammar for 'cobol' is known"
