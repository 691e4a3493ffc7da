"""Functions, classes and complexity of files in other languages, through real grammars."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from dispatch_runner.agents.debug import structure as module
from dispatch_runner.agents.debug.pycode import PyCode, parse_python
from dispatch_runner.agents.debug.role import DebugRole
from dispatch_runner.agents.debug.sources import Source, read_source
from dispatch_runner.agents.debug.structure import GRAMMARS, NoGrammar, outline, structure
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots
from dispatch_runner.protocols import AgentCall

EXAMPLES: dict[str, tuple[str, dict[str, int]]] = {
    "a.js": (
        (
            "class Cart {\n  total(x) { if (x && x.y) { return 1 } }\n  size = () => this.n ? 1 : 0\n}\n"
            "const load = (a) => { for (;;) {} }\nfunction run() { xs.forEach(x => { if (x) {} }) }\n"
        ),
        {"Cart.total": 3, "Cart.size": 2, "load": 2, "run": 2},
    ),
    "a.ts": (
        (
            "abstract class A<T> {\n  m(x: number): T { switch (x) { case 1: default: } return <any>x }\n}\n"
            "export const f = async (a: string): Promise<void> => { a ?? b }\n"
        ),
        {"A.m": 2, "f": 2},
    ),
    "a.tsx": ("export function View(p: P) { return p.on ? <b>x</b> : null }\n", {"View": 2}),
    "A.java": (
        "class A {\n  A() {}\n  int m(int x) { if (x > 0 && x < 3) return 1; for (;;) {} }\n}\n",
        {"A.A": 1, "A.m": 4},
    ),
    "a.go": (
        "package a\nfunc (r *R) M(x int) int { if x > 0 && x < 2 { return 1 }; for {} }\nfunc f() {}\n",
        {"R.M": 4, "f": 1},
    ),
    "a.rs": (
        "impl A { fn m(&self) -> i32 { match z { 1 => 2, _ => 3 } } }\nfn f() { loop {} }\n",
        {"A.m": 3, "f": 2},
    ),
    "a.cs": (
        "class A { A() {} int M(int x) { if (x > 0 || x < 3) return 1; return x ?? 3; } }\n",
        {"A.A": 1, "A.M": 4},
    ),
    "a.php": (
        "<?php class A { function m($x) { if ($x) {} foreach ($a as $b) {} } } function g() {}\n",
        {"A.m": 3, "g": 1},
    ),
    "a.rb": (
        "class A\n  def m(x)\n    return 2 unless x\n    while x do end\n  end\n  def self.s; end\nend\n",
        {"A.m": 3, "A.s": 1},
    ),
    "a.kt": (
        "class A {\n  fun m(x: Int): Int {\n    if (x > 0) return 1\n    return 2\n  }\n}\nfun g() {}\n",
        {"A.m": 2, "g": 1},
    ),
}


def written(folder: Path, name: str, text: str) -> Source:
    path = folder / name
    path.write_text(text)
    return read_source(str(path))


@pytest.mark.parametrize("name", EXAMPLES)
def test_functions_with_their_complexity(tmp_path, name):
    text, expected = EXAMPLES[name]
    source = written(tmp_path, name, text)
    language = "tsx" if name.endswith(".tsx") else source.language
    pytest.importorskip(GRAMMARS[language].package.replace("-", "_"))
    found = structure(source)
    assert {item.name: item.complexity for item in found.functions} == expected
    assert found.broken == []


def test_the_innermost_function_or_class_is_around_a_line(tmp_path):
    pytest.importorskip("tree_sitter_javascript")
    text = "class A {\n  m() {\n    return 1\n  }\n\n  n() { return 2 }\n}\n"
    found = structure(written(tmp_path, "a.js", text))
    assert [found.scope_at(line) for line in (1, 3, 5, 6, 9)] == ["A", "A.m", "A", "A.n", ""]


def test_what_the_grammar_does_not_understand_is_told(tmp_path):
    pytest.importorskip("tree_sitter_javascript")
    found = structure(written(tmp_path, "a.js", "const a = 1\nfunction ( { if (x {\n"))
    assert found.broken


def test_without_the_wheel_it_says_what_to_install(tmp_path, monkeypatch):
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", absent)
    module._parser.cache_clear()
    with pytest.raises(NoGrammar, match=r"tree-sitter-go.*\[languages\]"):
        structure(written(tmp_path, "a.go", "package a\n"))


def test_a_language_without_grammar_and_a_large_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(NoGrammar, match="dart"):
        structure(written(tmp_path, "a.dart", "void main() {}\n"))
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(NoGrammar, match="more than"):
        structure(written(tmp_path, "a.js", "const a = 12345\n"))


def test_an_outline_of_python_says_the_same_as_its_tree(tmp_path):
    source = written(tmp_path, "a.py", "class A:\n    def m(self):\n        return 1 if x else 2\n")
    code = parse_python(source)
    assert isinstance(code, PyCode)
    found = outline(code, sized=True)
    assert [(item.name, item.complexity) for item in found.functions] == [("A.m", 2)]
    assert [found.scope_at(line) for line in (1, 2, 3)] == [code.scope_at(n) for n in (1, 2, 3)]


@pytest.mark.anyio
async def test_suspects_of_other_languages_have_functions_and_their_lines(tmp_path):
    pytest.importorskip("tree_sitter_javascript")
    path = tmp_path / "cart.js"
    path.write_text("class Cart {\n  total(items) {\n    return items.length\n  }\n}\n")
    trace = (
        "TypeError: Cannot read properties of undefined (reading 'length')\n"
        f"    at total ({path}:3:18)\n"
    )
    value: JsonObject = {
        "problem_description": "it fails",
        "affected_files": [str(path)],
        "error_traces": [trace],
    }
    roots = AllowedRoots(("/",))
    call = AgentCall(
        "t", "debug", "", value, {}, "id", 1, 60.0, tmp_path, roots, None, anyio.Event()
    )
    role = DebugRole()
    output = (await role.verify(call, await role.solve(call))).output
    first = output["suspects"][0]
    assert (first["function"], first["function_start"], first["function_end"]) == (
        "Cart.total",
        2,
        4,
    )
    assert output["files"][0]["functions"] == 1
    assert output["files"][0]["most_complex"][0]["name"] == "Cart.total"
