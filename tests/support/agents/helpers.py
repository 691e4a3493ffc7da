"""Processes that stand-ins start and leave behind, and ears that hear no signal.

A stand-in runs with `python -I`, which leaves its own folder off the path: it adds that before it
imports this.
"""

import signal
import subprocess
import sys

CODE = (
    "import signal, time; signal.signal(signal.SIGINT, {0}); signal.signal(signal.SIGTERM, {0});"
    " time.sleep(1000)"
)


def start_helper(*, deaf=False, new_session=True):
    """A process that runs for ever, and holds none of our pipes."""
    code = CODE.format("signal.SIG_IGN" if deaf else "signal.SIG_DFL")
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        start_new_session=new_session,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def turn_deaf():
    """From now on we hear neither SIGINT nor SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
