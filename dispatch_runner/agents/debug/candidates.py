"""Places under suspicion, and the evidence for and against each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dispatch_runner.agents.debug.explain import Explanation
from dispatch_runner.agents.debug.models import Evidence, Suspect
from dispatch_runner.agents.debug.sources import Source

MOST_SUSPECTS = 20
MOST_EVIDENCE = 12
CODE_SHOWN = 500
LOWEST_SCORE = 0.05
"""Less is noise."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A change of one line with which the tests pass; found by trying, so not proven."""

    line: int
    operator: str
    before: str
    after: str
    tests: str
    """Which tests pass with it, in words."""
    passed: int
    total: int
    """Of how many tests that ran with it."""
    others: tuple[str, ...]
    """Other changes of the line with which the same tests pass, at most 3."""


@dataclass(slots=True)
class Candidate:
    """A place and what speaks for and against it."""

    file: str
    line_start: int
    line_end: int
    function: str = ""
    code: str = ""
    evidence_for: list[Evidence] = field(default_factory=list)
    evidence_against: list[Evidence] = field(default_factory=list)
    check: str = ""
    explanation: Explanation | None = None
    raised: bool = False
    """Whether an error was raised here or, from own code's view, by a call made here."""
    traced: bool = False
    """Whether a trace passes here."""
    tested: bool = False
    """Whether running tests says something about it."""
    repair: Repair | None = None

    @property
    def score(self) -> float:
        """1 - product(1 - weight for), times product(1 - weight against); 0 to 1."""
        doubt = trust = 1.0
        for item in self.evidence_for:
            doubt *= 1 - item.weight
        for item in self.evidence_against:
            trust *= 1 - item.weight
        return round((1 - doubt) * trust, 3)

    def speak_for(self, observation: str, weight: float) -> None:
        """Add an observation once, and at most 12 of them."""
        _add(self.evidence_for, observation, weight)

    def speak_against(self, observation: str, weight: float) -> None:
        """Add an observation once, and at most 12 of them."""
        _add(self.evidence_against, observation, weight)


def _add(items: list[Evidence], observation: str, weight: float) -> None:
    known = any(item.observation == observation for item in items)
    if weight > 0 and not known and len(items) < MOST_EVIDENCE:
        items.append(Evidence(observation=observation, weight=round(weight, 3)))


class Candidates:
    """All places under suspicion, by file and lines."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, int, int], Candidate] = {}
        self._by_start: dict[tuple[str, int], Candidate] = {}

    def at(self, file: str, line_start: int, line_end: int = 0, function: str = "") -> Candidate:
        """The candidate for these lines, made when it is new; `line_end` 0 means one line."""
        key = (file, max(line_start, 1), max(line_end, line_start, 1))
        found = self._by_place.setdefault(key, Candidate(*key))
        found.function = found.function or function
        self._by_start.setdefault(key[:2], found)
        return found

    def beginning_at(self, file: str, line: int, function: str = "") -> Candidate:
        """The candidate that begins at a line, whatever its end; made when there is none."""
        return self._by_start.get((file, line)) or self.at(file, line, function=function)

    def all(self) -> Iterable[Candidate]:
        return self._by_place.values()

    def ranked(self) -> list[Candidate]:
        """Those with a score of at least 0.05, the highest first; of equal ones, raising places, then by place."""
        scored = [item for item in self._by_place.values() if item.score >= LOWEST_SCORE]
        return sorted(
            scored, key=lambda item: (-item.score, not item.raised, item.file, item.line_start)
        )


FunctionLines = Callable[[str, int], tuple[int, int] | None]


def as_suspects(
    ranked: list[Candidate], sources: Mapping[str, Source], lines: FunctionLines
) -> list[Suspect]:
    """The first 20 as they are reported; `lines` gives those of the function around a line."""
    around = [lines(item.file, item.line_start) or (None, None) for item in ranked[:MOST_SUSPECTS]]
    return [
        Suspect(
            rank=rank,
            file=item.file,
            function=item.function,
            function_start=around[rank - 1][0],
            function_end=around[rank - 1][1],
            line_start=item.line_start,
            line_end=item.line_end,
            code=_code(item, sources.get(item.file)),
            score=item.score,
            evidence_for=item.evidence_for,
            evidence_against=item.evidence_against,
            deciding_check=item.check or _default_check(item),
        )
        for rank, item in enumerate(ranked[:MOST_SUSPECTS], 1)
    ]


def _code(item: Candidate, source: Source | None) -> str:
    if source is None or source.status != "analysed":
        return item.code[:CODE_SHOWN]
    lines = source.lines[item.line_start - 1 : item.line_end]
    return "\n".join(lines)[:CODE_SHOWN]


def _default_check(item: Candidate) -> str:
    where = f"line {item.line_start}" + (f" of `{item.function}`" if item.function else "")
    return f"stop the program at {where} and compare its values with what they should be"
