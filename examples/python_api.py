"""The Python API: `dispatch` for a whole request, `Session` for tasks that come one by one."""

import anyio

from dispatch_runner import RequestRejected, Session, dispatch


async def whole_request() -> None:
    """The same documents, records and guarantees as on the command line."""
    tasks = [
        {"task_id": "a", "agent": "echo", "input_data": {"n": 20}},
        {
            "task_id": "b",
            "agent": "echo",
            "dependencies": ["a"],
            "input_data": {"n": "${tasks.a.output.n}"},
        },
    ]
    result = await dispatch({"tasks": tasks})
    print(result.status, [task.output for task in result.results])


async def growing() -> None:
    """`submit` returns at once; `execute_batch` returns the results in the order of its tasks."""
    async with Session() as session:
        first = session.submit({"agent": "echo", "input_data": {"n": 1}})
        batch = await session.execute_batch(
            [
                {
                    "task_id": "sum",
                    "agent": "echo",
                    "dependencies": [first],
                    "input_data": {"of": f"${{tasks.{first}.output.n}}"},
                },
                {"task_id": "other", "agent": "echo", "input_data": {"m": 2}},
            ]
        )
        print([task.output for task in batch])
        print((await session.result(first)).status)
    if session.outcome is not None:  # the whole result, once the session was left
        print(session.outcome.summary.total_tasks, session.outcome.status)


async def refused() -> None:
    """What is wrong is an exception that carries every problem; nothing was started."""
    try:
        await dispatch({"tasks": [{"task_id": "a", "agent": "ecko", "input_data": {}}]})
    except RequestRejected as rejected:
        print([(problem.code, problem.hint) for problem in rejected.problems])


async def main() -> None:
    await whole_request()
    await growing()
    await refused()


if __name__ == "__main__":
    anyio.run(main)
