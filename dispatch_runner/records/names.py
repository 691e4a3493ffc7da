"""Task ids as file names: percent-quoted, never too long, never two for one file."""

import hashlib
import re

SAFE = re.compile(r"[A-Za-z0-9_.\-]{1,200}", re.ASCII)
LONGEST = 200
"""Bytes of a quoted id. What follows it, such as `.11.stdout`, fits in the 255 of a file system."""

TAKEN = frozenset({"request", "result", ".", ".."})
"""Our own files are `request.json` and `result.json`; two dots would name a folder."""

OUTPUT_SUFFIX = ".output"


class TaskNames:
    """The file name of every task of one dispatch, without its extension.

    Most ids are their own name. What a file name cannot hold is percent-quoted, as in URLs. An id
    that would meet another file - one of ours, or that of an id which differs only by case, on a
    file system that ignores case - is quoted character by character; a name that gets too long
    ends in `~` and a digest instead. So names depend on the order in which ids are first named:
    the index says which is whose.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._folded: set[str] = set()

    def take(self, task_id: str, name: str) -> None:
        """The task has that name, from an earlier process."""
        self._folded.add(name.lower())
        self._names[task_id] = name

    def name(self, task_id: str) -> str:
        """The name of a task; the same whenever it is asked for."""
        known = self._names.get(task_id)
        if known is not None:
            return known
        name = quote(task_id)
        folded = name.lower()
        if folded in self._folded or folded in TAKEN or folded.endswith(OUTPUT_SUFFIX):
            name = _shortened(_quote_all(task_id), task_id)
            folded = name.lower()
        self._folded.add(folded)
        self._names[task_id] = name
        return name


def quote(task_id: str) -> str:
    """Percent-quote what a file name cannot hold: `../x` gives `..%2Fx`."""
    if SAFE.fullmatch(task_id):
        return task_id
    return _shortened("".join(c if SAFE.fullmatch(c) else _quote_all(c) for c in task_id), task_id)


def _quote_all(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _shortened(name: str, task_id: str) -> str:
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{name[: LONGEST - 17]}~{digest}"
