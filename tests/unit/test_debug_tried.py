"""A hypothesis against what running the tests showed."""

import pytest

from dispatch_runner.agents.debug.deep import Deep
from dispatch_runner.agents.debug.dynamic import add_spectrum, add_trials
from dispatch_runner.agents.debug.hypothesis import judge
from dispatch_runner.agents.debug.localise import Material
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.mutate import Mutant, mutants
from dispatch_runner.agents.debug.pycode import PyCode, parse_python
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.testrun import Judged, Observed, Outcome, SeenTest, Trials

TEXT = """\
def largest(items):
    best = 0
    for item in items:
        if item < best:
            best = item
    return best


def smallest(items):
    return min(items)
"""
PATH = "/p.py"


def seen(name: str, outcome: Outcome, *lines: int) -> SeenTest:
    return SeenTest(name, outcome, 0.01, "", {PATH: frozenset(lines)}, {})


@pytest.fixture
def material():
    source = Source(PATH, "analysed", "python", tuple(TEXT.split("\n")))
    code = parse_python(source)
    assert isinstance(code, PyCode)
    return Material({PATH: source}, {PATH: code}, [], Mapper([source]))


def mutant(material: Material, line: int, operator: str) -> Mutant:
    code = material.code(PATH)
    assert code is not None
    return next(item for item in mutants(code, {line}) if item.operator == operator)


def judged(material: Material, outcome: Outcome, hypothesis: str, *, mended: bool) -> str:
    """Two failing tests run `largest`, one passing test `smallest`; perhaps a mutant mends them."""
    failing = [seen("a", outcome, 2, 3, 4, 6), seen("b", "failed", 2, 3, 4, 6)]
    observed = Observed([*failing, seen("c", "passed", 10)])
    mending = Judged(
        mutant(material, 4, "comparison"), frozenset({"a", "b"} if mended else ()), frozenset(), 0
    )
    idle = [
        Judged(mutant(material, line, operator), frozenset(), frozenset(), 0)
        for line, operator in [(2, "number"), (6, "variable")]
        for _ in range(9)
    ]
    deep = Deep(observed, ["pytest"], Trials([mending, *idle], ["a", "b"], 20))
    assert deep.trials is not None
    add_spectrum(material, observed)
    add_trials(material, deep.trials)
    return judge(hypothesis, material.candidates.ranked(), material, deep).verdict


@pytest.mark.parametrize(
    ("hypothesis", "verdict"),
    [
        ("the comparison in line 4 is wrong", "supported"),
        ("`largest` is wrong", "supported"),
        ("it uses the wrong comparison", "supported"),
        ("line 2 starts with the wrong value", "contradicted"),
        ("`smallest` is wrong", "contradicted"),
        ("the arguments are swapped somewhere", "contradicted"),
        ("an infinite loop", "contradicted"),
        ("cosmic rays", "undecided"),
    ],
)
def test_with_a_change_that_mends_all(material, hypothesis, verdict):
    assert judged(material, "failed", hypothesis, mended=True) == verdict


@pytest.mark.parametrize(
    ("hypothesis", "verdict"),
    [
        ("line 2 is wrong", "contradicted"),
        ("line 10 is wrong", "contradicted"),
        ("line 3 is wrong", "supported"),
        ("the arguments are swapped somewhere", "undecided"),
        ("an infinite loop", "supported"),
    ],
)
def test_without_one(material, hypothesis, verdict):
    assert judged(material, "hung", hypothesis, mended=False) == verdict


def test_when_all_named_tests_pass_nothing_is_supported(material):
    deep = Deep(Observed([seen("c", "passed", 10)]), ["pytest"])
    assert judge("`smallest` is wrong", [], material, deep).verdict == "contradicted"
