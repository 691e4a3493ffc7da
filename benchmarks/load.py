"""Many no-op tasks in one request: the whole process, records included."""

from statistics import median

import orjson

from benchmarks.whole import DISPATCH, fresh_folder, time_once


def request(count: int) -> bytes:
    """So many independent echo tasks."""
    tasks = [{"task_id": f"t{n}", "agent": "echo", "input_data": {"n": n}} for n in range(count)]
    return orjson.dumps({"tasks": tasks})


def main(sizes: tuple[int, ...] = (10_000, 100_000), runs: int = 3) -> None:
    """Prints microseconds per task and peak memory."""
    first = None
    for count in sizes:
        times, peaks = [], []
        for _ in range(runs):
            run = time_once(
                [DISPATCH, "--quiet", "--durability", "process"],
                stdin=request(count),
                cwd=str(fresh_folder()),
            )
            times.append(run.seconds / count * 1e6)
            peaks.append(run.peak_mib)
        each = median(times)
        first = first or each
        print(
            f"echo, records included, {count:>6} tasks: {each:6.1f} us a task"
            f" ({each / first:.2f} of the first), peak {median(peaks):.0f} MiB"
        )


if __name__ == "__main__":
    main()
