"""`status`, `wait`, `cancel`, `result`: about a dispatch that another process runs or ran."""

import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch_runner.cli.answers import answer_unwritable, answer_usage, print_document
from dispatch_runner.cli.channel import Channel
from dispatch_runner.cli.exits import Exit, exit_code
from dispatch_runner.cli.signals import Interrupted
from dispatch_runner.errors import RecordError
from dispatch_runner.records.holder import signal_holder
from dispatch_runner.records.live import find, partial_result, result_bytes, runs, state_of
from dispatch_runner.report.compact import compacted, summarised

if TYPE_CHECKING:
    from dispatch_runner.cli.run import Shown
    from dispatch_runner.cli.signals import SignalName
    from dispatch_runner.models.live import DispatchState
    from dispatch_runner.records.register import Place

POLL_SECONDS = 0.02
"""Between two looks at the lock: some ten microseconds of work each."""

STOPPING_SECONDS = 5.0
"""How long `cancel --now` waits for the first signal to be heard before it sends the second."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dispatch is meant."""

    dispatch: str | None
    trace_dir: str | None

    def place_or_answer(self, channel: Channel) -> "Place | int":
        """Where its records are; or, once it is said that there is none or several, the exit code."""
        folder = self.trace_dir or os.environ.get("DISPATCH_RUNNER_TRACE_DIR") or "traces"
        try:
            return find(self.dispatch, Path(folder).expanduser(), os.environ)
        except RecordError as error:
            return answer_usage(channel, str(error), None)


def show_status(wanted: Wanted, channel: Channel) -> int:
    """Prints how the dispatch stands."""
    place = wanted.place_or_answer(channel)
    return place if isinstance(place, int) else _answer(place, channel)[0]


def wait_for(wanted: Wanted, timeout: float | None, exit_zero: bool, channel: Channel) -> int:
    """Prints how the dispatch stands once it has ended, or time is up, or a signal comes."""
    place = wanted.place_or_answer(channel)
    if isinstance(place, int):
        return place
    heard = _wait_for_end(place, timeout)
    fault, state = _answer(place, channel)
    if heard is not None:
        return Exit[heard]
    if state is None:
        return fault
    return exit_code(state.status, state.interrupted, exit_zero=exit_zero)


def cancel_dispatch(wanted: Wanted, timeout: float, now: bool, channel: Channel) -> int:
    """Tells the dispatch to end, and prints how it stands once it has. Asking twice changes nothing."""
    place = wanted.place_or_answer(channel)
    if isinstance(place, int):
        return place
    try:
        told = _tell_to_end(place, now)
    except RecordError as error:
        return answer_usage(channel, str(error), None)
    heard = _wait_for_end(place, timeout)
    hint = None if told else "it had ended before: nothing was cancelled"
    fault, state = _answer(place, channel, hint)
    if heard is not None:
        return Exit[heard]
    return Exit.STILL_RUNNING if state is not None and state.status == "running" else fault


def print_result(wanted: Wanted, shown: "Shown", exit_zero: bool, channel: Channel) -> int:
    """Prints the result of a dispatch that has ended, or what is known so far of one that has not."""
    place = wanted.place_or_answer(channel)
    if isinstance(place, int):
        return place
    try:
        if shown == "full" and (partial := partial_result(place)) is not None:
            print_document(channel, partial)
            return exit_code(partial.status, None, exit_zero=exit_zero)
        state = state_of(place)
        if state.status not in {"running", "crashed"}:
            _print_whole(place, shown, channel)
        elif shown == "summary":
            print_document(channel, compacted(state))
    except RecordError as error:
        return answer_unwritable(channel, error, _UNREADABLE)
    return exit_code(state.status, state.interrupted, exit_zero=exit_zero)


_UNREADABLE = "the records of this dispatch are damaged or were removed"


def _print_whole(place: "Place", shown: "Shown", channel: Channel) -> None:
    document = result_bytes(place)
    if shown == "full":
        channel.write(document)
    elif shown == "summary":
        from dispatch_runner.models import Result
        from dispatch_runner.models.constraints import adapter

        print_document(channel, summarised(adapter(Result).validate_json(document)))


def _tell_to_end(place: "Place", now: bool) -> bool:
    """Whether it ran. A dispatch that has been told is told again only by `now`."""
    state = state_of(place)
    if state.status != "running" or state.pid is None:
        return False
    if not state.stopping:
        signal_holder(place, state.pid, signal.SIGTERM)
    if now:
        deadline = time.monotonic() + STOPPING_SECONDS
        while runs(place) and not state_of(place).stopping and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        signal_holder(place, state.pid, signal.SIGTERM)
    return True


def _wait_for_end(place: "Place", timeout: float | None) -> "SignalName | None":
    """Returns when the dispatch has ended, also by the death of its process, or when time is up; the
    signal that ended the waiting before, which is not the dispatch's business."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while runs(place) and (deadline is None or time.monotonic() < deadline):
            time.sleep(POLL_SECONDS)
    except Interrupted as interrupted:
        return interrupted.name
    return None


def _answer(
    place: "Place", channel: Channel, hint: str | None = None
) -> "tuple[int, DispatchState | None]":
    """Prints the state; and the exit code when it cannot be read."""
    try:
        state = state_of(place)
    except RecordError as error:
        return answer_unwritable(channel, error, _UNREADABLE), None
    print_document(channel, compacted(replace(state, hint=hint or _next(state))))
    return Exit.SUCCESS, state


def _next(state: "DispatchState") -> str:
    if state.status == "running":
        return f"still running: dispatch-runner wait {state.dispatch} --timeout 110"
    if state.status == "crashed":
        return (
            f"its process died; to run what is left: dispatch-runner resume {state.dispatch};"
            f" what had finished: dispatch-runner result {state.dispatch}"
        )
    if state.tasks.cancelled:
        return f"to run what was cancelled: dispatch-runner resume {state.dispatch}"
    return f"the whole result: dispatch-runner result {state.dispatch}"
