"""Who belongs to a program: its descendants, whoever their parent became.

On Linux this process becomes the parent of every orphan among its descendants (child subreaper), so
a family is: the tree below the program, and the trees below those orphans that carry the program's
marker in their environment, its tag (see `tags`), or are in its session or process group. Never by name.

A process that left the tree, its session and its group, emptied its environment and changed that limit as
well cannot be told from another's: `everything` finds it at the end.

Elsewhere a family is the program's process group.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dispatch_runner.marks import MARKER as MARKER
from dispatch_runner.process.tags import tag_of

EXEC_LOOKS = 40
EXEC_PAUSE_SECONDS = 0.0005
EMPTY_LOOKS = 3
"""How often an environment must look empty, outside such a change, to be taken for empty."""
ZOMBIES = frozenset({b"Z", b"X"})


@dataclass(frozen=True, slots=True)
class Member:
    """A process, as seen at one moment."""

    pid: int
    parent: int
    group: int
    session: int
    started: int
    """Clock ticks since boot; with `pid` it names one process for ever."""
    alive: bool
    in_exec: bool
    """Whether it is just becoming another program, or its environment cannot be seen."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A child of ours that we did not start."""

    started: int
    keys: frozenset[str | int]
    """Its markers, its tag, its session and its group when it was first seen."""


class Orphans:
    """The children that this process did not start through `launch`."""

    def __init__(self) -> None:
        self.programs: set[int] = set()
        """The children that were started and are not reaped yet."""
        self.companions: set[int] = set()
        """Other children that were started; they are of no program and end with this process."""
        self.adopted = False
        """Whether orphans come to this process and can be seen."""
        self.inherited = False
        """Whether there were children before us: a shell that became this process had some running."""
        self._seen: dict[int, Orphan] = {}
        self._of: dict[str | int, set[int]] = {}
        """By key: hundreds of programs may look for their own among a thousand at once."""

    def of(self, program: int, marker: str, tag: int) -> set[int]:
        """Ids of the orphans of one program among those seen, dead ones included."""
        if not self._seen:
            return set()
        return set().union(*(self._of.get(key, ()) for key in (marker, program, tag)))

    def refresh(self) -> None:
        """Sees the orphans that there are now. Costs microseconds when there are none."""
        now = set(_children_of_thread(os.getpid(), os.getpid())) - self.programs - self.companions
        for pid in self._seen.keys() - now:
            self.forget(pid)
        for pid in now - self._seen.keys():
            member, marker = look_at(pid), _marker_of(pid)
            if member is not None and marker is not None:
                self._add(member, marker)

    def forget(self, pid: int) -> None:
        """The process is gone or about to be reaped, and its id free for another."""
        orphan = self._seen.pop(pid, None)
        for key in orphan.keys if orphan else ():
            self._of[key].discard(pid)
            if not self._of[key]:
                del self._of[key]

    def is_another(self, member: Member) -> bool:
        """Whether an orphan's id was taken over by another process."""
        orphan = self._seen.get(member.pid)
        return orphan is not None and orphan.started != member.started

    def _add(self, member: Member, marker: str) -> None:
        keys: frozenset[str | int]
        tag = tag_of(member.pid)
        known = () if tag is None else (tag,)
        keys = frozenset((*_outer_markers(marker), member.session, member.group, *known))
        self._seen[member.pid] = Orphan(member.started, keys)
        for key in keys:
            self._of.setdefault(key, set()).add(member.pid)


orphans = Orphans()


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants' orphans, and lets it learn how they ended.

    Where the system has no such thing, orphans are found by their process group alone.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # inherited: exit codes would be lost
        with contextlib.suppress(ValueError):  # not the main thread: `Child.poll` will complain
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        import ctypes

        set_child_subreaper = 36
        failed = ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
        orphans.inherited = bool(set(_children(os.getpid())) - orphans.programs)
        listed = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
        orphans.adopted = listed and not failed


def look_at(pid: int) -> Member | None:
    """The process with this id, or null."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name in parentheses may hold anything, so fields are counted from its end.
    fields = line[line.rindex(b")") + 2 :].split()
    # The first thread of a process may end before the others: a zombie that still runs.
    alive = fields[0] not in ZOMBIES or int(fields[17]) > 1
    parent, group_id, session, started = (int(fields[n]) for n in (1, 2, 3, 19))
    return Member(pid, parent, group_id, session, started, alive, in_exec=fields[48] == b"0")


def family(program: int, marker: str, tag: int, *, with_program: bool, fresh: bool) -> list[Member]:
    """Everyone who belongs to a program and is alive; adopted ones that are dead are reaped.

    No one at all is always the truth of this moment; others may be what was known a moment ago,
    unless it is to be `fresh`, which costs more when many orphans are about.
    Where orphans are not adopted: one member that stands for the process group, by its negative id.
    """
    if not orphans.adopted:
        return group(program)
    own = {program} if with_program else set()
    if not fresh and (known := _living(own | orphans.of(program, marker, tag))):
        return known
    orphans.refresh()
    return _living(own | orphans.of(program, marker, tag))


def group(program: int) -> list[Member]:
    """The program's process group as one member, or nothing when no one is left in it."""
    try:
        os.kill(-program, 0)
    except ProcessLookupError:
        return []
    except PermissionError:  # macOS: all that is left are zombies
        return []
    return [Member(-program, 0, program, program, 0, alive=True, in_exec=False)]


def everything() -> list[Member]:
    """Every living descendant of this process; adopted ones that are dead are reaped.

    No one where there were children before us: theirs cannot be told from ours.
    """
    if orphans.inherited:
        return []
    return _living(set(_children(os.getpid())) - orphans.companions)


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether the process ignores a signal, as far as can be seen."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            status = file.read()
        mask = int(status.split(b"SigIgn:")[1].split(None, 1)[0], 16)
    except (OSError, IndexError):
        return False
    return bool(mask >> (number - 1) & 1)


def _living(roots: set[int]) -> list[Member]:
    found: dict[int, Member] = {}
    queue = list(roots)
    while queue:
        pid = queue.pop()
        member = None if pid in found else look_at(pid)
        if member is not None and not orphans.is_another(member):
            found[pid] = member
            queue += _children(pid)
    us = os.getpid()
    for pid, member in found.items():
        if not member.alive and member.parent == us and pid not in orphans.programs:
            _reap(pid)
    return [member for member in found.values() if member.alive]


def _reap(pid: int) -> None:
    orphans.forget(pid)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _outer_markers(marker: str) -> Iterator[str]:
    """The marker itself and those of the programs around it."""
    parts = marker.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts) + 1) if marker)


def _marker_of(pid: int) -> str | None:
    """The marker in a process's environment; empty if there is none; null if it is not known yet.

    While a process becomes another program, for some microseconds, its environment looks empty.
    """
    empty = 0
    for _ in range(EXEC_LOOKS):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                content = file.read()
        except OSError:
            return ""
        if content:
            prefix = MARKER.encode() + b"="
            found = (each for each in content.split(b"\0") if each.startswith(prefix))
            return next(found, prefix)[len(prefix) :].decode("utf-8", "replace")
        if _is_in_exec(pid):
            empty = 0
            time.sleep(EXEC_PAUSE_SECONDS)
            continue
        empty += 1  # it may have become the other program between the two looks
        if empty == EMPTY_LOOKS:
            return ""
    return None


def _is_in_exec(pid: int) -> bool:
    member = look_at(pid)
    return member is not None and member.alive and member.in_exec


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [child for thread in threads for child in _children_of_thread(pid, thread)]


def _children_of_thread(pid: int, thread: int | str) -> list[int]:
    try:
        descriptor = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY)
    except OSError:
        return []
    content = b""
    try:
        while part := os.read(descriptor, 1 << 16):  # at most a page at a time
            content += part
    except OSError:
        return []
    finally:
        os.close(descriptor)
    return [int(child) for child in content.split()]
