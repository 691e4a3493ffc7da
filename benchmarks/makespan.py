"""Makespan against the known optimum, on graphs in the Standard Task Graph format.

Takes a folder with `*.stg` files and an `optimum.csv` (file, machines, sum, critical_path, optimum).
The real scheduler runs on a virtual clock, once with the durations as estimates and once without any.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from dispatch_runner.engine.graph import Graph, Node
from dispatch_runner.engine.plan import simulate


def read_stg(path: Path) -> list[tuple[int, float, list[int]]]:
    """Number, duration and predecessors of each task, dummies included."""
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    rows = [[int(word) for word in words] for words in lines if words]
    return [(row[0], float(row[1]), row[3 : 3 + row[2]]) for row in rows[1:]]


def ratios(folder: Path, *, with_durations: bool) -> Iterator[tuple[str, int, float]]:
    """File, machines, and makespan over optimum."""
    with (folder / "optimum.csv").open() as lines:
        for row in csv.DictReader(lines):
            tasks = read_stg(folder / row["file"])
            # a dummy's duration is 0; an estimate is positive, or unknown
            graph = Graph(
                Node(str(number), [str(up) for up in ups], duration if with_durations else None)
                for number, duration, ups in tasks
            )
            durations = [duration for _, duration, _ in tasks]
            machines = int(row["machines"])
            makespan = simulate(graph, machines, durations=durations).makespan
            yield row["file"], machines, makespan / float(row["optimum"])


def main(folder: Path) -> None:
    for with_durations, title in ((True, "durations given"), (False, "no durations given")):
        rows = list(ratios(folder, with_durations=with_durations))
        per = ", ".join(
            f"{m} machines {mean(r for _, n, r in rows if n == m):.4f}"
            for m in sorted({n for _, n, _ in rows})
        )
        print(
            f"{title}: mean {mean(r for *_, r in rows):.4f}, worst {max(r for *_, r in rows):.4f} ({per})"
        )
