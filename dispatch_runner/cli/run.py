"""`run` and `validate`: from bytes on stdin to the document on stdout."""

import os
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import anyio

from dispatch_runner.cli.answers import (
    answer_rejected,
    answer_settings,
    answer_usage,
    print_document,
)
from dispatch_runner.cli.channel import Channel, StdoutError, say
from dispatch_runner.cli.exits import Exit, exit_code
from dispatch_runner.cli.signals import Signals
from dispatch_runner.dispatching.prepare import Operator, Prepared, prepare
from dispatch_runner.dispatching.run import Dispatch, Past
from dispatch_runner.errors import RequestRejected, SettingsError
from dispatch_runner.models import Result
from dispatch_runner.preflight.document import MAX_BYTES
from dispatch_runner.report.guarded import Guarded, Report
from dispatch_runner.settings import Flags

Shown = Literal["full", "summary", "none"]
ProgressMode = Literal["auto", "board", "lines", "json", "none"]

_CHUNK_BYTES = 1 << 20
GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The flags of `run`."""

    file: Path | None = None
    flags: Flags = field(default_factory=Flags)
    stdout: Shown = "full"
    exit_zero: bool = False
    progress: ProgressMode = "auto"
    events: Path | None = None


class Ready(NamedTuple):
    """A request that was checked, and who is told of its events."""

    prepared: Prepared
    reports: list[Guarded]
    past: Past | None = None
    """What earlier processes have left of it."""


class Unusable(Exception):
    """A file or a stream that was named cannot be used. Carries a message and a hint."""


def run_request(options: RunOptions, channel: Channel, signals: Signals) -> int:
    """Runs a request and prints its result. Returns the exit code."""
    ready = ready_or_answer(options, channel)
    if isinstance(ready, int):
        return ready
    signals.hold()
    return run_ready(ready, options, channel, signals)


def ready_or_answer(options: RunOptions, channel: Channel) -> Ready | int:
    """What can be run; or, once everything that is wrong is printed, the exit code."""
    prepared = prepared_or_answer(options, channel)
    if isinstance(prepared, int):
        return prepared
    try:
        return Ready(prepared, reports_of(options, explains=prepared.operator.settings.explain))
    except Unusable as error:
        return answer_usage(channel, *error.args)


def run_ready(
    ready: Ready,
    options: RunOptions,
    channel: Channel,
    signals: Signals,
    on_record: Callable[[Dispatch], None] | None = None,
) -> int:
    """Runs it and prints its result. Returns the exit code.

    `on_record` is called when the dispatch is on disk and nothing has been started yet.
    """
    dispatch, result = anyio.run(_run, ready, signals, on_record)
    try:
        _deliver(dispatch, result, options.stdout, channel)
    except StdoutError as error:
        if dispatch.document is None:
            raise
        raise StdoutError(f"{error}; the whole result is in '{result.result_file}'") from error
    if dispatch.fault is not None:
        return Exit.FAULT
    return exit_code(result.status, result.interrupted, exit_zero=options.exit_zero)


def _deliver(dispatch: Dispatch, result: Result, shown: Shown, channel: Channel) -> None:
    if shown == "summary":
        from dispatch_runner.report.compact import summarised

        print_document(channel, summarised(result))
    elif shown == "full" and dispatch.document is not None and not channel.is_terminal:
        channel.write(dispatch.document)  # the very bytes of result_file
    elif shown == "full":
        print_document(channel, result)


def prepared_or_answer(options: RunOptions, channel: Channel) -> Prepared | int:
    """The checked request; or, once everything that is wrong with it is printed, the exit code."""
    try:
        operator = Operator.of(options.flags, os.environ, working_directory())
        return prepare(operator, read_request(options.file))
    except RequestRejected as error:
        return answer_rejected(channel, error)
    except SettingsError as error:
        return answer_settings(channel, error)
    except Unusable as error:
        return answer_usage(channel, *error.args)


def working_directory() -> Path:
    """Where we are. Raises `SettingsError` when that folder is gone."""
    try:
        return Path.cwd()
    except OSError as error:
        raise SettingsError(
            "does not exist any more", source="working directory", hint="cd to a folder that exists"
        ) from error


def read_request(file: Path | None) -> bytes:
    """The whole of stdin or of a file, up to what a request may hold. Raises `Unusable`."""
    if file is None or str(file) == "-":
        return _read_stdin()
    try:
        with file.open("rb", buffering=0) as opened:
            return _read_all(opened.fileno())
    except OSError as error:
        raise Unusable(
            f"cannot read {_quoted(file)}: {error.strerror}", _hint(str(file))
        ) from error


def _read_stdin() -> bytes:
    example = 'echo \'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}}]}\' | dispatch-runner'
    if os.isatty(0):
        raise Unusable("no request: stdin is a terminal", f"pipe task JSON in: {example}")
    try:
        return _read_all(0)
    except OSError as error:
        raise Unusable(f"cannot read stdin: {error.strerror}", f"try: {example}") from error


def _read_all(descriptor: int) -> bytes:
    """Everything, also from a pipe that is not blocking; a byte more than the limit at most."""
    chunks, left = [], MAX_BYTES + 1
    while left > 0:
        try:
            chunk = os.read(descriptor, min(left, _CHUNK_BYTES))
        except BlockingIOError:
            select.select([descriptor], [], [])
            continue
        if not chunk:
            break
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _quoted(path: Path) -> str:
    text = str(path)
    return f"'{text}'" if len(text) <= 200 else f"'{text[:200]}'..."


def _hint(file: str) -> str:
    """A misspelt command, and JSON as an argument, look like a file name here."""
    from difflib import get_close_matches

    from dispatch_runner.cli.commands import COMMANDS

    if file.lstrip().startswith(("{", "[")):
        return "a request is not an argument: pipe it in"
    if file in COMMANDS:
        return f"a command comes first, before its flags: dispatch-runner {file} ..."
    close = get_close_matches(file, COMMANDS, 1)
    return f"did you mean the command '{close[0]}'?" if close else "see 'dispatch-runner --help'"


async def _run(
    ready: Ready, signals: Signals, on_record: Callable[[Dispatch], None] | None
) -> tuple[Dispatch, Result]:
    dispatch = Dispatch.of(*ready)
    if on_record is not None:
        on_record(dispatch)
    async with anyio.create_task_group() as group:
        group.start_soon(signals.listen, dispatch.stop)
        result = await dispatch.run()
        if "dispatch_runner.process" in sys.modules:
            # also what hid from the end of its own task: this process goes, and nobody else will
            await sys.modules["dispatch_runner.process"].end_everything(
                grace_seconds=GRACE_SECONDS, hurry=anyio.Event()
            )
        group.cancel_scope.cancel()
    for report in ready.reports:
        report.close()
    return dispatch, result


def reports_of(options: RunOptions, *, explains: bool) -> list[Guarded]:
    """Progress on stderr, and the events' own file. Raises `Unusable`.

    A board has no place for what the cache explains.
    """
    mode = "lines" if explains and options.progress in {"auto", "board"} else options.progress
    reports: list[Report | None] = []
    if mode != "none":
        from dispatch_runner.report.progress import progress

        terminal = os.isatty(2)
        reports.append(progress(mode, sys.stderr, is_terminal=terminal, environ=os.environ))
    if options.events is not None:
        from dispatch_runner.report.ndjson import events_file

        try:
            reports.append(events_file(options.events))
        except OSError as error:
            message = f"cannot write events to {_quoted(options.events)}: {error.strerror}"
            raise Unusable(message, "name another file with --events") from error
    return [Guarded(report, say) for report in reports if report is not None]
