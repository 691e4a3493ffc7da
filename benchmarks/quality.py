"""The embedded quality server: one assessment, one index, one query, against their bars."""

import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

import anyio

ASSESSMENT_MS, INDEXING_S, QUERY_MS = 150, 20, 20
LONG_AGO = 1_000_000_000
FILES, FOLDERS = 5_000, 100
QUERIES = (
    "parse http header",
    "how is the retry budget computed",
    "LoadUserConfig",
    "merge_cache_entry timeout",
    "where are orders validated",
)
VERBS = [
    "load",
    "save",
    "merge",
    "parse",
    "render",
    "check",
    "build",
    "fetch",
    "store",
    "update",
    "remove",
    "validate",
    "compute",
]
NOUNS = [
    "user",
    "order",
    "cache",
    "header",
    "config",
    "entry",
    "budget",
    "token",
    "record",
    "index",
    "queue",
    "worker",
    "graph",
    "route",
    "page",
    "session",
    "event",
    "model",
    "table",
    "field",
    "line",
    "chunk",
    "result",
    "report",
    "metric",
    "limit",
]


def function(generator: random.Random, number: int) -> str:
    """One of a synthetic module: some statements, names of a small vocabulary."""
    verb, noun, other = generator.choice(VERBS), *generator.sample(NOUNS, 2)
    return f'''
def {verb}_{noun}_{other}_{number}({noun}: int, {other}: str = "{generator.choice(NOUNS)}") -> list[str]:
    """{verb.title()} the {noun} of a {other}, {generator.choice(NOUNS)} by {generator.choice(NOUNS)}."""
    found{noun.title()}: list[str] = []
    for position in range({noun}):
        if position % {generator.randrange(2, 9)} == 0 and {other}:
            found{noun.title()}.append(f"{{{other}}}-{{position}}")
        elif position > {generator.randrange(10, 99)}:
            break
    return found{noun.title()}
'''


def module(generator: random.Random, functions: int) -> str:
    return '"""A synthetic module."""\n' + "".join(
        function(generator, number) for number in range(functions)
    )


def make_tree(root: Path) -> int:
    """Files of 20 to 400 lines; how many bytes they have."""
    generator = random.Random(1)
    size = 0
    for number in range(FILES):
        folder = root / f"package_{number % FOLDERS}"
        folder.mkdir(exist_ok=True)
        text = module(generator, generator.randrange(2, 36))
        file = folder / f"{generator.choice(NOUNS)}_{number}.py"
        file.write_text(text)
        os.utime(file, (LONG_AGO, LONG_AGO))  # what was written just now is read twice
        size += len(text)
    return size


async def timed(action: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await action()
    return time.perf_counter() - began


async def measure(root: Path, runs: int) -> None:
    from dispatch_runner.analysis.search import SearchIndex, query_words
    from dispatch_runner.mcp.quality import QualityTools
    from dispatch_runner.mcp.quality.search import LOOKED_AT

    tools = QualityTools([root])
    text = module(random.Random(2), 45)
    arguments = {"content": text, "source_path": "synthetic.py", "language": "python"}
    times = [
        await timed(lambda: tools.call("assess_code_quality", arguments)) for _ in range(runs + 1)
    ]
    lines = text.count("\n")
    print(
        f"quality, assessment of {lines} lines      {1000 * median(times[1:]):7.1f} ms, most"
        f" {1000 * max(times[1:]):.1f} ms, the first {1000 * times[0]:.1f} ms (bar {ASSESSMENT_MS} ms)"
    )
    size = await anyio.to_thread.run_sync(make_tree, root)
    index = SearchIndex(root)
    first, again = await timed(index.refresh), await timed(index.refresh)
    print(
        f"quality, indexing of {FILES:,} files     {first:7.2f} s of {size / 1e6:.0f} MB (bar {INDEXING_S} s);"
        f" looking again {1000 * again:.0f} ms"
    )
    queries = [
        await timed(partial(index.search, query_words(query), LOOKED_AT))
        for _ in range(runs)
        for query in QUERIES
    ]
    print(
        f"quality, query                          {1000 * median(queries):7.1f} ms, most"
        f" {1000 * max(queries):.1f} ms (bar {QUERY_MS} ms)"
    )


def main(runs: int = 10) -> None:
    """Prints medians. The index goes to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        root = Path(folder) / "tree"
        root.mkdir()
        anyio.run(measure, root, runs)


if __name__ == "__main__":
    main()
