"""Runs one program from start to end."""

import itertools
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anyio
import anyio.to_thread

from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.marks import marker_prefix
from dispatch_runner.models import ErrorType
from dispatch_runner.process.ending import end, end_strays
from dispatch_runner.process.family import MARKER, adopt_orphans
from dispatch_runner.process.guardian import guardian
from dispatch_runner.process.launch import SCARCE, Child, launch, patiently
from dispatch_runner.process.limits import ResourceLimits
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
    lines_skipped: int = 0
    """Lines that were too long to be handed over; with `stream` only."""
    exceeded: str | None = None
    """The limit that ended it, such as 'its limit of 10 seconds of CPU time', where that is known."""


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
    limits: ResourceLimits | None = None,
) -> Completed:
    """Runs a program to its end, with exactly the environment given and `MARKER`.

    The program has its own session, reads `stdin` from a file without a name and writes to the
    files `stdout` and `stderr` (null: temporary ones), each of which keeps head and tail within
    `output_limit` bytes, at least 1 KiB. `marker` is unique; null: one is made. `limits` hold for each
    of its processes.

    When this returns or raises, nothing that the program started is alive: a program that is
    cancelled, and what one that ended left behind, gets SIGINT, after `grace_seconds` SIGTERM, and
    after as long again SIGKILL; `hurry`, once set, skips the grace times. What the system does not
    let us signal, because it changed its user, is not ended.

    Raises:
        AgentError: the program could not be started; retryable when the machine was short of
            something, and stayed so while it was waited for (0.8 seconds).
        RecordError: an output file could not be written.
    """
    marker = marker or unique_marker()
    outputs = Outputs(stdout, stderr, output_limit)

    async def start() -> Child:
        return await launch(
            command,
            cwd=cwd,
            env={**env, MARKER: marker},
            stdin=stdin,
            stdout=outputs.stdout.descriptor,
            stderr=outputs.stderr.descriptor,
            marker=marker,
            limits=limits,
        )

    async def follow(child: Child) -> int:
        return await see_through(child, grace_seconds, hurry or anyio.Event())

    return await conduct(outputs, start, follow)


class Outputs:
    """The two output files of one program."""

    def __init__(self, stdout: Path | None, stderr: Path | None, limit: int) -> None:
        self.stdout = OutputFile(stdout, limit)
        self.stderr = OutputFile(stderr, limit)
        self._files = (self.stdout, self.stderr)

    async def open(self) -> None:
        """Makes and watches both. Raises `AgentError`, `RecordError`."""
        for file in self._files:
            await open_watched(file)

    def started(self) -> None:
        """The program has what it needs of them."""
        for file in self._files:
            file.started()

    async def finish(self) -> tuple[Captured, Captured]:
        """What was captured. The program has ended; cannot be cancelled. Raises `RecordError`."""
        with anyio.CancelScope(shield=True):
            stdout, stderr = await finish(self.stdout), await finish(self.stderr)
        return stdout, stderr

    def close(self) -> None:
        """Lets go of what is not finished."""
        for file in self._files:
            watcher.remove(file)
            file.close()


async def conduct(
    outputs: Outputs,
    start: Callable[[], Awaitable[Child]],
    follow: Callable[[Child], Awaitable[int]],
) -> Completed:
    """The course of every program that is run to its end: files, start, end, and what is left.

    `follow` returns or raises when the program and all that it started have ended, and says how many
    it left behind.
    """
    prepare()
    try:
        await outputs.open()
        child = await start()
        outputs.started()
        try:
            leftovers = await follow(child)
        finally:
            out, err = await outputs.finish()
    finally:
        outputs.close()
    code = child.poll()
    assert code is not None
    return Completed(code, _signal_name(code), out, err, leftovers, exceeded=child.exceeded())


def prepare() -> None:
    """Before each program: we become the parent of orphans, and our end will be its end."""
    _adopt()
    guardian.watch(marker_prefix())


_adopt = cache(adopt_orphans)
_numbers = itertools.count(1)


def unique_marker() -> str:
    """A value of `MARKER` for one start."""
    return f"{marker_prefix()}{next(_numbers)}"


def _signal_name(code: int) -> str | None:
    if code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


async def see_through(child: Child, grace_seconds: float, hurry: anyio.Event) -> int:
    """Waits for the end of the program and ends what it left behind: how many processes.

    Cancelled, it ends the program as well.
    """
    try:
        await child.wait()
    except BaseException:
        await end(child, grace_seconds=grace_seconds, hurry=hurry)
        raise
    return await end_strays(child, grace_seconds=grace_seconds, hurry=hurry)


async def open_watched(file: OutputFile) -> None:
    """Makes and watches a file. Raises `AgentError` when the machine is short of something, and
    `RecordError`."""

    def attempt() -> None:
        watcher.add(file)
        file.open()

    try:
        await patiently(attempt)
    except OSError as error:
        if file.path is not None and error.errno not in SCARCE:
            raise RecordError("create", file.path, error) from error
        raise AgentError(
            ErrorType.UNAVAILABLE,
            f"cannot make a file for the output of a program: {error.strerror}",
            retryable=error.errno in SCARCE,
        ) from error


async def finish(file: OutputFile) -> Captured:
    """What was captured in a file. Raises `RecordError`."""
    watcher.remove(file)
    try:
        if file.oversized():
            return await anyio.to_thread.run_sync(file.finish)
        return file.finish()
    except OSError as error:
        raise RecordError("shorten", file.path or "temporary output", error) from error
