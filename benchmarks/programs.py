"""A thousand `true` commands, eight at a time: beside ninja and GNU parallel where they are installed."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import orjson

from benchmarks.whole import DISPATCH, fresh_folder, milliseconds, ratio, side_by_side

COUNT = 1_000
TOML = '[agents.true]\nbackend = "command"\ncommand = ["true"]\nstdin = "none"\noutput = "exit"\n'


def programs(folder: Path) -> dict[str, tuple[Sequence[str], bytes]]:
    """The same work for each program."""
    config = folder / "agents.toml"
    config.write_text(TOML)
    tasks = [{"task_id": f"t{n}", "agent": "true", "input_data": {}} for n in range(COUNT)]
    ours = [DISPATCH, "--quiet", "--config", str(config), "--max-workers", "8"]
    found: dict[str, tuple[Sequence[str], bytes]] = {
        "dispatch-runner": ([*ours, "--durability", "process"], orjson.dumps({"tasks": tasks})),
        "dispatch-runner, power": (ours, orjson.dumps({"tasks": tasks})),
    }
    if ninja := shutil.which("ninja"):
        lines = ["rule t", "  command = true"] + [f"build out{n}: t" for n in range(COUNT)]
        (folder / "build.ninja").write_text("\n".join(lines) + "\n")
        again = f"rm -f .ninja_log; exec {ninja} -j8"
        found["ninja"] = (["/bin/sh", "-c", again], b"")
    if parallel := shutil.which("parallel"):
        numbers = "".join(f"{n}\n" for n in range(COUNT)).encode()
        found["GNU parallel --joblog"] = (
            [parallel, "-j8", "--joblog", str(folder / "joblog"), "true"],
            numbers,
        )
    return found


def main(runs: int = 7) -> None:
    """Prints milliseconds per task, and our ratio to each of the others, pair by pair."""
    folder = fresh_folder()
    found = programs(folder)
    ours = "dispatch-runner"
    for other in found:
        if other == ours:
            continue
        # in pairs, since one program's aftermath (deleted files, ended processes) slows the next
        results = side_by_side({ours: found[ours], other: found[other]}, runs=runs, cwd=str(folder))
        print(
            f"{COUNT} x true, 8 at once: {ours} {milliseconds(results[ours]) / COUNT:.3f} ms a task,"
            f" {other} {milliseconds(results[other]) / COUNT:.3f} ms:"
            f" {ratio(results[ours], results[other]):.2f} of it"
        )


if __name__ == "__main__":
    main()
