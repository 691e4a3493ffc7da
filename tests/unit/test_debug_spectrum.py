"""Spectrum formulas against worked examples, and the plan that follows from them."""

from math import inf, isclose

import pytest

from dispatch_runner.agents.debug.dynamic import plan, suspicions
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.pycode import PyCode, parse_python
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.spectrum import Counts, spectrum
from dispatch_runner.agents.debug.testrun import Observed, SeenTest, _trials, project_folder

TEXT = "def f(a):\n    if a > 3:\n        b = a * 2 + 1\n        return b\n    return 0\n"


def seen(name: str, outcome: str, lines: set[int]) -> SeenTest:
    return SeenTest(name, outcome, 0.01, "", {"/p.py": frozenset(lines)}, {})


@pytest.fixture
def material():
    source = Source("/p.py", "analysed", "python", tuple(TEXT.split("\n")))
    code = parse_python(source)
    assert isinstance(code, PyCode)
    return Material({"/p.py": source}, {"/p.py": code}, [], Mapper([source]))


@pytest.mark.parametrize(
    ("counts", "ochiai", "dstar"),
    [
        (Counts(2, 0, 2, 8), 1.0, inf),
        (Counts(1, 3, 4, 8), 1 / 4, 1 / 6),
        (Counts(0, 5, 4, 8), 0.0, 0.0),
        (Counts(3, 9, 4, 9), 3 / 48**0.5, 9 / 10),
    ],
)
def test_formulas(counts, ochiai, dstar):
    assert isclose(counts.ochiai, ochiai)
    assert counts.dstar == inf if dstar == inf else isclose(counts.dstar, dstar)
    assert 0 <= counts.suspicion <= 1


def test_only_lines_of_failing_tests_have_a_spectrum():
    tests = [seen("a", "failed", {2, 3}), seen("b", "passed", {2, 5}), seen("c", "skipped", {2})]
    assert spectrum(tests) == {
        ("/p.py", 2): Counts(1, 1, 1, 1),
        ("/p.py", 3): Counts(1, 0, 1, 1),
    }


def test_of_lines_run_alike_the_one_with_more_on_it_comes_first(material):
    tests = [seen("a", "failed", {2, 3, 4}), seen("b", "passed", {2, 5})]
    assert [item.line for item in suspicions(material, Observed(tests))] == [3, 4, 2]


def test_mutants_are_planned_for_suspect_lines_with_the_passing_tests_that_run_them(material):
    observed = Observed([seen("a", "failed", {2, 3, 4}), seen("b", "passed", {2, 5})])
    planned = plan(material, observed)
    assert {mutant.line for mutant, _ in planned} <= {2, 3, 4}
    assert {
        tuple(test.name for test in tests) for mutant, tests in planned if mutant.line == 2
    } == {("b",)}


def test_tests_that_behave_otherwise_unchanged_count_for_nothing(material):
    observed = Observed([seen("a", "failed", {3}), seen("z", "hung", {3})])
    mutant = plan(material, observed)[0][0]
    records = [
        {"kind": "mutant", "number": -1, "fixed": ["z"], "broken": ["p"], "ran": 2},
        {
            "kind": "mutant",
            "number": 0,
            "fixed": ["a", "z"],
            "broken": ["p"],
            "ran": 2,
            "complete": True,
        },
    ]
    trials = _trials(records, [mutant], ["a", "z"])
    assert trials.failing == ["a"]
    records[1]["complete"] = False
    assert _trials(records, [mutant], ["a", "z"]).judged[0].broken
    assert (trials.judged[0].fixed, trials.judged[0].broken) == ({"a"}, frozenset())


def test_a_project_is_where_its_configuration_is(tmp_path):
    tests = tmp_path / "project" / "tests" / "unit"
    tests.mkdir(parents=True)
    (tests / "test_a.py").touch()
    assert project_folder([str(tests / "test_a.py")]) == tests
    (tmp_path / "project" / "tests" / "conftest.py").touch()
    assert project_folder([str(tests / "test_a.py")]) == tmp_path / "project" / "tests"
    (tmp_path / "project" / "pyproject.toml").touch()
    assert project_folder([str(tests)]) == tmp_path / "project"
