"""`resume`: goes on with a dispatch whose process was killed, or that was interrupted."""

import os
from dataclasses import replace
from pathlib import Path

from dispatch_runner.cli.answers import (
    answer_rejected,
    answer_settings,
    answer_unwritable,
    answer_usage,
)
from dispatch_runner.cli.channel import Channel, say
from dispatch_runner.cli.control import Wanted, print_result
from dispatch_runner.cli.run import (
    Ready,
    RunOptions,
    Unusable,
    read_request,
    reports_of,
    run_ready,
    working_directory,
)
from dispatch_runner.cli.signals import Signals
from dispatch_runner.dispatching.prepare import Operator
from dispatch_runner.dispatching.resume import Wish, end_survivors, is_complete, resumption
from dispatch_runner.errors import RecordError, RequestRejected, SettingsError
from dispatch_runner.models import Problem
from dispatch_runner.records.journal import JournalBusy
from dispatch_runner.records.live import find
from dispatch_runner.records.register import Place
from dispatch_runner.records.restore import Earlier
from dispatch_runner.records.run_folder import RESULT_NAME
from dispatch_runner.records.store import list_dispatches
from dispatch_runner.records.unfinished import newest_unfinished


def resume_dispatch(
    wanted: Wanted, wish: Wish, options: RunOptions, channel: Channel, signals: Signals
) -> int:
    """Runs what is left and prints the whole result. Returns the exit code."""
    place = _place_or_answer(wanted, channel)
    if isinstance(place, int):
        return place
    try:
        earlier = Earlier.hold(place)
    except JournalBusy as error:
        return _answer_busy(place, error, channel)
    except RecordError as error:
        return answer_unwritable(channel, error, "its records are damaged, or of another version")
    ready = None
    try:
        if options.file is not None:
            wish = replace(wish, request=read_request(options.file))
        if is_complete(earlier, wish) and _has_result(place):
            say(f"dispatch-runner: '{place.name}' is complete: nothing is left to run")
            return print_result(
                Wanted(str(place.run_folder), None), options.stdout, options.exit_zero, channel
            )
        ready = _ready_or_answer(earlier, wish, options, channel)
    except Unusable as error:
        return answer_usage(channel, *error.args)
    finally:
        if not isinstance(ready, Ready):
            earlier.release()
    if not isinstance(ready, Ready):
        return ready
    signals.hold()
    end_survivors(earlier)
    return run_ready(ready, options, channel, signals)


def _place_or_answer(wanted: Wanted, channel: Channel) -> "Place | int":
    if wanted.dispatch is not None:
        return wanted.place_or_answer(channel)
    folder = Path(wanted.trace_dir or os.environ.get("DISPATCH_RUNNER_TRACE_DIR") or "traces")
    try:
        name = newest_unfinished(folder.expanduser())
        if name is None:
            hint = _why_none(folder.expanduser())
            message = f"in '{folder}' no dispatch was killed or interrupted"
            return answer_usage(channel, message, hint)
        return find(name, folder.expanduser(), os.environ)
    except RecordError as error:
        return answer_usage(channel, str(error), None)


def _why_none(folder: Path) -> str:
    running = next(
        (each.name for each in list_dispatches(folder) if each.status == "running"), None
    )
    if running is not None:
        return f"'{running}' runs: dispatch-runner wait {running}"
    return "name one, see `traces list`; or another folder with --trace-dir"


def _answer_busy(place: Place, error: JournalBusy, channel: Channel) -> int:
    who = f"process {error.pid} runs it" if error.pid else "another process runs it"
    problem = Problem(
        "dispatch_busy", "", f"'{place.name}' cannot be resumed: {who}",
        f"wait for its end: dispatch-runner wait {place.name}",
    )  # fmt: skip
    return answer_rejected(channel, RequestRejected([problem]))


def _ready_or_answer(
    earlier: Earlier, wish: Wish, options: RunOptions, channel: Channel
) -> Ready | int:
    """What can be run; or, once everything that is wrong is printed, the exit code."""
    try:
        operator = Operator.of(wish.flags, os.environ, working_directory())
        found = resumption(operator, earlier, wish)
        reports = reports_of(options, explains=operator.settings.explain)
    except RequestRejected as error:
        return answer_rejected(channel, error)
    except SettingsError as error:
        return answer_settings(channel, error)
    if options.progress != "none":
        kept, left = len(found.past.known), found.left
        counts = f"results kept: {kept}, tasks left: {left}"
        say(f"dispatch-runner: resumes '{earlier.place.name}'; {counts}")
    return Ready(found.prepared, reports, found.past)


def _has_result(place: Place) -> bool:
    return (place.run_folder / RESULT_NAME).is_file()
