"""Runs one program from start to end, and hands over each line that it prints as soon as it is there."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from dispatch_runner.errors import AgentError, RecordError
from dispatch_runner.process.family import MARKER
from dispatch_runner.process.launch import Child, launch, patiently, refusal
from dispatch_runner.process.limits import ResourceLimits
from dispatch_runner.process.output import OutputFile
from dispatch_runner.process.program import (
    GRACE_SECONDS,
    OUTPUT_LIMIT,
    Completed,
    Outputs,
    conduct,
    see_through,
    unique_marker,
)

LINE_LIMIT = 16 * 1024 * 1024
"""Bytes of the longest line that is handed over."""

CHUNK_BYTES = 1 << 14
"""Read at once; between two reads others have their turn, which comes late when fifty programs have much
to say and each line is parsed."""

MOST_IN_A_PIPE = 1 << 20
"""Bytes that a pipe can hold, when the program enlarged it without privileges."""


async def stream(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    on_line: Callable[[bytes], None],
    cwd: Path | None = None,
    stdin: bytes = b"",
    stdout: Path | None = None,
    stderr: Path | None = None,
    output_limit: int = OUTPUT_LIMIT,
    line_limit: int = LINE_LIMIT,
    grace_seconds: float = GRACE_SECONDS,
    hurry: anyio.Event | None = None,
    marker: str | None = None,
    limits: ResourceLimits | None = None,
) -> Completed:
    """Like `run`, with the same promises; the program's stdout is a pipe that is read here.

    `on_line` is called in the event loop with each line, without its newline, in order, also while
    the program is being ended, and with the last one although no newline follows. It must be quick.
    Lines of more than `line_limit` bytes are counted in `Completed.lines_skipped` instead. What
    `on_line` raises ends the program and is raised; no more lines are handed over then.

    All of the output is in the file `stdout`, within its limit. Who holds the pipe open after the
    program's end is not waited for.
    """
    hurry = hurry or anyio.Event()
    marker = marker or unique_marker()
    outputs = Outputs(stdout, stderr, output_limit)
    lines = Lines(outputs.stdout, on_line, line_limit)

    async def start() -> Child:
        try:
            its_end = await patiently(lines.open)
        except OSError as error:
            raise refusal(error, command, cwd) from error
        try:
            return await launch(
                command,
                cwd=cwd,
                env={**env, MARKER: marker},
                stdin=stdin,
                stdout=its_end,
                stderr=outputs.stderr.descriptor,
                marker=marker,
                limits=limits,
            )
        finally:
            os.close(its_end)

    async def follow(child: Child) -> int:
        return await lines.while_done(lambda: see_through(child, grace_seconds, hurry))

    try:
        completed = await conduct(outputs, start, follow)
    finally:
        lines.close()
    return replace(completed, lines_skipped=lines.skipped)


class Lines:
    """Reads a pipe, keeps all of it in a file, and hands over whole lines."""

    def __init__(self, file: OutputFile, on_line: Callable[[bytes], None], limit: int) -> None:
        self.skipped = 0
        """Lines that were longer than the limit."""
        self._file = file
        self._on_line = on_line
        self._limit = limit
        self._rest = bytearray()
        """The beginning of the line whose end has not come yet."""
        self._too_long = False
        """Whether that line is past the limit, and not kept any more."""
        self._failure: Exception | None = None
        self._pipe = -1

    def open(self) -> int:
        """Makes the pipe and gives the program's end of it. Raises `OSError`."""
        self._pipe, its_end = os.pipe()
        os.set_blocking(self._pipe, False)
        return its_end

    def close(self) -> None:
        """Reads no more."""
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    async def while_done(self, work: Callable[[], Awaitable[int]]) -> int:
        """Reads until the work is done, and then what is left in the pipe; gives the work's result.

        Cancelling cancels the work. What `on_line` raised, or the file, cancels the work as well, and
        is raised.
        """
        working = anyio.CancelScope()
        # what a program says while it is being ended is read too, and never makes it wait
        reading = anyio.CancelScope(shield=True)
        result = 0
        async with anyio.create_task_group() as group:
            group.start_soon(self._read_on, reading, working)
            try:
                with working:
                    result = await work()
            except AgentError as error:  # a group would wrap it
                self._fail(error)
            finally:
                reading.cancel()
                self._drain()
        if self._failure:
            raise self._failure
        return result

    async def _read_on(self, reading: anyio.CancelScope, working: anyio.CancelScope) -> None:
        with reading:
            content: bytes | None = None
            while content != b"":
                await anyio.wait_readable(self._pipe)
                content = self._read()
                if self._failure:
                    working.cancel()

    def _drain(self) -> None:
        """Takes what the pipe holds. One that escaped from its end may write on, and is not followed."""
        left = MOST_IN_A_PIPE
        while left > 0 and (content := self._read()):
            left -= len(content)
        self._hand_over_last()

    def _read(self) -> bytes | None:
        """What was there and is dealt with; empty at the end; null when nothing is there yet."""
        try:
            content = os.read(self._pipe, CHUNK_BYTES)
        except BlockingIOError:
            return None
        try:
            self._file.write(content)
        except OSError as error:
            self._fail(RecordError("write", self._file.path or "temporary output", error))
        *whole, rest = content.split(b"\n")
        for end in whole:
            self._keep(end)
            self._hand_over()
        self._keep(rest)
        if not content:
            self._hand_over_last()
        return content

    def _keep(self, part: bytes) -> None:
        if self._too_long or len(self._rest) + len(part) > self._limit:
            self._too_long = True
            self._rest.clear()
        else:
            self._rest += part

    def _hand_over_last(self) -> None:
        if self._rest or self._too_long:
            self._hand_over()

    def _hand_over(self) -> None:
        """The line that is whole now."""
        line = bytes(self._rest)
        self._rest.clear()
        if self._too_long:
            self._too_long = False
            self.skipped += 1
        elif self._failure is None:
            try:
                self._on_line(line)
            except Exception as error:  # noqa: BLE001 - raised by `while_done`
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
