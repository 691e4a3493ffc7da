"""Python loads this at its start when its folder is on PYTHONPATH: a chosen system call goes wrong.

FAULT_PLAN holds what `support.faults.plan.Plan` wrote. The calls of the package itself are counted, and
each is noted in a file before it is made; a fault strikes the n-th that it is about. Clocks may jump.
"""

import errno
import fcntl
import functools
import json
import os
import signal
import sys
import threading
import time

PACKAGE = "dispatch_runner."
CALLS = (
    "open", "write", "pwrite", "rename", "unlink", "rmdir", "mkdir", "makedirs", "ftruncate",
    "posix_fallocate", "fdatasync", "fsync", "fchmod", "link",
)  # fmt: skip
FAR = 300
"""The note's descriptor is up there, so that those of the program are what they would be."""


class Injection:
    """What was planned, and how often each fault has been passed."""

    def __init__(self, plan):
        self._faults = plan["faults"]
        self._passed = [0] * len(self._faults)
        self._lock = threading.Lock()
        self._write, self._kill, self._pid = os.write, os.kill, os.getpid()
        opened = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, FAR)
        os.close(opened)

    def around(self, name, call, always=False):
        """The same call, with its faults."""

        @functools.wraps(call)
        def wrapped(*arguments, **options):
            module = sys._getframe(1).f_globals.get("__name__", "")
            if not always and not module.startswith(PACKAGE):
                return call(*arguments, **options)
            fault = self._due(name, arguments)
            if fault is None:
                return call(*arguments, **options)
            return self._strike(fault, call, arguments, options)

        return wrapped

    def _due(self, name, arguments):
        with self._lock:
            self._note(f"{name} {arguments[0]!r}" if arguments else name)
            due = None
            for number, fault in enumerate(self._faults):
                if fault["calls"] and name not in fault["calls"]:
                    continue
                self._passed[number] += 1
                if self._passed[number] in range(fault["nth"], fault["nth"] + fault["times"]):
                    due = due or fault
            return due

    def _note(self, text):
        if os.getpid() == self._pid:  # a guardian or a fork has a life of its own
            self._write(self._log, text[:200].encode("utf-8", "replace") + b"\n")

    def _strike(self, fault, call, arguments, options):
        self._note(f"* {fault['do']} {fault['value']}")
        if fault["do"] == "error":
            code = getattr(errno, fault["value"])
            raise OSError(code, os.strerror(code))
        if fault["do"] == "short":
            descriptor, data, *rest = arguments
            return call(descriptor, bytes(data)[: max(1, len(data) // 2)], *rest)
        number = getattr(signal, fault["value"])
        if fault["after"]:
            done = call(*arguments, **options)
            self._kill(os.getpid(), number)
            return done
        self._kill(os.getpid(), number)
        return call(*arguments, **options)


def jumping(now, seconds):
    """A wall clock that is set forward and back again, from one reading to the next."""
    readings = 0

    @functools.wraps(now)
    def told():
        nonlocal readings
        readings += 1
        return now() + (seconds if readings % 2 else -seconds)

    return told


def install(plan):
    injection = Injection(plan)
    for name in CALLS:
        call = getattr(os, name)
        wrapped = injection.around(name, call)
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            if call in able:
                able.add(wrapped)
        setattr(os, name, wrapped)
    fcntl.flock = injection.around("flock", fcntl.flock)
    import _posixsubprocess

    _posixsubprocess.fork_exec = injection.around("spawn", _posixsubprocess.fork_exec, always=True)
    if plan["clock_jump"]:
        time.time = jumping(time.time, plan["clock_jump"])


if "FAULT_PLAN" in os.environ:
    install(json.loads(os.environ["FAULT_PLAN"]))
