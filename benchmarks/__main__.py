"""Prints all figures. `python -m benchmarks [--stg FOLDER] [NAME ...]`; names as the modules here.

`python -m benchmarks.coder [FOLDER]` and `python -m benchmarks.quixbugs FOLDER` judge the offline agents.
"""

import argparse
from pathlib import Path

from benchmarks import agents, debug, engine, latency, load, makespan, programs, quality, startup

BENCHMARKS = {
    "startup": startup.main,
    "engine": engine.main,
    "latency": latency.main,
    "programs": programs.main,
    "load": load.main,
    "quality": quality.main,
    "debug": debug.main,
    "agents": agents.main,
}


def main() -> None:
    """Runs what was named, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*BENCHMARKS, "makespan", []],
        help="which; all when none is named",
    )
    parser.add_argument(
        "--stg", type=Path, help="folder with Standard Task Graph files and optimum.csv"
    )
    arguments = parser.parse_args()
    for name in arguments.names or BENCHMARKS:
        if name != "makespan":
            BENCHMARKS[name]()
    if arguments.stg is not None:
        makespan.main(arguments.stg)
    elif "makespan" in arguments.names:
        parser.error("makespan needs --stg FOLDER")


if __name__ == "__main__":
    main()
