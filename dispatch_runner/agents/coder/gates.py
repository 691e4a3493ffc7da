"""The gates that a generated file has to pass, the same for whoever wrote it.

Independent gates run at the same time. A gate that could not judge is `not_assessed`, which is
never a pass.
"""

import ast
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from dispatch_runner import process
from dispatch_runner.agents.coder import tools
from dispatch_runner.agents.coder.models import Finding, Gate, GateStatus, Level, NodeType
from dispatch_runner.agents.coder.structure import Structure, read_structure
from dispatch_runner.agents.coder.words import identifier, printable
from dispatch_runner.analysis.tools import ToolProblem, clean_environment, output_of
from dispatch_runner.errors import AgentError

LEVELS: dict[Level, tuple[str, ...]] = {
    "lenient": ("syntax", "lint"),
    "moderate": ("syntax", "lint", "naming", "import", "models"),
    "strict": ("syntax", "lint", "naming", "import", "models", "types", "self_test"),
}
"""The gates that have to pass."""
ORDER = ("syntax", "lint", "format", "naming", "import", "models", "types", "self_test")
MAX_FINDINGS = 50
MESSAGE_CHARACTERS = 500
RUFF_SECONDS = 20.0
HARNESS_SECONDS = 30.0
MYPY_SECONDS = 120.0
OUTPUT_BYTES = 1 << 20


@dataclass(slots=True)
class Candidate:
    """A file that is judged before it is put in place."""

    source: bytes
    node_type: NodeType
    level: Level
    stem: str
    """Of the file's name to be."""
    methods: Sequence[str]
    """Names that the node's work method may have."""
    open_declared: bool
    """Whether its writer said that something is left to be written."""
    hurry: anyio.Event | None = None


@dataclass(slots=True)
class Verdict:
    """The gates, and what they learnt of the file."""

    gates: list[Gate]
    structure: Structure | None


@dataclass(slots=True)
class _Judging:
    candidate: Candidate
    folder: Path
    gates: dict[str, Gate] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / f"{identifier(self.candidate.stem, 'module')}.py"

    def put(
        self, name: str, status: GateStatus, started: float, findings: Sequence[Finding] = ()
    ) -> None:
        took = round((time.perf_counter() - started) * 1000, 1) if started else 0.0
        blocking = name in LEVELS[self.candidate.level]
        self.gates[name] = Gate(
            name=name,
            status=status,
            blocking=blocking,
            duration_ms=took,
            findings=list(findings[:MAX_FINDINGS]),
        )

    def judge(self, name: str, started: float, findings: Sequence[Finding]) -> None:
        self.put(name, "failed" if findings else "passed", started, findings)

    def skip(self, name: str, why: str) -> None:
        self.put(name, "not_assessed", 0.0, [Finding(message=why)])


async def run_gates(candidate: Candidate) -> Verdict:
    """Judges a file. Raises nothing: a program that cannot be used leaves its gate not assessed."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="dispatch-runner-coder-") as folder:
        judging = _Judging(candidate, Path(folder))
        structure = await _read(judging)
        if structure is not None:
            await anyio.to_thread.run_sync(judging.path.write_bytes, candidate.source)
            await _run_all(judging, structure)
    wanted = [name for name in ORDER if name in judging.gates]
    return Verdict([judging.gates[name] for name in wanted], structure)


async def _read(judging: _Judging) -> Structure | None:
    """The syntax gate: the structure, or null with every other gate not assessed."""
    started = time.perf_counter()
    candidate = judging.candidate
    try:
        structure = await anyio.to_thread.run_sync(_parse, candidate.source, candidate.node_type)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        judging.judge(
            "syntax",
            started,
            [Finding(message=_short(str(error) or "cannot be parsed"), line=line)],
        )
        for name in LEVELS[candidate.level][1:]:
            judging.skip(name, "the file does not parse")
        return None
    judging.judge("syntax", started, ())
    return structure


def _parse(source: bytes, node_type: NodeType) -> Structure:
    return read_structure(ast.parse(source.decode("utf-8")), node_type)


async def _run_all(judging: _Judging, structure: Structure) -> None:
    level = judging.candidate.level
    async with anyio.create_task_group() as group:
        group.start_soon(_lint, judging)
        group.start_soon(_format, judging)
        if level != "lenient":
            judging.judge("naming", time.perf_counter(), structure.naming)
            group.start_soon(_harness, judging, structure)
        if level == "strict":
            group.start_soon(_types, judging, structure)


async def _output(
    judging: _Judging, name: str, arguments: Sequence[str], seconds: float, codes: Sequence[int]
) -> bytes:
    """What a program prints that reads the source. Raises `ToolProblem`."""
    return await output_of(
        name, arguments, seconds=seconds, cwd=judging.folder, stdin=judging.candidate.source,
        codes=codes, hurry=judging.candidate.hurry,
    )  # fmt: skip


async def _lint(judging: _Judging) -> None:
    started = time.perf_counter()
    try:
        told = await _output(judging, "ruff", tools.RUFF_CHECK, RUFF_SECONDS, (0, 1))
    except ToolProblem as problem:
        return judging.skip("lint", str(problem))
    return judging.judge("lint", started, _parsed(told, _ruff_findings))


def _ruff_findings(text: str) -> list[Finding]:
    return [
        Finding(message=_short(item["message"]), code=item["code"], line=item["location"]["row"])
        for item in json.loads(text)
    ]


async def _format(judging: _Judging) -> None:
    """Whether the formatter would leave the file as it is; told, never blocking."""
    started = time.perf_counter()
    try:
        formatted = await _output(judging, "ruff", tools.RUFF_FORMAT, RUFF_SECONDS, (0,))
    except ToolProblem as problem:
        return judging.skip("format", str(problem))
    same = formatted == judging.candidate.source
    findings = [] if same else [Finding(message="the formatter would change the file")]
    return judging.judge("format", started, findings)


async def _types(judging: _Judging, structure: Structure) -> None:
    started, arguments = time.perf_counter(), tools.mypy_arguments(judging.path)
    try:
        told = await _output(judging, "mypy", arguments, MYPY_SECONDS, (0, 1))
    except ToolProblem as problem:
        return judging.skip("types", str(problem))
    return judging.judge("types", started, [*structure.any_types, *_parsed(told, _mypy_findings)])


def _mypy_findings(text: str) -> list[Finding]:
    items = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        Finding(message=_short(item["message"]), code=item.get("code"), line=item.get("line"))
        for item in items
        if item.get("severity") == "error"
    ]


async def _harness(judging: _Judging, structure: Structure) -> None:
    """Import, models and, at `strict`, the self-test: one clean interpreter for all."""
    started, candidate = time.perf_counter(), judging.candidate
    deep = candidate.level == "strict"
    names = ["import", "models", *(["self_test"] if deep else [])]
    node = next(iter(structure.node_classes), "")
    depth = "self_test" if deep else "imports"
    command = tools.harness(judging.path, node, candidate.node_type, list(candidate.methods), depth)
    try:
        report = _report(await _run_python(judging, command))
    except AgentError as error:
        for name in names:
            judging.skip(name, f"no clean interpreter: {error.message}")
        return
    missing = report.pop("missing_module", None)
    if missing:
        report = {}
    for name in names:
        if name not in report:
            judging.skip(
                name, f"module {missing[0]!r} is not installed" if missing else "the import failed"
            )
        else:
            _judge_report(judging, name, started, report[name])


async def _run_python(judging: _Judging, command: list[str]) -> process.Completed | None:
    """How the harness ended, or null when it took too long."""
    with anyio.move_on_after(HARNESS_SECONDS):
        return await process.run(
            command, cwd=judging.folder, env=clean_environment(HOME=str(judging.folder)),
            output_limit=OUTPUT_BYTES, grace_seconds=0.5, hurry=judging.candidate.hurry,
        )  # fmt: skip
    return None


def _judge_report(judging: _Judging, name: str, started: float, messages: list[str]) -> None:
    findings = [Finding(message=_short(message)) for message in messages]
    only_open = all(message.startswith("open: ") for message in messages)
    if messages and only_open and judging.candidate.open_declared:
        told = [Finding(message=f.message, code="open_point") for f in findings]
        return judging.put(name, "passed", started, told)
    return judging.judge(name, started, findings)


def _report(done: process.Completed | None) -> dict[str, list[str]]:
    """The harness's report; a child that gave none failed the import."""
    if done is None:
        return {"import": [f"the module took more than {HARNESS_SECONDS:.0f} s"]}
    try:
        report = json.loads(done.stdout.text(OUTPUT_BYTES))
        return {
            str(name): [str(message) for message in messages] for name, messages in report.items()
        }
    except (ValueError, AttributeError, TypeError):
        how = done.signal or f"exit code {done.returncode}"
        return {"import": [f"the interpreter ended early ({how}): {_last_line(done)}"]}


def _parsed(told: bytes, read: Callable[[str], list[Finding]]) -> list[Finding]:
    """A tool's findings; output that cannot be read is a finding itself."""
    try:
        return read(told.decode() or "[]")
    except (ValueError, KeyError, TypeError) as error:
        return [Finding(message=f"the tool's output could not be read: {error!r}")]


def _last_line(done: process.Completed) -> str:
    lines = done.stderr.text(4000).strip().splitlines()
    return _short(lines[-1]) if lines else "it printed nothing"


def _short(message: str) -> str:
    return printable(message, MESSAGE_CHARACTERS)
