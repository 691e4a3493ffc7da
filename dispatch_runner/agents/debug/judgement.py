"""What an agent that is asked in words has to judge; the rest of an analysis is filled in by tools."""

from typing import Annotated

from pydantic import Field

from dispatch_runner.agents.debug.models import (
    Behaviour,
    Evidence,
    Line,
    OptimalSolution,
    RootCause,
    SolutionValidation,
    Verdict,
)
from dispatch_runner.models.base import Model


class JudgedSuspect(Model):
    """A place where the fault may be."""

    file: str
    """Absolute path."""
    line_start: Line
    """First line, from 1, as numbered."""
    line_end: Line
    """Last line; the same for one line."""
    function: str
    """The function or method around it; empty outside every function."""
    code: str
    """The source at these lines, copied exactly, without line numbers."""
    evidence_for: Annotated[list[Evidence], Field(min_length=1)]
    """What speaks for it."""
    evidence_against: list[Evidence]
    """What speaks against it."""
    deciding_check: str
    """What to look at or run to decide about this suspect."""


class JudgedHypothesis(Model):
    """The hypothesis against the evidence."""

    verdict: Verdict
    why: list[str]
    """Reasons, each by what was observed."""


class Judgement(Model):
    """The analysis, as far as it is judged rather than looked up."""

    summary: str
    """One sentence: the place and the cause."""
    behaviour: Behaviour
    suspects: list[JudgedSuspect]
    """The most suspect first; empty when nothing points to a fault."""
    root_cause: RootCause
    optimal_solution: OptimalSolution
    solution_validation: SolutionValidation
    hypothesis: JudgedHypothesis | None
    """Null when no hypothesis was given."""
