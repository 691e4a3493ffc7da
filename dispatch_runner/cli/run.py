"""`run` and `validate`: from bytes on stdin to the document on stdout."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio

from dispatch_runner.cli.answers import (
    answer_rejected,
    answer_settings,
    answer_usage,
    print_document,
    say,
)
from dispatch_runner.cli.channel import Channel
from dispatch_runner.cli.exits import Exit, exit_code
from dispatch_runner.cli.signals import Signals
from dispatch_runner.dispatching.prepare import Operator, Prepared, prepare
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.errors import RequestRejected, SettingsError
from dispatch_runner.models import JsonObject, Result, TaskStatus
from dispatch_runner.report.guarded import Guarded, Report
from dispatch_runner.settings import Flags

Shown = Literal["full", "summary", "none"]
ProgressMode = Literal["auto", "board", "lines", "json", "none"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The flags of `run`."""

    file: Path | None = None
    flags: Flags = field(default_factory=Flags)
    stdout: Shown = "full"
    exit_zero: bool = False
    progress: ProgressMode = "auto"
    events: Path | None = None


class NoRequest(Exception):
    """There is nothing to read. Carries a message and a hint."""


def run_request(options: RunOptions, channel: Channel, signals: Signals) -> int:
    """Runs a request and prints its result. Returns the exit code."""
    prepared = prepared_or_answer(options, channel)
    if isinstance(prepared, int):
        return prepared
    signals.hold()
    dispatch, result = anyio.run(_run, prepared, options, signals)
    if options.stdout == "summary":
        print_document(channel, _summary(result))
    elif options.stdout == "full" and dispatch.document is not None and not channel.is_terminal:
        channel.write(dispatch.document)  # the very bytes of result_file
    elif options.stdout == "full":
        print_document(channel, result)
    if dispatch.fault is not None:
        return Exit.FAULT
    return exit_code(result, exit_zero=options.exit_zero)


def prepared_or_answer(options: RunOptions, channel: Channel) -> Prepared | int:
    """The checked request; or, once everything that is wrong with it is printed, the exit code."""
    try:
        operator = Operator.of(options.flags, os.environ, Path.cwd())
        return prepare(operator, read_request(options.file))
    except RequestRejected as error:
        return answer_rejected(channel, error)
    except SettingsError as error:
        return answer_settings(channel, error)
    except NoRequest as error:
        return answer_usage(channel, *error.args)


def read_request(file: Path | None) -> bytes:
    """The whole of stdin, or of a file. Raises `NoRequest`."""
    example = 'echo \'{"tasks": [{"task_id": "a", "agent": "echo", "input_data": {}}]}\' | dispatch-runner'
    if file is not None and str(file) != "-":
        try:
            return file.read_bytes()
        except OSError as error:
            raise NoRequest(f"cannot read '{file}': {error.strerror}", _hint(str(file))) from error
    if os.isatty(0):
        raise NoRequest("no request: stdin is a terminal", f"pipe task JSON in: {example}")
    try:
        with open(0, "rb", closefd=False) as stdin:
            return stdin.read()
    except OSError as error:
        raise NoRequest(f"cannot read stdin: {error.strerror}", f"try: {example}") from error


def _hint(file: str) -> str:
    """A misspelt command looks like a file name here."""
    from difflib import get_close_matches

    from dispatch_runner.cli.commands import COMMANDS

    close = get_close_matches(file, COMMANDS, 1)
    return f"did you mean the command '{close[0]}'?" if close else "see 'dispatch-runner --help'"


async def _run(
    prepared: Prepared, options: RunOptions, signals: Signals
) -> tuple[Dispatch, Result]:
    reports = _reports(options)
    dispatch = Dispatch.of(prepared, reports)
    async with anyio.create_task_group() as group:
        group.start_soon(signals.listen, dispatch.stop)
        result = await dispatch.run()
        group.cancel_scope.cancel()
    for report in reports:
        report.close()
    return dispatch, result


def _reports(options: RunOptions) -> list[Guarded]:
    """Progress on stderr, and the events' own file."""
    reports: list[Report | None] = []
    if options.progress != "none":
        from dispatch_runner.report.progress import progress

        terminal = os.isatty(2)
        reports.append(
            progress(options.progress, sys.stderr, is_terminal=terminal, environ=os.environ)
        )
    if options.events is not None:
        from dispatch_runner.report.ndjson import events_file

        reports.append(events_file(options.events))
    return [Guarded(report, say) for report in reports if report is not None]


def _summary(result: Result) -> JsonObject:
    """The result without outputs: everything but the tasks that succeeded."""
    return {
        "status": result.status,
        "correlation_id": result.correlation_id,
        "interrupted": result.interrupted,
        "summary": result.summary,
        "unsuccessful": [
            {
                "task_id": task.task_id,
                "status": task.status,
                "error": {"type": task.error.type, "message": task.error.message}
                if task.error
                else None,
                "blocked_by": task.blocked_by,
                "trace_file": task.trace_file,
            }
            for task in result.results
            if task.status is not TaskStatus.SUCCESS
        ],
        "trace_index": result.trace_index,
        "result_file": result.result_file,
        "warnings": result.warnings,
    }
