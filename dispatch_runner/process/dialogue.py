"""A program that is talked to over its stdin and stdout while it runs, such as a tool server."""

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from dispatch_runner.errors import RecordError
from dispatch_runner.process.ending import FIRST_PAUSE, LONGEST_PAUSE, end_strays
from dispatch_runner.process.family import MARKER
from dispatch_runner.process.launch import Child, launch, refusal
from dispatch_runner.process.limits import ResourceLimits
from dispatch_runner.process.output import OutputFile, watcher
from dispatch_runner.process.program import finish, open_watched, prepare, unique_marker

CLOSING_SECONDS = 2.0
"""How long a program may take to end after its stdin was closed, and after each signal."""

STDERR_LIMIT = 256 * 1024
CHUNK_BYTES = 1 << 16


class Dialogue:
    """A running program. Within `dialogue` only; one task sends, one receives."""

    def __init__(
        self,
        child: Child,
        stdin: int,
        stdout: int,
        stderr: OutputFile,
        transcript: OutputFile | None = None,
    ) -> None:
        self.leftovers = 0
        """Processes that it left behind when it had ended by itself; known when the context is left."""
        self._child = child
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._transcript = transcript

    async def send(self, data: bytes) -> None:
        """Writes all of it; waits while the program does not read. Raises `BrokenPipeError`."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._stdin, rest[:CHUNK_BYTES]) :]
            except BlockingIOError:
                await anyio.wait_writable(self._stdin)

    async def receive(self) -> bytes:
        """The next bytes; none when the program has closed its stdout. Raises `RecordError`."""
        while True:
            try:
                content = os.read(self._stdout, CHUNK_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self._stdout)
            else:
                self._note(content)
                return content

    def _note(self, content: bytes) -> None:
        if self._transcript is None:
            return
        try:
            self._transcript.write(content)
        except OSError as error:
            raise RecordError("write", self._transcript.path or "transcript", error) from error

    def ended(self) -> bool:
        """Whether the program itself has ended, as of now."""
        return self._child.poll() is not None

    async def wait_end(self) -> None:
        """Returns when the program itself has ended; what it started may still run."""
        await self._child.wait()

    def epitaph(self, limit: int = 300) -> str:
        """How it ended, if it has, and the last that it wrote to stderr: one line for people."""
        code = self._child.poll()
        how = "still runs" if code is None else self._how(code)
        last = self._last_line(limit)
        return f"{how}: {last}" if last else how

    def _how(self, code: int) -> str:
        if exceeded := self._child.exceeded():
            return f"was ended by {exceeded}"
        return f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"

    def _last_line(self, limit: int) -> str:
        tail = self._stderr.last(4 * limit)
        lines = ("".join(filter(str.isprintable, line)).strip() for line in _lines(tail))
        return next((line[:limit] for line in lines if line), "")

    def hang_up(self) -> None:
        """Closes both pipes: nothing is sent or received any more."""
        for descriptor in (self._stdin, self._stdout):
            with suppress(OSError):
                os.close(descriptor)


@asynccontextmanager
async def dialogue(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdout: Path | None = None,
    stderr: Path | None = None,
    output_limit: int = STDERR_LIMIT,
    grace_seconds: float = CLOSING_SECONDS,
    hurry: anyio.Event | None = None,
    limits: ResourceLimits | None = None,
) -> AsyncIterator[Dialogue]:
    """Runs a program for as long as the context, with exactly the environment given and `MARKER`.

    What it writes to stderr goes to the file `stderr` (null: one without a name), and what is received
    is kept in the file `stdout` (null: nowhere); of each, head and tail within `output_limit`.

    When the context is left, nobody sends or receives any more; the program's stdin is closed, and
    after `grace_seconds` it is ended like any other, with everything that it started. That cannot be
    cancelled and takes at most three grace times and `ending.KILL_SECONDS`; `hurry` skips the former.

    Raises `AgentError` when the program cannot be started, and `RecordError` when a file cannot be
    written.
    """
    hurry = hurry or anyio.Event()
    prepare()
    errors = OutputFile(stderr, output_limit)
    transcript = OutputFile(stdout, output_limit) if stdout else None
    async with _files([errors, *([transcript] if transcript else ())]):
        marker = unique_marker()
        child, its_input, its_output = await _start(
            command, env, cwd, errors.descriptor, marker, limits
        )
        errors.started()
        talk = Dialogue(child, its_input, its_output, errors, transcript)
        try:
            yield talk
        finally:
            talk.hang_up()
            with anyio.CancelScope(shield=True):
                await _wait_politely(child, grace_seconds, hurry)
                ended = talk.ended()
                # the program too, if it is still there
                strays = await end_strays(child, grace_seconds=grace_seconds, hurry=hurry)
                talk.leftovers = strays if ended else 0


@asynccontextmanager
async def _files(files: Sequence[OutputFile]) -> AsyncIterator[None]:
    """Opens and watches them; those with a name are whole, and within their limits, at the end."""
    try:
        for file in files:
            await open_watched(file)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                for file in files:
                    if file.path is not None:
                        await finish(file)
    finally:
        for file in files:
            watcher.remove(file)
            file.close()


async def _start(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | None,
    stderr: int,
    marker: str,
    limits: ResourceLimits | None,
) -> tuple[Child, int, int]:
    """The program, and our ends of its stdin and its stdout, which never block."""
    opened: list[int] = []
    try:
        try:
            opened += (*os.pipe(), *os.pipe())
        except OSError as error:
            raise refusal(error, command, cwd) from error
        its_stdin, stdin, stdout, its_stdout = opened
        child = await launch(
            command,
            cwd=cwd,
            env={**env, MARKER: marker},
            stdin=its_stdin,
            stdout=its_stdout,
            stderr=stderr,
            marker=marker,
            limits=limits,
        )
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    os.close(its_stdin)
    os.close(its_stdout)
    os.set_blocking(stdin, False)
    os.set_blocking(stdout, False)
    return child, stdin, stdout


async def _wait_politely(child: Child, seconds: float, hurry: anyio.Event) -> None:
    deadline = anyio.current_time() + seconds
    pause = FIRST_PAUSE
    while child.poll() is None and not hurry.is_set() and anyio.current_time() < deadline:
        await anyio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _lines(content: bytes) -> Iterable[str]:
    """From the last to the first."""
    return reversed(content.decode("utf-8", "replace").split("\n"))
