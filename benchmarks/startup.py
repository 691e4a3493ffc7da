"""Cold start against the imports and the event loop alone."""

import tempfile

import orjson

from benchmarks.whole import DISPATCH, PYTHON, milliseconds, ratio, side_by_side

FLOOR = "import typer, pydantic, anyio, orjson; anyio.run(anyio.sleep, 0)"
ECHO = orjson.dumps({"tasks": [{"task_id": "a", "agent": "echo", "input_data": {"n": 1}}]})


def main(runs: int = 21) -> None:
    """Prints medians and ratios to the floor."""
    with tempfile.TemporaryDirectory() as folder:
        results = side_by_side(
            {
                "floor": ([PYTHON, "-c", FLOOR], b""),
                "one echo task, no flags": ([DISPATCH], ECHO),
                "one echo task, with flags": ([DISPATCH, "--quiet", "--max-workers", "2"], ECHO),
                "--version": ([DISPATCH, "--version"], b""),
                "--help": ([DISPATCH, "--help"], b""),
                "rejected": (["/bin/sh", "-c", f"{DISPATCH}; [ $? = 2 ]"], b'{"tasks": []}'),
            },
            runs=runs,
            cwd=folder,
        )
    for name, times in results.items():
        print(
            f"start-up, {name:<26} {milliseconds(times):7.1f} ms, {ratio(times, results['floor']):.2f} of the floor"
        )


if __name__ == "__main__":
    main()
