"""The task of `debug` in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dispatch_runner.agents import prompting
from dispatch_runner.agents.answers import answer_schema
from dispatch_runner.agents.debug.candidates import MOST_SUSPECTS
from dispatch_runner.agents.debug.judgement import Judgement
from dispatch_runner.agents.debug.mapping import Mapper
from dispatch_runner.agents.debug.models import DebugInput
from dispatch_runner.agents.debug.sources import Source, read_source
from dispatch_runner.agents.debug.stacktraces import parse
from dispatch_runner.errors import AgentError
from dispatch_runner.models import ErrorType
from dispatch_runner.protocols import AgentCall, Question

MOST_FILES = 20
"""So many files are shown; of the others only the paths are told."""
MOST_TRACES = 10
TRACE_LIMIT = 10_000
"""Characters of one error text that are shown: of a longer one head and tail."""
AROUND = 40
"""Lines shown before and after a line of a trace, where a file is too long to be shown whole."""


def brief(asked: DebugInput, call: AgentCall) -> Question:
    """What an agent is asked for. Raises `AgentError` (`missing_file`) when no affected file exists."""
    paths = list(dict.fromkeys(asked.affected_files))
    sources = [read_source(path) for path in paths[:MOST_FILES]]
    if all(source.status == "missing" for source in sources) and len(paths) <= MOST_FILES:
        raise AgentError(
            ErrorType.MISSING_FILE,
            f"none of the affected files exists: {', '.join(map(repr, paths[:5]))}",
            hint="give absolute paths of existing files, or depend on the task that makes them",
            details={"missing": paths},
        )
    texts = [_ends(text) for text in asked.error_traces[:MOST_TRACES]]
    given = prompting.given
    told = asked.hypothesis.strip()
    system, prompt = prompting.say(
        "debug",
        call,
        {
            "depth": asked.analysis_depth,
            "problem": given("problem", asked.problem_description),
            "hypothesis": given("hypothesis", told) if told else "",
            "traces": "\n".join(_traces(texts, len(asked.error_traces))),
            "sources": "\n".join(_shown(sources, _lines(sources, texts), paths[MOST_FILES:])),
            "results": prompting.results(call),
            "most": str(MOST_SUSPECTS),
            "about_hypothesis": "your verdict on the given one, and why" if told else "null",
        },
    )
    return Question(prompt=prompt, system=system, schema=answer_schema(Judgement))


def _ends(text: str) -> str:
    if len(text) <= TRACE_LIMIT:
        return text
    half = TRACE_LIMIT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out]\n{text[-half:]}"


def _traces(texts: Sequence[str], all_of_them: int) -> Iterator[str]:
    yield from (prompting.given("trace", text) for text in texts)
    if all_of_them > len(texts):
        yield f"[{all_of_them - len(texts)} further error texts are not shown]"


def _lines(sources: Sequence[Source], texts: Sequence[str]) -> dict[str, set[int]]:
    """The lines of the affected files that the traces pass, by path."""
    mapper = Mapper(sources)
    found: dict[str, set[int]] = {}
    for text in texts:
        for trace in parse(text):
            for place in filter(None, map(mapper.place, trace.frames)):
                found.setdefault(place.source.path, set()).add(place.line)
    return found


def _shown(
    sources: Sequence[Source], lines: dict[str, set[int]], others: Sequence[str]
) -> Iterator[str]:
    """The files, those that traces pass first, within the limits of `prompting`."""
    left = prompting.FILES_LIMIT
    for source in sorted(sources, key=lambda source: source.path not in lines):
        text = _excerpt(source, lines.get(source.path, set()))
        if len(text) > left:
            text = f"[not shown: {len(source.lines):,} lines]"
        left -= len(text)
        yield prompting.given("file", text, path=source.path)
    if others:
        yield prompting.given("files-not-shown", prompting.cut("\n".join(others), 10_000))


def _excerpt(source: Source, wanted: Iterable[int]) -> str:
    """The numbered source: whole, else what is around the wanted lines, else its start."""
    if source.status != "analysed":
        return f"[{source.note or source.status}]"
    whole = _numbered(source, range(1, len(source.lines) + 1))
    if len(whole) <= prompting.FILE_LIMIT or not wanted:
        return prompting.cut(whole, prompting.FILE_LIMIT)
    near = {line + offset for line in wanted for offset in range(-AROUND, AROUND + 1)}
    kept = [number for number in sorted(near) if 1 <= number <= len(source.lines)]
    return prompting.cut(_numbered(source, kept), prompting.FILE_LIMIT)


def _numbered(source: Source, numbers: Iterable[int]) -> str:
    shown, before = [], 0
    for number in numbers:
        if number != before + 1:
            shown.append("  ...")
        shown.append(f"{number:5}  {source.line(number)}")
        before = number
    return "\n".join(shown)
