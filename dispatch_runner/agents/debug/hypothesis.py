"""A suspected cause against the evidence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dispatch_runner.agents.debug.candidates import Candidate
from dispatch_runner.agents.debug.deep import Deep
from dispatch_runner.agents.debug.localise import Material, is_named
from dispatch_runner.agents.debug.models import HypothesisResult, Verdict
from dispatch_runner.agents.debug.tried import about_tests, places

CONCEPTS: dict[str, str] = {
    "none_dereference": r"\b(?:none|null|nil|undefined|optional|nonetype|null ?pointer|nullpointer\w*)\b",
    "missing_key": r"\b(?:missing|absent|wrong|unknown|no) (?:\w+ )?keys?\b|\bkey ?errors?\b|\bkeys? (?:is|are|was) (?:missing|absent|not)",
    "index_out_of_range": r"\boff[- ]by[- ]one\b|\bout of (?:range|bounds)\b|\bindex ?errors?\b|\bempty list\b",
    "division_by_zero": r"\b(?:division|divid\w*|divisor)\b.{0,20}\bzero\b|\bzero ?division\w*",
    "undefined_name": r"\bundefined (?:name|variable)\b|\btypos?\b|\bname ?errors?\b|\bnot defined\b",
    "unbound_local": r"\bunbound\b|\bbefore assignment\b|\bnot initiali[sz]ed\b",
    "missing_attribute": r"\battribute ?errors?\b|\b(?:missing|wrong|no) attribute\b",
    "missing_module": r"\bnot installed\b|\bmissing (?:module|package|dependency)\b|\bmodule ?not ?found\w*",
    "circular_import": r"\bcircular import\b|\bimport cycle\b",
    "wrong_call": r"\b(?:wrong|missing|too many|unexpected|extra) (?:number of )?(?:keyword )?arguments?\b|\bsignature\b",
    "wrong_type": r"\bwrong type\b|\btype ?errors?\b|\bstring instead of\b|\bnot converted\b",
    "missing_file": r"\bfile (?:is |was )?(?:missing|not found|absent)\b|\bmissing file\b|\bfile ?not ?found\w*|\bwrong path\b",
    "endless_recursion": r"\brecursi\w+\b|\bstack overflow\b",
    "syntax_error": r"\bsyntax\b|\bindentation\b",
    "deadlock": r"\bdead ?locks?\b",
    "data_race": r"\brace(?: conditions?)?\b",
    "wrong_length": r"\bunpack\w*\b",
    "bad_literal": r"\bnot a number\b|\bparse\w* (?:the )?(?:number|int|float)\b|\binvalid literal\b",
}
"""By the kind of a root cause: words that name it."""
NEGATION = re.compile(
    r"\b(?:not|never|no longer|isn't|cannot be|can't be|without)\s+(?:\w+\s+){0,2}$", re.IGNORECASE
)
ERROR_NAME = re.compile(r"\b[A-Z]\w*(?:Error|Exception)\b")
LINE = re.compile(r"\bline (\d{1,7})\b", re.IGNORECASE)


def judge(
    hypothesis: str, ranked: Sequence[Candidate], material: Material, deep: Deep | None = None
) -> HypothesisResult:
    """Supported when what it names fits the evidence, contradicted when the evidence excludes it.

    Where tests were run (`deep`), what they show about a place counts instead of its rank.
    """
    reasons: list[tuple[bool, str]] = []
    tested = about_tests(hypothesis, ranked, material, deep) if deep is not None else []
    if ranked:
        by_place = places(hypothesis, material) if tested else []
        reasons = [
            *_about_error(hypothesis, material),
            *_about_kind(hypothesis, ranked),
            *([] if by_place else _about_place(hypothesis, ranked, material)),
        ]
    reasons = [*tested, *reasons]
    fits = [why for supports, why in reasons if supports]
    excludes = [why for supports, why in reasons if not supports]
    verdict: Verdict = "undecided"
    if fits and not excludes:
        verdict = "supported"
    elif excludes and not fits:
        verdict = "contradicted"
    why = [*fits, *excludes] or [_nothing(ranked)]
    if fits and excludes:
        why.append("the evidence fits one part of it and excludes another")
    return HypothesisResult(hypothesis=hypothesis, verdict=verdict, why=why)


def _nothing(ranked: Sequence[Candidate]) -> str:
    if not ranked:
        return "there is no evidence to test it against"
    return "it names no error, cause, function, file or line that the evidence speaks about"


def _about_error(hypothesis: str, material: Material) -> list[tuple[bool, str]]:
    known = {trace.error_type.rpartition(".")[2] for trace in material.traces} - {""}
    named = set(ERROR_NAME.findall(hypothesis))
    if not known or not named:
        return []
    shown = ", ".join(sorted(known))
    return [(name in known, f"it names {name}; the traces hold {shown}") for name in sorted(named)]


def _about_kind(hypothesis: str, ranked: Sequence[Candidate]) -> list[tuple[bool, str]]:
    explanations = [item.explanation for item in ranked if item.explanation is not None]
    if not explanations or explanations[0].kind not in CONCEPTS:
        return []
    first = explanations[0]
    words = ERROR_NAME.sub(" ", hypothesis)
    kinds = {item.kind for item in explanations}
    reasons = []
    for kind, pattern in CONCEPTS.items():
        match = re.search(pattern, words, re.IGNORECASE)
        if match is None:
            continue
        denied = NEGATION.search(words[: match.start()]) is not None
        if kind in kinds:
            reasons.append((not denied, _said(match.group(), first.statement, denied=denied)))
        elif first.certain and not denied:
            reasons.append((False, f"it says {match.group()!r}, but {first.statement}"))
    if any(supports for supports, _ in reasons):
        return [reason for reason in reasons if reason[0]]
    return reasons


def _said(words: str, statement: str, *, denied: bool) -> str:
    return (
        f"it {'denies' if denied else 'says'} {words!r}, {'but' if denied else 'and'} {statement}"
    )


def _about_place(
    hypothesis: str, ranked: Sequence[Candidate], material: Material
) -> list[tuple[bool, str]]:
    reasons: list[tuple[bool, str]] = []
    top = ranked[0]
    suspects = {item.function.rpartition(".")[2] for item in ranked[:5]}
    for name in sorted(_named_functions(hypothesis, material)):
        if name in suspects:
            reasons.append((True, f"it names `{name}`, which is among the first suspects"))
        elif top.raised:
            reasons.append((False, f"it names `{name}`, to which no evidence points"))
    for path in material.sources:
        name = Path(path).name
        if name in hypothesis:
            points = any(item.file == path for item in ranked[:5])
            said = "has first suspects" if points else "has none of the first suspects"
            reasons.append((points, f"it names {name}, which {said}"))
    for number in LINE.findall(hypothesis):
        line = int(number)
        near = any(item.line_start <= line <= item.line_end for item in ranked[:5])
        said = "is among the first suspects" if near else "is not among the first suspects"
        reasons.append((near, f"it names line {line}, which {said}"))
    return reasons


def _named_functions(hypothesis: str, material: Material) -> set[str]:
    return {name for _, name, _, _ in material.functions() if is_named(hypothesis, name)}
