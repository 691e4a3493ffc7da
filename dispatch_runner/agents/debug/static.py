"""Static findings: our own, ruff's and, beyond `quick`, mypy's; the structure of other languages."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterable, Iterator

import anyio

from dispatch_runner.agents.debug.job import Job
from dispatch_runner.agents.debug.lint import run_mypy, run_ruff
from dispatch_runner.agents.debug.mapping import Place
from dispatch_runner.agents.debug.models import Finding
from dispatch_runner.agents.debug.pycode import Broken, PyCode, parse_python
from dispatch_runner.agents.debug.sources import Source
from dispatch_runner.agents.debug.structure import NoGrammar, outline, structure
from dispatch_runner.agents.debug.suspicious import suspicious
from dispatch_runner.agents.debug.threads import each_in_thread, in_thread
from dispatch_runner.analysis.tools import ToolProblem

SYNTAX_ERROR = 0.9
NOT_UNDERSTOOD = 0.3
"""A grammar may be older than the code."""
REACH = 40
"""Lines before and after a place in a trace whose names are followed into other files."""
WORD = re.compile(r"\w+")
DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)", re.MULTILINE)


async def find(job: Job) -> None:
    """Adds all findings.

    Of the files that traces lead into, those that define what is named there or in the description,
    and, before tests are run, all others, the trees are kept; of the others only outlines, because
    many trees make every collection of garbage long. At `quick`, when traces lead anywhere, the others
    are not even parsed unless something was found in them. All of them are linted.
    """
    others = [
        source
        for source in job.material.sources.values()
        if source.status == "analysed" and source.language != "python"
    ]
    await each_in_thread(lambda source: _structure(job, source), others)
    if not job.python:
        return
    first = await _first(job)
    lint: list[Finding] = []
    refused: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(_ruff, job, lint, refused)
        await _parse(job, first, keep=True)
        if job.depth != "quick" or not first:
            rest = [source for source in job.python if source not in first]
            await _parse(job, rest, keep=False)
        codes = job.material.codes
        parsed = [each.path for each in job.python if not isinstance(codes.get(each.path), Broken)]
        if job.depth != "quick" and parsed:
            group.start_soon(_mypy, job, parsed)
    await _complete(job, lint)
    await in_thread(_add_lint, job, lint, refused)
    left = sum(source.path not in _parsed(job) for source in job.python)
    if left:
        job.omit(f"the structure of {left} files", "depth is `quick`, and nothing points into them")


async def _first(job: Job) -> list[Source]:
    """The files whose trees may be asked for."""
    places = _places(job)
    if job.depth == "deep":
        return job.python
    reached = {place.source.path for place in places}
    words = frozenset(WORD.findall("\n".join(_texts(job, places))))
    waiting = [source for source in job.python if source.path not in reached]
    named = await each_in_thread(lambda source: _defines(source, words), waiting)
    reached |= {source.path for source, hit in zip(waiting, named, strict=True) if hit}
    return [source for source in job.python if source.path in reached]


def _places(job: Job) -> list[Place]:
    """Where traces lead into the files, each place once."""
    mapper = job.material.mapper
    found = (mapper.place(frame) for trace in job.material.traces for frame in trace.frames)
    return list(dict.fromkeys(place for place in found if place is not None))


def _texts(job: Job, places: list[Place]) -> Iterator[str]:
    """What was said, and the code that led to each place: from there values are followed."""
    yield job.asked.problem_description
    yield job.asked.hypothesis
    for trace in job.material.traces:
        yield trace.message
        yield from trace.notes
    for place in places:
        first = max(place.line - REACH, 0)
        yield "\n".join(place.source.lines[first : place.line + REACH])


def _defines(source: Source, words: Collection[str]) -> bool:
    return any(name in words for name in DEFINITION.findall(source.text))


async def _parse(job: Job, sources: Iterable[Source], *, keep: bool) -> None:
    """Parses files and looks for suspicious code in them; their trees are kept, or only outlines."""

    def work(source: Source) -> None:
        code = parse_python(source)
        if isinstance(code, PyCode):
            job.findings += suspicious(code)
        if keep or isinstance(code, Broken):
            job.material.codes[source.path] = code
        else:
            sized = job.depth != "quick"
            job.material.structures[source.path] = outline(code, sized=sized)

    await each_in_thread(work, sources)


def _parsed(job: Job) -> set[str]:
    """The Python files that were parsed, with or without success."""
    return {*job.material.codes, *job.material.structures}


async def _ruff(job: Job, lint: list[Finding], refused: list[str]) -> None:
    """Adds to `lint` what ruff finds, and to `refused` why it found nothing."""
    try:
        lint += await run_ruff([source.path for source in job.python], job.depth, job.hurry)
    except ToolProblem as problem:
        refused.append(str(problem))


async def _complete(job: Job, lint: list[Finding]) -> None:
    """Parses the files in which something was found, too."""
    files, known = {item.file for item in lint if item.weight > 0}, _parsed(job)
    waiting = [each for each in job.python if each.path in files and each.path not in known]
    await _parse(job, waiting, keep=False)


def _add_lint(job: Job, lint: list[Finding], refused: list[str]) -> None:
    """Syntax errors come from us, unless ruff sees none there."""
    broken = {path for path, code in job.material.codes.items() if isinstance(code, Broken)}
    agreed = {item.file for item in lint if item.rule == "invalid-syntax"}
    if refused:
        job.omit("lint", refused[0])
    _add_broken(job, frozenset() if refused else frozenset(broken - agreed))
    job.findings += [
        item.model_copy(update={"function": job.material.scope_of(item.file, item.line)})
        for item in lint
        if not (item.rule == "invalid-syntax" and item.file in broken)
    ]


async def _mypy(job: Job, paths: list[str]) -> None:
    try:
        job.findings += await run_mypy(paths, job.material.scope_of, job.hurry)
    except ToolProblem as problem:
        job.omit("types", str(problem))


def _add_broken(job: Job, accepted: frozenset[str]) -> None:
    """Files that do not parse. What ruff accepts is newer than the Python that we run on."""
    for path, code in job.material.codes.items():
        if isinstance(code, PyCode):
            continue
        if path in accepted or not code.syntax:
            version = ".".join(map(str, sys.version_info[:2]))
            job.omit(f"structure of {path}", f"Python {version} does not parse it: {code.message}")
            continue
        job.findings.append(
            Finding(
                file=path,
                line=code.line,
                column=code.column,
                source="ast",
                rule="syntax-error",
                message=code.message,
                function="",
                weight=SYNTAX_ERROR,
            )
        )


def _structure(job: Job, source: Source) -> None:
    """Functions, classes and what does not parse in a file of another language."""
    try:
        found = structure(source)
    except NoGrammar as problem:
        job.omit(f"structure of {source.path}", str(problem))
        return
    job.material.structures[source.path] = found
    job.omit(f"lint of {source.path}", "lint and type checks cover Python")
    for line in found.broken[:1]:
        job.findings.append(
            Finding(
                file=source.path,
                line=line,
                column=None,
                source="tree-sitter",
                rule="syntax-error",
                message="the grammar does not understand the code here",
                function=found.scope_at(line),
                weight=NOT_UNDERSTOOD,
            )
        )
