"""The documents that are not a result: rejected, interrupted before the start, our own fault."""

import os
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson

from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.exits import Exit
from dispatch_runner.cli.signals import SignalName
from dispatch_runner.errors import RecordError, RequestRejected, SettingsError
from dispatch_runner.models import Interruption, Problem, Rejection
from dispatch_runner.records.redaction import Redactor


def print_document(channel: Channel, document: Any) -> None:
    """Prints one JSON document: indented for a person at a terminal, in one line for a program."""
    options = orjson.OPT_APPEND_NEWLINE
    if channel.is_terminal:
        options |= orjson.OPT_INDENT_2
    try:
        text = orjson.dumps(document, option=options)
    except TypeError:  # names of files that are not UTF-8, and the like
        from dispatch_runner.records.text import encode

        text = encode(document) + b"\n"
    channel.write(text)


def answer_rejected(channel: Channel, error: RequestRejected) -> int:
    """Prints every problem of a request at once."""
    return _reject(channel, error.problems, error.warnings)


def answer_settings(channel: Channel, error: SettingsError) -> int:
    """Prints everything that is wrong with what the operator defined."""
    found = [error, *error.others]
    return _reject(
        channel, [Problem("settings", "", f"{e.where}: {e.message}", e.hint) for e in found]
    )


def answer_usage(channel: Channel, message: str, hint: str | None) -> int:
    """Prints what is wrong with the arguments, or with what they name."""
    return _reject(channel, [Problem("usage", "", message, hint)])


def answer_interrupted(channel: Channel, name: SignalName) -> int:
    """A signal arrived before anything was started."""
    if not channel.used:
        problem = Problem("interrupted", "", f"{name} arrived before anything was started")
        _reject(channel, [problem], interrupted=name)
    return Exit[name]


def answer_unwritable(channel: Channel, error: RecordError, hint: str) -> int:
    """Something could not be read or written where we keep our files."""
    _reject(channel, [Problem("record_error", "", str(error), hint)])
    return Exit.FAULT


def answer_fault(channel: Channel, error: BaseException) -> int:
    """We failed: the traceback goes to stderr, a document to stdout."""
    if isinstance(error, RecordError):
        hint = "nothing was started; name another folder with --trace-dir"
        problem = Problem("record_error", "", str(error), hint)
    elif isinstance(error, MemoryError):
        problem = Problem("out_of_memory", "", "the request does not fit into memory")
    else:
        for line in "".join(traceback.format_exception(error)).splitlines():
            say(line)
        text = f"{type(error).__name__}: {error} [this is a bug]"
        problem = Problem("internal", "", text, "the traceback is on stderr; please report it")
    if not channel.used:
        _reject(channel, [problem])
    return Exit.FAULT


def _reject(
    channel: Channel,
    problems: Sequence[Problem],
    warnings: Sequence[str] = (),
    interrupted: Interruption | None = None,
) -> int:
    clean = Redactor(os.environ).redact_text
    problems = [
        replace(p, message=clean(p.message), hint=p.hint and clean(p.hint)) for p in problems
    ]
    written = [replace(p, message=_utf8(p.message)) for p in problems]
    rejection = Rejection(written, interrupted=interrupted, warnings=list(warnings))
    try:
        print_document(channel, {"status": rejection.status} | asdict(rejection))
    finally:  # below the document, where a person at a terminal looks
        _tell(problems)
    return Exit.REJECTED


def _tell(problems: Sequence[Problem]) -> None:
    """The first problems on stderr, for people and for logs."""
    for problem in problems[:5]:
        message, *excerpt = problem.message.split("\n")
        where = f"{problem.pointer[:200]}: " if problem.pointer else ""
        hint = f" ({problem.hint})" if problem.hint else ""
        for line in (f"dispatch-runner: {where}{message}{hint}", *excerpt):
            say(line)
    if len(problems) > 5:
        say(f"dispatch-runner: ... and {len(problems) - 5} more; all of them are on stdout")


def _utf8(text: str) -> str:
    """The text; arguments and file names that are not UTF-8 with escapes."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
