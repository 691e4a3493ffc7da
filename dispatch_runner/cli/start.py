"""`start`: checks a request in the foreground, and runs it in a process of its own."""

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from dispatch_runner.cli.answers import answer_fault, print_document
from dispatch_runner.cli.channel import Channel, StdoutError
from dispatch_runner.cli.exits import Exit
from dispatch_runner.cli.run import RunOptions, ready_or_answer, run_ready
from dispatch_runner.cli.signals import Signals
from dispatch_runner.dispatching.run import Dispatch
from dispatch_runner.errors import InternalError, RecordError
from dispatch_runner.models.live import Started
from dispatch_runner.records.register import is_registered
from dispatch_runner.records.run_folder import RESULT_NAME

STDERR_NAME = "stderr.log"
"""In the run folder: what the process would have said on stderr."""

WAIT_SECONDS = 110
"""Below the two minutes that shell tools of coding agents usually give."""


def start_request(options: RunOptions, channel: Channel, signals: Signals) -> int:
    """Returns when the dispatch is on record and its id is printed, or what is wrong is printed.

    The process that runs it has a session of its own and nothing that the caller had open.
    """
    if options.progress in {"auto", "board"}:  # nobody looks at that terminal
        options = replace(options, progress="lines")
    ready = ready_or_answer(options, channel)
    if isinstance(ready, int):
        return ready
    signals.hold()
    reader, writer = os.pipe()
    # nothing else runs in this process yet, so a fork is a whole copy: it need not check again
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(reader)
        let_go = partial(_let_go, channel, writer)
        return run_ready(ready, replace(options, stdout="none"), channel, signals, let_go)
    os.close(writer)
    told = _read_to_the_end(reader)
    if not told:
        return _answer_failed_start(pid, channel)
    started = _started(told, pid, ready.prepared.warnings)
    try:
        print_document(channel, started)
    except StdoutError as error:
        raise StdoutError(f"{error}; '{started.dispatch}' runs all the same") from error
    return Exit.SUCCESS


def _let_go(channel: Channel, writer: int, dispatch: Dispatch) -> None:
    """Lets go of everything that is the caller's, then tells the waiting process that all is well.

    Until then, what goes wrong is said on the caller's own stdout and stderr.
    """
    log = dispatch.run_folder / STDERR_NAME
    try:
        opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    except OSError as error:
        raise RecordError("write", log, error.strerror or str(error)) from error
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, descriptor in ((nothing, 0), (opened, 1), (opened, 2)):
        os.dup2(source, descriptor)
    os.close(nothing)
    os.close(opened)
    channel.close()
    for descriptor in list(_inherited()):
        os.close(descriptor)
    with suppress(OSError):  # the caller was killed: it is on record, and goes on
        os.write(writer, f"{dispatch.correlation_id}\n".encode() + os.fsencode(dispatch.run_folder))
    os.close(writer)


def _inherited() -> Iterator[int]:
    """Descriptors that came from the caller: our own are not passed on to other programs."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - descriptors, not paths
        with suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                yield int(name)


def _read_to_the_end(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


def _answer_failed_start(pid: int, channel: Channel) -> int:
    """The process has said why on our stdout; unless it was killed."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code in set(Exit):
        return code
    return answer_fault(channel, InternalError(f"the process of the dispatch ended with {code}"))


def _started(told: bytes, pid: int, warnings: list[str]) -> Started:
    correlation_id, _, place = told.partition(b"\n")
    folder = Path(os.fsdecode(place))
    known = is_registered(folder, os.environ)
    where = "" if known else f" --trace-dir {shlex.quote(str(folder.parent))}"
    return Started(
        dispatch=folder.name,
        correlation_id=correlation_id.decode(),
        pid=pid,
        status="running",
        trace_index=f"{folder}.json",
        result_file=str(folder / RESULT_NAME),
        stderr_file=str(folder / STDERR_NAME),
        warnings=warnings,
        next={
            command: f"dispatch-runner {command} {folder.name}{flags}{where}"
            for command, flags in (
                ("wait", f" --timeout {WAIT_SECONDS}"),
                ("status", ""),
                ("cancel", ""),
                ("result", ""),
            )
        },
    )
