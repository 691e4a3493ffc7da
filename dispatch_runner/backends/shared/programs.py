"""What all backends share that run a program: where it is, what it sees, where its output goes."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dispatch_runner.models import JsonObject
from dispatch_runner.process import Completed, ResourceLimits
from dispatch_runner.protocols import AgentCall
from dispatch_runner.settings.backend_options import BackendOptions

TAIL_LIMIT = 4_000
"""Characters of output in the details of an error."""

MEBIBYTE = 1 << 20

ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")


def missing_program(program: str, environment: Mapping[str, str], cwd: Path | None) -> str | None:
    """Why a program cannot be started here, or null."""
    path = environment.get("PATH", os.defpath)
    where = "on PATH" if "PATH" in environment else f"on {path!r}; it sees no PATH: add that to env"
    relative = "/" in program and not program.startswith("/")
    if shutil.which(f"{cwd}/{program}" if cwd and relative else program, path=path):
        return None
    return f"program {program!r} was not found" + ("" if "/" in program else f" {where}")


def resource_limits(options: BackendOptions) -> ResourceLimits | None:
    """The operator's limits of an agent's processes, or null when there are none."""
    memory, cpu, files = options.max_memory_mb, options.max_cpu_seconds, options.max_open_files
    if memory is None and cpu is None and files is None:
        return None
    return ResourceLimits(
        memory_bytes=None if memory is None else memory * MEBIBYTE,
        cpu_seconds=cpu,
        open_files=files,
    )


def call_variables(call: AgentCall) -> dict[str, str]:
    """What every program of an agent is told of the task through its environment."""
    trace = call.correlation_id.replace("-", "").lower()
    return {
        "DISPATCH_RUNNER_TASK_ID": call.task_id,
        "DISPATCH_RUNNER_CORRELATION_ID": call.correlation_id,
        "TRACEPARENT": f"00-{trace}-{os.urandom(8).hex()}-01",
    }


def output_files(call: AgentCall) -> tuple[Path | None, Path | None]:
    """Where stdout and stderr of the call's program go; null: nowhere that lasts.

    The further rounds of an attempt have files of their own.
    """
    if call.output_prefix is None:
        return None, None
    round_ = f"-{call.repair.round}" if call.repair else ""
    prefix = f"{call.output_prefix}.{call.attempt}{round_}"
    return Path(f"{prefix}.stdout"), Path(f"{prefix}.stderr")


@contextmanager
def call_output(call: AgentCall) -> Iterator[tuple[Path | None, Path | None]]:
    """The files for stdout and stderr of the call's program; afterwards its log names those that
    something is in."""
    stdout, stderr = output_files(call)
    try:
        yield stdout, stderr
    finally:
        call.log.stdout_file = _kept(stdout)
        call.log.stderr_file = _kept(stderr)


def _kept(path: Path | None) -> str | None:
    """The file's path, or null when there is nothing in it; an empty file is removed."""
    if path is None:
        return None
    try:
        if path.stat().st_size:
            return str(path)
        path.unlink()
    except FileNotFoundError:
        return None
    return None


def evidence(completed: Completed) -> JsonObject:
    """Exit code or signal, and the tails of what was printed, readable for people."""
    ending = (
        {"exit_code": completed.returncode}
        if completed.signal is None
        else {"signal": completed.signal}
    )
    outputs = {"stderr": completed.stderr, "stdout": completed.stdout}
    tails = {
        name: ESCAPE_SEQUENCE.sub("", output.tail(TAIL_LIMIT))
        for name, output in outputs.items()
        if output.size
    }
    limit = {"exceeded": completed.exceeded} if completed.exceeded else {}
    return {**ending, **limit, **tails}


def last_line(completed: Completed) -> str:
    """The last line that the program wrote to stderr; empty if there is none."""
    tail = ESCAPE_SEQUENCE.sub("", completed.stderr.tail(TAIL_LIMIT))
    return tail.rstrip().rpartition("\n")[2].strip()


def leftovers(count: int, program: str) -> list[str]:
    """A warning when the program left so many processes behind; none for none."""
    return [f"{program!r} left {count} processes behind; they were ended"] if count else []
