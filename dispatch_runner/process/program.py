"""Runs one program from start to end."""

import itertools
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anyio
import anyio.to_thread

from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.models import ErrorType
from dispatch_runner.process.ending import end, end_strays
from dispatch_runner.process.family import MARKER, adopt_orphans
from dispatch_runner.process.launch import SCARCE, Child, launch, patiently
from dispatch_runner.process.output import Captured, OutputFile, watcher

OUTPUT_LIMIT = 64 * 1024 * 1024
GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended, and what it printed."""

    returncode: int
    """Its exit code; negative for the signal that killed it."""
    signal: str | None
    """The name of that signal, such as `SIGSEGV`, or null."""
    stdout: Captured
    stderr: Captured
    leftovers: int
    """Processes that it left behind and that were ended."""


async def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    stdout: Path | None = None,
    stderr: Path | None = None,
    output_limit: int = OUTPUT_LIMIT,
    grace_seconds: float = GRACE_SECONDS,
    hurry: anyio.Event | None = None,
    marker: str | None = None,
) -> Completed:
    """Runs a program to its end, with exactly the environment given and `MARKER`.

    The program has its own session, reads `stdin` from a file without a name and writes to the
    files `stdout` and `stderr` (null: temporary ones), each of which keeps head and tail within
    `output_limit` bytes, at least 1 KiB. `marker` is unique; null: one is made.

    When this returns or raises, nothing that the program started is alive: a program that is
    cancelled, and what one that ended left behind, gets SIGINT, after `grace_seconds` SIGTERM, and
    after as long again SIGKILL; `hurry`, once set, skips the grace times. What the system does not
    let us signal, because it changed its user, is not ended.

    Raises:
        AgentError: the program could not be started; retryable when the machine was short of
            something, and stayed so while it was waited for (0.8 seconds).
        RecordError: an output file could not be written.
    """
    hurry = hurry or anyio.Event()
    marker = marker or unique_marker()
    prepare()
    files = OutputFile(stdout, output_limit), OutputFile(stderr, output_limit)
    try:
        for file in files:
            await _open(file)
        child = await launch(
            command,
            cwd=cwd,
            env={**env, MARKER: marker},
            stdin=stdin,
            stdout=files[0].descriptor,
            stderr=files[1].descriptor,
            marker=marker,
        )
        for file in files:
            file.started()
        try:
            leftovers = await _see_through(child, grace_seconds, hurry)
        finally:
            with anyio.CancelScope(shield=True):
                out, err = [await _finish(file) for file in files]
    finally:
        for file in files:
            watcher.remove(file)
            file.close()
    code = child.poll()
    assert code is not None
    return Completed(code, _signal_name(code), out, err, leftovers)


@cache
def prepare() -> None:
    """Before the first program: once for the process."""
    adopt_orphans()


_numbers = itertools.count(1)


def unique_marker() -> str:
    """A value of `MARKER` for one start."""
    outer = os.environ.get(MARKER)
    own = f"{os.getpid()}-{next(_numbers)}-{os.urandom(6).hex()}"
    return f"{outer}/{own}" if outer else own


def _signal_name(code: int) -> str | None:
    if code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


async def _see_through(child: Child, grace_seconds: float, hurry: anyio.Event) -> int:
    """Waits for the end of the program and ends what it left behind: how many processes."""
    try:
        await child.wait()
    except BaseException:
        await end(child, grace_seconds=grace_seconds, hurry=hurry)
        raise
    return await end_strays(child, grace_seconds=grace_seconds, hurry=hurry)


async def _open(file: OutputFile) -> None:
    def open_watched() -> None:
        watcher.add(file)
        file.open()

    try:
        await patiently(open_watched)
    except OSError as error:
        if file.path is not None and error.errno not in SCARCE:
            raise RecordError("create", file.path, error) from error
        raise AgentError(
            ErrorType.UNAVAILABLE,
            f"cannot make a file for the output of a program: {error.strerror}",
            retryable=error.errno in SCARCE,
        ) from error


async def _finish(file: OutputFile) -> Captured:
    watcher.remove(file)
    try:
        if file.oversized():
            return await anyio.to_thread.run_sync(file.finish)
        return file.finish()
    except OSError as error:
        raise RecordError("shorten", file.path or "temporary output", error) from error
