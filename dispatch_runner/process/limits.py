"""What a program may use of the machine, held by the kernel."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CPU_SECONDS_TO_REACT = 1
"""Between SIGXCPU, which a program may handle, and SIGKILL."""

SHELL_OFFSET = 128
"""A shell whose program was ended by a signal exits with this and the signal's number."""


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Upper bounds for each process of a program, inherited by all that it starts; null: none.

    A process can lower its own, never raise them. A limit that already holds for this process holds on
    where it is the lower one.
    """

    memory_bytes: int | None = None
    """Of private writable memory: more is refused to the program. In units of 1 KiB. What it only
    reserves, as JavaScript and Go do by the gigabyte, does not count. (Linux; macOS has no such limit.)"""
    cpu_seconds: int | None = None
    """Of CPU time: then comes SIGXCPU, and a second of CPU time later SIGKILL."""
    open_files: int | None = None
    """Descriptors at once, the three of stdin, stdout and stderr included."""
    file_size_bytes: int | None = None
    """Of any file that it writes, stdout and stderr included unless they are read while it runs: more
    is refused, with SIGXFSZ. In units of 512 bytes."""

    def around(self, command: Sequence[str]) -> list[str]:
        """A command that sets the limits and becomes the program: a shell, for a millisecond."""
        steps = [f"ulimit {option} {value}" for option, value in self._settings()]
        return ["/bin/sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh", *command]

    def exceeded(self, returncode: int, cpu_seconds: float) -> str | None:
        """The limit that ended the program, for people, such as 'its limit of 10 seconds of CPU time'.

        Null where none did, or where it cannot be known: who is refused memory or files fails in its
        own way.
        """
        number = -returncode if returncode < 0 else returncode - SHELL_OFFSET
        if self.cpu_seconds is not None and (
            number == signal.SIGXCPU
            or (number == signal.SIGKILL and cpu_seconds >= self.cpu_seconds)
        ):
            unit = "second" if self.cpu_seconds == 1 else "seconds"
            return f"its limit of {self.cpu_seconds} {unit} of CPU time"
        if self.file_size_bytes is not None and number == signal.SIGXFSZ:
            return f"its limit of {self.file_size_bytes} bytes for a file"
        return None

    def _settings(self) -> Iterator[tuple[str, int]]:
        """Options of `ulimit` and their values, without those that would raise what holds already."""
        import resource

        wanted = (
            (resource.RLIMIT_DATA, self.memory_bytes, 1024, "d"),
            (resource.RLIMIT_CPU, self.cpu_seconds, 1, "t"),
            (resource.RLIMIT_NOFILE, self.open_files, 1, "n"),
            (resource.RLIMIT_FSIZE, self.file_size_bytes, 512, "f"),
        )
        for number, value, unit, letter in wanted:
            if value is None:
                continue
            soft, hard = resource.getrlimit(number)
            slack = CPU_SECONDS_TO_REACT if number == resource.RLIMIT_CPU else 0
            units = -(-value // unit)
            if soft == resource.RLIM_INFINITY or units * unit < soft:
                yield f"-S{letter}", units
            if hard == resource.RLIM_INFINITY or (units + slack) * unit < hard:
                yield f"-H{letter}", units + slack
