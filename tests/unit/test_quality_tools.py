"""The tools of the quality server, called in process."""

import json
from pathlib import Path
from typing import Any

import pytest

from dispatch_runner.analysis import tools as analysis_tools
from dispatch_runner.analysis.search import Hit
from dispatch_runner.mcp.quality import NoSuchTool, QualityTools, WrongArguments, scores
from dispatch_runner.mcp.quality.assess import language_of
from dispatch_runner.mcp.quality.scores import Score
from dispatch_runner.mcp.quality.search import Ranked, merged

pytestmark = pytest.mark.anyio

GOOD = '''"""Adds numbers."""


def add(first: int, second: int) -> int:
    """The sum."""
    return first + second
'''
POOR = """import os
def f(a, b=[], *c):
    try:
        return eval(a)
    except:
        pass
"""


@pytest.fixture
def quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QualityTools:
    """The tools over a folder with two files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "root"
    root.mkdir()
    (root / "breaker.py").write_text("class CircuitBreaker:\n    def admit(self): ...\n")
    (root / "guide.md").write_text("# Circuit breaker\n\nHow the breaker works.\n")
    return QualityTools([root])


async def assessed(quality: QualityTools, content: str, **more: str) -> dict[str, Any]:
    answer = await quality.call("assess_code_quality", {"content": content, **more})
    assert answer["success"] is True
    json.dumps(answer)
    analysis: dict[str, Any] = answer["analysis"]
    return analysis


async def test_an_assessment_has_the_shape_that_older_clients_read(quality: QualityTools) -> None:
    analysis = await assessed(quality, GOOD, source_path="/x/add.py", language="python")
    assert analysis["quality_score"] == 1.0
    assert set(analysis["quality_metrics"]) == set(scores.WEIGHTS)
    assert analysis["architectural_compliance"]["onex_compliance"] == 1.0
    assert set(analysis["code_patterns"]) == {
        "identified_patterns", "anti_patterns", "improvement_opportunities",
    }  # fmt: skip
    assert analysis["maintainability"]["score"] == 1.0
    assert analysis["architectural_era"] == "not_assessed"


async def test_a_poor_text_scores_less_and_every_loss_is_explained(quality: QualityTools) -> None:
    analysis = await assessed(quality, POOR)
    assert 0 < analysis["quality_score"] < 0.6
    metrics = analysis["quality_metrics"]
    assert (metrics["lint"], metrics["documentation"], metrics["typing"]) == (0.0, 0.0, 0.0)
    rules = {each["rule"] for each in analysis["explanations"]["lint"]["findings"]}
    assert {"F401", "B006", "E722", "S307"} <= rules
    assert {each["name"] for each in analysis["code_patterns"]["anti_patterns"]} == {
        "mutable_default", "evaluated_text", "bare_except", "swallowed_error",
    }  # fmt: skip
    assert analysis["code_patterns"]["improvement_opportunities"][0].startswith("lint is 0.00")
    assert all(each["reason"] for each in analysis["explanations"].values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("def f(:\n", "it does not parse as Python 3."),
        ("", "there is no code"),
        ("# x\n", "no code"),
    ],
)
async def test_a_text_without_a_tree_scores_0_and_says_why(
    quality: QualityTools, content: str, reason: str
) -> None:
    analysis = await assessed(quality, content)
    assert analysis["quality_score"] == 0.0
    assert reason in analysis["quality_score_explained"]["reason"]
    assert analysis["architectural_compliance"]["onex_compliance"] == 0.0
    assert set(analysis["quality_metrics"].values()) == {None}


async def test_without_ruff_lint_is_not_assessed_and_the_score_says_so(
    quality: QualityTools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analysis_tools, "find", lambda name: None)
    analysis = await assessed(quality, GOOD)
    assert analysis["quality_metrics"]["lint"] is None
    assert analysis["explanations"]["lint"]["reason"] == "ruff is not installed"
    assert analysis["quality_score"] == 1.0
    assert analysis["quality_score_explained"]["assessed_share"] == 0.75
    assert "not assessed: lint" in analysis["quality_score_explained"]["reason"]


async def test_another_language_has_no_overall_score(quality: QualityTools) -> None:
    pytest.importorskip("tree_sitter")
    analysis = await assessed(quality, "package a\nfunc f() {}\n", source_path="a.go")
    assert (analysis["language"], analysis["quality_score"]) == ("go", None)
    metrics = analysis["quality_metrics"]
    assert {name for name, value in metrics.items() if value is not None} == {
        "complexity", "structure",
    }  # fmt: skip
    assert "only 30% of the weight" in analysis["quality_score_explained"]["reason"]


async def test_a_language_that_nobody_knows_is_not_assessed(quality: QualityTools) -> None:
    analysis = await assessed(quality, "MOVE A TO B.\n", language="COBOL")
    assert analysis["quality_score"] is None
    assert set(analysis["quality_metrics"].values()) == {None}
    assert analysis["size"]["lines"] == 2
    assert analysis["explanations"]["lint"]["reason"] == "no grammar for 'cobol' is known"


@pytest.mark.parametrize(
    ("named", "path", "language"),
    [
        ("", "", "python"),
        ("", "a.ts", "typescript"),
        ("Py", "a.ts", "python"),
        ("C#", "", "csharp"),
    ],
)
def test_the_language_is_named_or_read_off_the_path(named: str, path: str, language: str) -> None:
    assert language_of(named, path) == language


async def test_a_search_has_the_shape_that_older_clients_read(quality: QualityTools) -> None:
    answer = await quality.call("perform_rag_query", {"query": "circuit breaker", "match_count": 1})
    assert answer["success"] is True
    assert (answer["total_results"], answer["sources_queried"]) == (1, ["rag_search"])
    assert set(answer["results"]) == {"rag_search", "vector_search", "knowledge_graph"}
    (result,) = answer["results"]["rag_search"]
    assert Path(result["file"]).name in {"breaker.py", "guide.md"}
    assert result["line_start"] == 1
    assert "breaker" in result["snippet"].lower()
    assert answer["synthesis"]["confidence_score"] == 1.0
    json.dumps(answer)


async def test_words_that_are_nowhere_are_told(quality: QualityTools) -> None:
    answer = await quality.call("perform_rag_query", {"query": "breaker zebra"})
    assert answer["synthesis"]["words_not_found"] == ["zebra"]
    assert answer["synthesis"]["confidence_score"] == 0.5
    nothing = await quality.call("perform_rag_query", {"query": "zebra"})
    assert (nothing["success"], nothing["total_results"]) == (True, 0)
    assert nothing["synthesis"]["confidence_score"] == 0.0


@pytest.mark.parametrize(
    ("context", "first"), [("architecture", "guide.md"), ("debugging", "breaker.py")]
)
async def test_the_context_prefers_documents_or_code(
    quality: QualityTools, context: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatch_runner.mcp.quality.search.PREFERRED", 100.0)
    arguments = {"query": "circuit breaker", "context": context}
    answer = await quality.call("perform_rag_query", arguments)
    assert Path(answer["results"]["rag_search"][0]["file"]).name == first


async def test_code_examples_are_definitions_in_code(quality: QualityTools) -> None:
    answer = await quality.call("search_code_examples", {"query": "breaker"})
    (result,) = answer["results"]["rag_search"]
    assert result["symbols"] == ["CircuitBreaker", "admit"]


async def test_the_source_limits_a_search(quality: QualityTools) -> None:
    arguments = {"query": "breaker", "source_domain": "guide"}
    answer = await quality.call("perform_rag_query", arguments)
    assert [Path(each["file"]).name for each in answer["results"]["rag_search"]] == ["guide.md"]


async def test_research_merges_its_queries(quality: QualityTools) -> None:
    arguments = {"query": "breaker", "queries": ["admit", "breaker"], "max_results": 5}
    answer = await quality.call("research", arguments)
    assert answer["queries"] == ["breaker", "admit"]
    names = [Path(each["file"]).name for each in answer["results"]["rag_search"]]
    assert names == ["breaker.py", "guide.md"]


def test_merged_rankings_hold_each_piece_once() -> None:
    def ranked(name: str, line: int) -> Ranked:
        return Ranked(Hit(Path(name), line, line, (), "", 1.0), 1.0)

    lists = [[ranked("a", 1), ranked("b", 1)], [ranked("b", 1), ranked("a", 2)]]
    result = [(str(each.hit.path), each.hit.line_start) for each in merged(lists)]
    assert result == [("b", 1), ("a", 1), ("a", 2)]


async def test_folders_of_no_project_are_not_searched(
    quality: QualityTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = tmp_path / "root"
    tools = QualityTools([root, tmp_path, root, tmp_path / "missing", Path("/")])
    answer = await tools.call("perform_rag_query", {"query": "breaker"})
    assert answer["folders"] == [str(root.resolve())]
    assert len(answer["notes"]) == 3
    assert f"'{tmp_path}' is not searched: it belongs to no project" in answer["notes"]


async def test_a_folder_inside_another_one_is_searched_once(
    quality: QualityTools, tmp_path: Path
) -> None:
    inner = tmp_path / "root" / "inner"
    inner.mkdir()
    tools = QualityTools([inner, tmp_path / "root"])
    answer = await tools.call("perform_rag_query", {"query": "breaker"})
    assert answer["folders"] == [str((tmp_path / "root").resolve())]


async def test_compliance_has_violations_with_lines(quality: QualityTools) -> None:
    content = "from os import *\n"
    answer = await quality.call("check_architectural_compliance", {"content": content})
    assert (answer["success"], answer["compliant"]) == (True, False)
    assert answer["compliance_score"] <= 0.5
    (violation,) = answer["violations"]
    assert (violation["rule"], violation["line"]) == ("no-wildcard-import", 1)


async def test_compliance_of_a_text_that_does_not_parse_is_0(quality: QualityTools) -> None:
    answer = await quality.call("check_architectural_compliance", {"content": "def f(:"})
    assert answer["compliance_score"] == 0.0
    assert answer["violations"][0]["severity"] == "critical"


@pytest.mark.parametrize("kind", ["clean", "microservices"])
async def test_architectures_whose_rules_are_not_known_are_not_assessed(
    quality: QualityTools, kind: str
) -> None:
    arguments = {"content": GOOD, "architecture_type": kind}
    answer = await quality.call("check_architectural_compliance", arguments)
    assert (answer["status"], answer["compliance_score"]) == ("not_assessed", None)
    assert kind in answer["reason"]


async def test_patterns_have_places_and_confidences(quality: QualityTools) -> None:
    arguments = {"content": POOR, "pattern_type": "anti_patterns"}
    answer = await quality.call("get_quality_patterns", arguments)
    assert answer["confidence_scores"]["evaluated_text"] == 1.0
    assert {"name", "line", "message", "confidence"} == set(answer["patterns_found"][0])
    good = await quality.call("get_quality_patterns", {"content": GOOD})
    assert set(good["confidence_scores"]) == {"documented_module", "typed_signature"}


async def test_patterns_of_a_text_that_does_not_parse_are_not_assessed(
    quality: QualityTools,
) -> None:
    answer = await quality.call("get_quality_patterns", {"content": "def f(:"})
    assert (answer["status"], answer["patterns_found"]) == ("not_assessed", [])


@pytest.mark.parametrize(
    ("name", "hint"),
    [("assess_quality", "did you mean 'assess_code_quality'?"), ("zzz", "there are assess_code")],
)
async def test_a_tool_that_there_is_not_is_told(
    quality: QualityTools, name: str, hint: str
) -> None:
    with pytest.raises(NoSuchTool, match="there is no tool") as caught:
        await quality.call(name, {})
    assert hint in str(caught.value)


async def test_everything_that_is_wrong_with_arguments_is_told_at_once(
    quality: QualityTools,
) -> None:
    with pytest.raises(WrongArguments) as caught:
        await quality.call("perform_rag_query", {"max_results": 0, "kwery": "x"})
    said = str(caught.value)
    assert "wrong arguments for 'perform_rag_query'" in said
    for part in ("query: field required", "max_results: input should be", "kwery: there is no"):
        assert part in said


def test_descriptions_are_schemas_that_a_client_can_check(quality: QualityTools) -> None:
    from jsonschema import Draft202012Validator

    for tool in quality.tools():
        Draft202012Validator.check_schema(tool.input_schema)
        assert tool.description
        assert all(each["description"] for each in tool.input_schema["properties"].values())


def test_the_overall_score_is_the_weighted_mean_of_what_was_assessed() -> None:
    parts = {name: Score(0.5, "") for name in scores.WEIGHTS}
    assert scores.overall(parts).value == pytest.approx(0.5)
    parts["lint"] = Score(1.0, "")
    assert scores.overall(parts).value == pytest.approx(0.625)
    parts["typing"] = Score(None, "")
    assert scores.overall(parts).value == pytest.approx((0.25 + 0.30) / 0.85)
    few = {name: Score(None, "") for name in scores.WEIGHTS} | {"lint": Score(1.0, "")}
    assert scores.overall(few).value is None
    assert sum(scores.WEIGHTS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(("value", "expected"), [(0, 1.0), (10, 1.0), (20, 0.5), (30, 0.0), (99, 0.0)])  # fmt: skip
def test_scores_fade_from_their_limit(value: float, expected: float) -> None:
    assert scores.fading(value, 10, 30) == expected
