"""`perform_rag_query`, `search_code_examples` and `research`: full-text search in the given folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dispatch_runner.analysis.search import Hit, SearchIndex, query_words
from dispatch_runner.paths import temporary_folder

if TYPE_CHECKING:
    from dispatch_runner.mcp.quality.arguments import ResearchArguments, SearchArguments
    from dispatch_runner.models import JsonObject

PROSE = frozenset({".md", ".mdx", ".markdown", ".rst", ".txt"})
DATA = frozenset(
    {".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".csv", ".xml", ".html", ".css"}
)
PREFERRED = 1.25
"""What the score of a result is multiplied with when it is of the kind that the context asks for."""

SNIPPET_LINES = 40
FUSION = 60
"""Of reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): a result scores the sum over the queries
of 1 / (60 + its rank)."""
LOOKED_AT = 200
"""How many results of a folder are looked at, for those that are dropped and moved afterwards."""


class Ranked(NamedTuple):
    """A result with the score that it is ordered by."""

    hit: Hit
    score: float


class Searcher:
    """The indexes of some folders."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._indexes: list[SearchIndex] | None = None
        self.left_out: list[str] = []
        """Folders that are not searched, and why."""

    def indexes(self) -> list[SearchIndex]:
        """One for each folder. What is inside another one of them is part of that."""
        if self._indexes is None:
            wanted: list[Path] = []
            for folder in dict.fromkeys(each.resolve() for each in self._folders):
                reason = _unsearchable(folder)
                if reason:
                    self.left_out.append(f"'{folder}' is not searched: {reason}")
                else:
                    wanted.append(folder)
            outer = [each for each in wanted if not set(wanted) & set(each.parents)]
            self._indexes = [SearchIndex(folder) for folder in outer]
        return self._indexes

    async def search(
        self,
        query: str,
        most: int,
        *,
        context: str = "",
        within: str = "",
        accepts: Callable[[Hit], bool],
    ) -> list[Ranked]:
        """The best results in all folders, the best first; of files with `within` in their path.

        Raises:
            SearchProblem: an index cannot be used.
        """
        words = query_words(query)
        found: list[Ranked] = []
        for index in self.indexes():
            hits = await index.search(words, LOOKED_AT, within=within)
            found += [
                Ranked(hit, hit.score * _preference(context, hit.path))
                for hit in hits
                if accepts(hit)
            ]
        found.sort(key=lambda each: -each.score)
        return found[:most]

    def notes(self) -> list[str]:
        """What whoever reads results should know."""
        truncated = [
            f"'{each.root}' has more than {each.files:,} files; the others are not searched"
            for each in self.indexes()
            if each.truncated
        ]
        return [*self.left_out, *truncated]


def _unsearchable(folder: Path) -> str:
    """Why a folder is nobody's project, or nothing."""
    if not folder.is_dir():
        return "it is no folder"
    if folder in {Path(temporary_folder()).resolve(), Path("/")}:
        return "it belongs to no project"
    home = os.path.expanduser("~")  # noqa: PTH111 - no home is no error
    return "it is a whole home folder" if folder == Path(home).resolve() else ""


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return "prose" if suffix in PROSE else "data" if suffix in DATA or not suffix else "code"


def _preference(context: str, path: Path) -> float:
    wanted = {"architecture": "prose", "api_development": "code", "debugging": "code"}.get(context)
    return PREFERRED if wanted == _kind(path) else 1.0


async def rag_query(searcher: Searcher, arguments: SearchArguments) -> JsonObject:
    """The answer of `perform_rag_query`."""
    return await _answered(searcher, arguments, [arguments.query], lambda hit: True)


async def code_examples(searcher: Searcher, arguments: SearchArguments) -> JsonObject:
    """The answer of `search_code_examples`: definitions in code only."""

    def is_example(hit: Hit) -> bool:
        return _kind(hit.path) == "code" and bool(hit.symbols)

    return await _answered(searcher, arguments, [arguments.query], is_example)


async def research(searcher: Searcher, arguments: ResearchArguments) -> JsonObject:
    """The answer of `research`: several queries, merged by the ranks in each."""
    queries = list(dict.fromkeys([arguments.query, *arguments.queries]))
    return await _answered(searcher, arguments, queries, lambda hit: True)


async def _answered(
    searcher: Searcher,
    arguments: SearchArguments,
    queries: list[str],
    is_of_kind: Callable[[Hit], bool],
) -> JsonObject:
    began = time.monotonic()
    lists = [
        await searcher.search(
            query,
            arguments.max_results,
            context=arguments.context,
            within=arguments.source,
            accepts=is_of_kind,
        )
        for query in queries
    ]
    found = lists[0] if len(lists) == 1 else merged(lists)[: arguments.max_results]
    results = [_result(each) for each in found]
    return {
        "success": True,
        "query": arguments.query,
        "queries": queries,
        "context": arguments.context,
        "duration_ms": round((time.monotonic() - began) * 1000, 1),
        "sources_queried": ["rag_search"],
        "folders": [str(index.root) for index in searcher.indexes()],
        "total_results": len(results),
        "results": {"rag_search": results, "vector_search": [], "knowledge_graph": []},
        "not_assessed": ["vector_search", "knowledge_graph"],
        "synthesis": _synthesis(queries, found),
        "notes": searcher.notes(),
    }


def merged(lists: Sequence[Sequence[Ranked]]) -> list[Ranked]:
    """Several rankings as one, each piece of a file once."""
    scores: dict[tuple[Path, int], float] = {}
    hits: dict[tuple[Path, int], Hit] = {}
    for ranking in lists:
        for rank, each in enumerate(ranking, 1):
            place = (each.hit.path, each.hit.line_start)
            scores[place] = scores.get(place, 0.0) + 1 / (FUSION + rank)
            hits[place] = each.hit
    ordered = sorted(scores, key=lambda place: (-scores[place], place))
    return [Ranked(hits[place], scores[place]) for place in ordered]


def _result(ranked: Ranked) -> JsonObject:
    lines = ranked.hit.text.split("\n")
    shown = lines[:SNIPPET_LINES]
    return {
        "file": str(ranked.hit.path),
        "line_start": ranked.hit.line_start,
        "line_end": ranked.hit.line_start + len(shown) - 1,
        "snippet": "\n".join(shown),
        "symbols": list(ranked.hit.symbols),
        "score": round(ranked.score, 4),
    }


def _synthesis(queries: Sequence[str], found: Sequence[Ranked]) -> JsonObject:
    """Only what was counted: nothing is written by a model."""
    words = dict.fromkeys(word for query in queries for word in query_words(query))
    text = "\n".join(f"{each.hit.path} {each.hit.text}" for each in found).lower()
    seen = [word for word in words if word in text]
    return {
        "key_findings": [f"{each.hit.path}:{each.hit.line_start}" for each in found[:3]],
        "patterns_identified": [],
        "recommended_actions": [],
        "confidence_score": round(len(seen) / len(words), 3) if words else 0.0,
        "confidence_explained": "the share of the words of the queries that the results hold",
        "words_not_found": [word for word in words if word not in seen],
    }
