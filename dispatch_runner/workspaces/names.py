"""Task ids as names of branches and folders: percent-quoted, never two for one."""

import hashlib
import re

PREFIX = "dispatch-runner/"
"""Of every branch that we make."""

MERGED_SUFFIX = "-merged"
LONGEST = 150
_SAFE = re.compile(r"[A-Za-z0-9_-](?:\.?[A-Za-z0-9_-])*", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)
_QUOTED = re.compile(r"(?:%[0-9A-F]{2})+")


class BranchNames:
    """The last part of the branch of every task of a dispatch, which is its folder's name, too.

    Git refuses some names, file systems cut others, and some ignore case: an id that would meet
    another one ends in a digest.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._folded: set[str] = set()

    def name(self, task_id: str) -> str:
        """The name of a task; the same whenever it is asked for."""
        if task_id not in self._names:
            name = quoted(task_id)
            if name.lower() in self._folded:
                name = f"{name[:LONGEST]}-{digest(task_id)}"
            self._folded.add(name.lower())
            self._names[task_id] = name
        return self._names[task_id]


def quoted(task_id: str) -> str:
    """`../x y` gives `%2E%2E%2Fx%20y`."""
    if _SAFE.fullmatch(task_id) and len(task_id) <= LONGEST and not task_id.endswith(".lock"):
        return task_id if not task_id.startswith("-") else "%2D" + task_id[1:]
    name = _UNSAFE.sub(lambda found: _percent(found[0]), task_id).replace(".", "%2E")
    name = "%2D" + name[1:] if name.startswith("-") else name
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}-{digest(task_id)}"


def unquoted(name: str) -> str:
    """The task's id, for people: one that was too long stays cut."""
    return _QUOTED.sub(lambda found: _bytes(found[0]).decode("utf-8", "replace"), name)


def shown(path: str) -> str:
    """A path as text for documents: bytes that are no UTF-8 are replaced."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def digest(text: str) -> str:
    """Few hexadecimal digits that tell two texts apart."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def task_branch(dispatch: str, name: str) -> str:
    """The branch of a task."""
    return f"{PREFIX}{dispatch}/{name}"


def merged_branch(dispatch: str) -> str:
    """The branch of a dispatch. Not `dispatch-runner/<dispatch>`: git would keep that as a file where
    the tasks' branches need a folder."""
    return f"{PREFIX}{dispatch}{MERGED_SUFFIX}"


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("%", ""))
