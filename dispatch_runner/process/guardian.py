"""Sees to it that our programs end with us, also when we are killed and can do nothing any more.

Beside the first program a shell is started that waits on a pipe of which we alone have the other
end. When that end closes without a word, we were killed: the shell becomes the program `sweep`, which
ends everything that carries a marker or a tag of ours, and then itself.

The shell has a session of its own, none of our files, nothing of our name in its command line, and
ignores the signals that are meant for us. Linux only: elsewhere there is no process table to search.
"""

import atexit
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dispatch_runner.process.family import MARKER, orphans
from dispatch_runner.process.tags import OURS

if TYPE_CHECKING:
    import subprocess

SCRIPT = """trap '' HUP INT QUIT TERM; read -r end; exec "$PYTHON" -I -S - < "$SWEEP\""""
"""What is read and run comes by the environment: a command line can be seen and searched."""


class Guardian:
    """At most one process beside this one."""

    def __init__(self) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        self._pipe = -1

    def watch(self, prefix: str) -> None:
        """From now on our end is the end of all whose marker begins with the prefix.

        Nothing happens if there is a guardian, or none to be had now: the next call tries again.
        """
        if self._shell is None and sys.platform == "linux":
            with suppress(OSError):
                self._start(prefix)

    def dismiss(self) -> None:
        """Ends it: this process goes by itself and leaves nobody. Has ended when this returns."""
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.kill()
            shell.wait()
            orphans.companions.discard(shell.pid)
            self._close()

    def _start(self, prefix: str) -> None:
        import subprocess

        its_end, self._pipe = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", SCRIPT],
                stdin=its_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=self._environment(prefix),
                start_new_session=True,
            )
        except OSError:
            self._close()
            raise
        finally:
            os.close(its_end)
        orphans.companions.add(self._shell.pid)

    def _environment(self, prefix: str) -> dict[str, str]:
        environment = {
            "PYTHON": sys.executable,
            "SWEEP": str(Path(__file__).with_name("sweep.py")),
            # in two, since whoever looks for the marker's text shall not find the guardian
            "NAME": MARKER,
            "PREFIX": prefix,
            "TAG": str(OURS),
        }
        # inside another dispatcher's program it is a part of that one
        outer = os.environ.get(MARKER)
        return environment if outer is None else {**environment, MARKER: outer}

    def _close(self) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            os.close(pipe)

    def _forget(self) -> None:
        """In a process forked from ours: its end is not ours, and the shell not its child."""
        if self._shell is not None:
            self._shell.returncode = 0
            self._shell = None
        self._close()

    def _at_exit(self) -> None:
        if not orphans.programs:  # else it has something to do
            self.dismiss()


guardian = Guardian()
atexit.register(guardian._at_exit)
os.register_at_fork(after_in_child=guardian._forget)
