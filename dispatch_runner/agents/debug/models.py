"""What the `debug` agent is given and what it answers."""

from typing import Annotated, Literal

from pydantic import Field

from dispatch_runner.agents.quality import Quality
from dispatch_runner.models.base import Model

Depth = Literal["quick", "standard", "deep"]
Verdict = Literal["supported", "contradicted", "undecided"]
Level = Literal["high", "medium", "low", "none"]
Score = Annotated[float, Field(ge=0, le=1)]
Line = Annotated[int, Field(ge=1)]


class DebugInput(Model):
    """A problem and where it may come from."""

    problem_description: str
    """What goes wrong, in words."""
    affected_files: Annotated[list[str], Field(min_length=1)]
    """Absolute paths of the files to analyse. At least one must exist when the task starts."""
    error_traces: list[str] = []
    """Stack traces, test output or logs, as text: Python, JavaScript, Java, Kotlin, Go, Rust, C#,
    PHP, Ruby or Dart."""
    analysis_depth: Depth = "standard"
    """`quick`: traces and lint; `standard`: also complexity, security, types and history; `deep`:
    all that is available."""
    hypothesis: str = ""
    """A suspected cause, to be tested against the evidence."""
    test_paths: list[str] = []
    """Absolute paths of pytest files or folders that show the problem; run at depth `deep`."""
    test_command: str = ""
    """Name of a test command that the operator defined; run at depth `deep`, with `test_paths` as
    further arguments."""


class Frame(Model):
    """One frame of a stack trace."""

    file: str
    """As printed; empty when the trace names none."""
    line: int | None
    column: int | None
    function: str
    code: str
    """The source line as printed in the trace; empty when it printed none."""
    own: bool
    """Whether it is the project's code rather than a library's or the runtime's."""
    affected_file: str | None
    """The affected file that it was mapped onto, by the longest common end of the paths."""
    affected_line: int | None
    """The line in that file; differs from `line` when the file changed since."""
    repeated: int = 1
    """How often it was repeated in a row."""


class StackTrace(Model):
    """One error with its frames, the raising frame first."""

    source: int | None
    """Index into `error_traces`; null for the traceback of a test that was run."""
    chain: int
    """Traces with one number were reported together."""
    relation: Literal["raised", "cause", "context", "suppressed", "member", "thread"]
    """What it is to the error that was reported: `raised` is that error itself."""
    language: str
    """Empty when only an error line was found."""
    error_type: str
    message: str
    notes: list[str]
    """Lines printed directly after the message."""
    frames: list[Frame]
    frames_omitted: int
    """Frames left out of the middle."""
    occurrences: int
    """How often this chain was printed."""


class Finding(Model):
    """Something that a tool found in an affected file."""

    file: str
    line: Line
    column: int | None
    source: Literal["ast", "ruff", "mypy", "tree-sitter"]
    rule: str
    message: str
    function: str
    """The innermost function or class around it; empty at module level or when not known."""
    weight: Score
    """How strongly this kind of finding speaks for a fault; 0 for style and security."""
    fix: str | None = None
    """What the tool proposes, when it does."""


class FunctionSize(Model):
    """A function and how complex it is."""

    name: str
    line_start: Line
    line_end: Line
    complexity: int
    """McCabe's number: 1 plus its decisions."""


class FileReport(Model):
    """What is known of one affected file."""

    file: str
    status: Literal[
        "analysed", "missing", "not_a_file", "too_large", "binary", "unreadable", "not_assessed"
    ]
    language: str
    """By the file's name; empty when it is not known."""
    lines: int | None
    note: str | None = None
    """Why it was not analysed, or what limits its analysis."""
    functions: int | None = None
    most_complex: list[FunctionSize] = []
    """At most five functions, the most complex first; empty at depth `quick` and where the structure
    is not known."""


class Change(Model):
    """Who last changed a suspect's lines."""

    file: str
    line_start: Line
    line_end: Line
    commit: str
    """Empty when the lines differ from what was committed."""
    date: str
    """UTC, RFC 3339; empty without a commit."""
    summary: str
    """First line of the commit's message."""


class Evidence(Model):
    """One observation about a suspect."""

    observation: str
    weight: Score
    """Of 0 to 1: how strongly it speaks for, or against, the suspect."""


class Suspect(Model):
    """A place where the fault may be."""

    rank: Annotated[int, Field(ge=1)]
    file: str
    function: str
    """Empty for a place outside every function, or when it is not known."""
    function_start: int | None = None
    function_end: int | None = None
    """First and last line of that function; null when they are not known."""
    line_start: Line
    line_end: Line
    code: str
    """The source at those lines, at most 500 characters; empty when the file cannot be read."""
    score: Score
    """1 - product of (1 - weight) over the evidence for, times product of (1 - weight) over the
    evidence against."""
    evidence_for: Annotated[list[Evidence], Field(min_length=1)]
    evidence_against: list[Evidence]
    deciding_check: str
    """What to look at or run to decide about this suspect."""


class Behaviour(Model):
    """What should happen and what does."""

    expected: str
    actual: str
    deviation: str


class FaultLocalisation(Model):
    """Where the fault is, in one sentence; the places themselves are in `suspects`."""

    statement: str
    suspects: int
    components: list[str]
    """The affected files that have suspects, most suspect first."""


class RootCause(Model):
    """Why it happens, as far as the evidence determines it."""

    determined: bool
    """Whether the code explains the error; false: `statement` only says what is known."""
    kind: str
    """Such as `none_dereference` or `missing_key`; empty when not determined."""
    statement: str
    contributing_factors: list[str]


class OptimalSolution(Model):
    """What to change, only as far as the evidence determines it."""

    determined: bool
    description: str
    steps: list[str]


class SolutionValidation(Model):
    """How to know that the solution holds."""

    checks: list[str]


class Bfros(Model):
    """Behaviour, fault localisation, root cause, optimal solution, solution validation."""

    behaviour: Behaviour
    fault_localisation: FaultLocalisation
    root_cause: RootCause
    optimal_solution: OptimalSolution
    solution_validation: SolutionValidation


class HypothesisResult(Model):
    """The hypothesis against the evidence."""

    hypothesis: str
    verdict: Verdict
    why: list[str]


class Confidence(Model):
    """How sure the analysis is of its first suspect."""

    score: Score
    level: Level
    """`high` from 0.7, `medium` from 0.5, `none` for 0."""
    explanation: list[str]
    """The computation, step by step."""


class FailedTest(Model):
    """A test that did not pass."""

    test: str
    """pytest's id of it."""
    outcome: Literal["passed", "failed", "skipped", "hung", "crashed"]
    """`hung`: it had to be stopped; `crashed`: it ended its process."""
    message: str
    """The error, at most 500 characters."""
    seconds: float


class TestRun(Model):
    """What running the named tests showed."""

    __test__ = False

    command: list[str]
    passed: int
    failed: int
    hung: int
    crashed: int
    skipped: int
    not_imported: list[str]
    """Ends of the errors of test files that could not be imported."""
    failures: list[FailedTest]
    """At most 50."""
    mutants_tried: int
    """How many small changes of the affected files were tested, in memory only."""
    mutants_planned: int
    seconds: float


class FileQuality(Model):
    """What the quality tool says of a file of a first suspect. For information: no evidence."""

    file: str
    quality: Quality


class NotAssessed(Model):
    """Something that was not looked at."""

    what: str
    why: str


class DebugOutput(Model):
    """The analysis. Every statement derives from evidence that is listed."""

    summary: str
    evidence_found: bool
    """False: no trace and no finding points anywhere, and the task is not a success."""
    depth: Depth
    bfros: Bfros
    suspects: list[Suspect]
    """The most suspect first, at most 20."""
    hypothesis: HypothesisResult | None
    """Null when none was given."""
    confidence: Confidence
    traces: list[StackTrace]
    """At most 50."""
    findings: list[Finding]
    """At most 200, the heaviest first."""
    history: list[Change]
    tests: TestRun | None
    """Null when none were run."""
    files: list[FileReport]
    quality: list[FileQuality] = []
    """Of the files of the first suspects, at most 3; not asked at depth `quick`."""
    not_assessed: list[NotAssessed]
