"""File tools for a bare model: what an agent's program would bring along.

Every path is resolved and must be in the workspace or an allowed root; files that usually hold
secrets, and those of git itself, are no business of a model. No tool starts a program.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import anyio.to_thread

from dispatch_runner.analysis.search.files import Entry, is_private, list_files, read_text
from dispatch_runner.models import JsonObject
from dispatch_runner.paths import AllowedRoots, identity
from dispatch_runner.protocols import Access, AgentCall, ToolInfo

MOST_LINES = 2_000
MOST_CHARACTERS = 100_000
"""Of what a tool says at once."""
MOST_NAMES = 1_000
MOST_HITS = 200
HIT_CHARACTERS = 300
NAME_CHARACTERS = 64
"""Of a tool, with every provider."""


class ToolTrouble(Exception):
    """Why a tool did not do what it was asked; the model is told, and may do better."""


class Denied(ToolTrouble):
    """It may not: the task's outcome says so."""


class ModelTool(NamedTuple):
    """A tool that a model may call."""

    name: str
    description: str
    schema: JsonObject
    run: Callable[[JsonObject], Awaitable[Any]]
    """The answer, as JSON. Raises `ToolTrouble`."""
    writes: bool = False
    """Whether it changes a file that a path of its arguments names."""

    def is_in(self, names: Sequence[str] | None) -> bool:
        """Whether a role that names its tools, as in Claude Code, names this one; null names all."""
        if names is None:
            return True
        called = (self.name, *ALIASES.get(self.name, ()))
        return any(
            fnmatchcase(own, name) or own.startswith(f"{name}__")
            for name in names
            for own in called
        )


def server_tools(offered: Sequence[ToolInfo], call: AgentCall) -> list[ModelTool]:
    """The tools of MCP servers: `SERVER/TOOL` becomes `mcp__SERVER__TOOL`, as roles name them."""
    return [_server_tool(each, call) for each in offered]


def _server_tool(info: ToolInfo, call: AgentCall) -> ModelTool:
    async def run(given: JsonObject) -> Any:
        answer = await call.tools.call(info.name, given, call.log)
        if answer.status != "ok":
            raise ToolTrouble(answer.reason or "the tool failed without a reason")
        return answer.output

    name = f"mcp__{info.name.replace('/', '__')}" if "/" in info.name else info.name
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:NAME_CHARACTERS]
    return ModelTool(safe, info.description, {"type": "object", **info.input_schema}, run)


ALIASES = {
    "read_file": ("Read", "NotebookRead"),
    "list_files": ("Glob", "LS"),
    "search": ("Grep",),
    "write_file": ("Write",),
    "replace_in_file": ("Edit", "MultiEdit"),
}
"""What the tools are called where roles name them."""


class FileTools:
    """The tools for one call."""

    def __init__(self, workspace: Path, roots: AllowedRoots) -> None:
        """Relative paths are below the workspace, which is allowed, too."""
        self._workspace = identity(str(workspace))
        self._roots = AllowedRoots(tuple(dict.fromkeys((self._workspace, *roots.roots))))

    def offered(self, access: Access) -> list[ModelTool]:
        """Those that the access allows. None runs programs: `execute` is no more than `edit`."""
        tools = [
            ModelTool("read_file", _READ, _schema(path=TEXT, offset=LINE, limit=LINES), self._read),
            ModelTool("list_files", _LIST, _schema(folder=FOLDER, pattern=PATTERN), self._list),
            ModelTool(
                "search", _SEARCH, _schema(text=TEXT, folder=FOLDER, pattern=PATTERN), self._search
            ),
            ModelTool(
                "write_file", _WRITE, _schema(path=TEXT, content=TEXT), self._write, writes=True
            ),
            ModelTool(
                "replace_in_file",
                _EDIT,
                _schema(path=TEXT, old=TEXT, new=TEXT),
                self._edit,
                writes=True,
            ),
        ]
        return [tool for tool in tools if access != "read" or not tool.writes]

    async def _read(self, given: JsonObject) -> str:
        path = self._allowed(_text(given, "path"))
        lines = (await anyio.to_thread.run_sync(_content, path)).splitlines(keepends=True)
        first = max(1, _number(given, "offset", 1))
        shown = lines[first - 1 : first - 1 + max(1, _number(given, "limit", MOST_LINES))]
        text = "".join(shown[:MOST_LINES])[:MOST_CHARACTERS]
        last = first - 1 + len(text.splitlines())
        if first == 1 and last == len(lines) and len(text) == len("".join(lines)):
            return text
        return f"[lines {first} to {last} of {len(lines)}]\n{text}"

    async def _list(self, given: JsonObject) -> str:
        folder = self._folder(given)
        names = [f"{folder}/{entry.path}" for entry in await _entries(folder, given)]
        if len(names) > MOST_NAMES:
            cut = f"[the first {MOST_NAMES} of {len(names)} files; name a folder or a pattern]"
            names = [*names[:MOST_NAMES], cut]
        return "\n".join(names) or "[no such files]"

    async def _search(self, given: JsonObject) -> str:
        wanted, folder = _text(given, "text"), self._folder(given)
        if not wanted.strip():
            raise ToolTrouble("'text' is empty: say what to search for")
        entries = await _entries(folder, given)
        hits = await anyio.to_thread.run_sync(
            _hits, wanted, folder, entries, abandon_on_cancel=True
        )
        return "\n".join(hits) or "[it stands nowhere]"

    async def _write(self, given: JsonObject) -> str:
        path, content = self._allowed(_text(given, "path"), writes=True), _text(given, "content")
        await anyio.to_thread.run_sync(_put, path, content)
        return f"wrote {path}"

    async def _edit(self, given: JsonObject) -> str:
        path = self._allowed(_text(given, "path"), writes=True)
        old, new = _text(given, "old"), _text(given, "new")
        content = await anyio.to_thread.run_sync(_content, path)
        count = content.count(old) if old else 0
        if count != 1:
            raise ToolTrouble(
                f"'old' stands {count} times in '{path}': give text that is there once"
            )
        await anyio.to_thread.run_sync(_put, path, content.replace(old, new))
        return f"changed {path}"

    def _folder(self, given: JsonObject) -> str:
        folder = self._allowed(_text(given, "folder", "."))
        if not Path(folder).is_dir():
            raise ToolTrouble(f"there is no folder '{folder}'")
        return folder

    def _allowed(self, path: str, *, writes: bool = False) -> str:
        """The path that is really meant. Raises `Denied`."""
        whole = os.path.join(self._workspace, path)  # noqa: PTH118 - text in, text out
        if problem := self._roots.problem(whole):
            code, message, hint = problem
            if code == "path_outside_roots":
                raise Denied(f"{message}; {hint}")
            raise ToolTrouble(f"{message}; {hint}")
        resolved = identity(whole)
        if is_private(self._below_root(resolved)):
            doing = "written" if writes else "read"
            raise Denied(f"'{resolved}' may hold secrets or belongs to git: it may not be {doing}")
        return resolved

    def _below_root(self, path: str) -> str:
        """The part that the operator did not choose: a workspace may be anywhere."""
        roots = [f"{root.rstrip('/')}/" for root in self._roots.roots]
        within = [root for root in roots if path.startswith(root)]
        return path.removeprefix(max(within, key=len, default=""))


_READ = (
    "Reads a text file. Relative paths are below the working directory."
    f" At most {MOST_LINES} lines at once."
)
_LIST = (
    "Lists the files below a folder, with their absolute paths. Left out are empty files, and what git"
    " ignores."
)
_SEARCH = (
    "Searches the files below a folder for a text, exactly as it is written (no pattern)."
    " Gives file, line number and line."
)
_WRITE = "Writes a text file whole: makes it, with its folders, or replaces it."
_EDIT = "Replaces one passage of a text file, which must stand there exactly once, by another."

TEXT: JsonObject = {"type": "string"}
FOLDER: JsonObject = {"type": "string", "description": "Default: the working directory."}
PATTERN: JsonObject = {"type": "string", "description": "A glob for the path, such as `*.py`."}
LINE: JsonObject = {"type": "integer", "description": "The first line, from 1."}
LINES: JsonObject = {"type": "integer", "description": "How many lines."}


def _schema(**properties: JsonObject) -> JsonObject:
    """All are required but those that say something of themselves: these have a default."""
    required = [name for name, each in properties.items() if "description" not in each]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _text(given: JsonObject, name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise ToolTrouble(f"'{name}' must be a string")
    return value


def _number(given: JsonObject, name: str, default: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ToolTrouble(f"'{name}' must be an integer")
    return value


async def _entries(folder: str, given: JsonObject) -> list[Entry]:
    pattern = _text(given, "pattern", "*")
    listing = await list_files(Path(folder))
    return [
        entry
        for entry in listing.entries
        if fnmatchcase(entry.path, pattern) or fnmatchcase(entry.path.rpartition("/")[2], pattern)
    ]


def _hits(wanted: str, folder: str, entries: list[Entry]) -> list[str]:
    found: list[str] = []
    for hit in _each_hit(wanted, folder, entries):
        if len(found) == MOST_HITS:
            return [*found, f"[there are more than {MOST_HITS}; name a folder or a pattern]"]
        found.append(hit)
    return found


def _each_hit(wanted: str, folder: str, entries: list[Entry]) -> Iterator[str]:
    raw = wanted.encode("utf-8", "surrogatepass")
    for entry in entries:
        content = read_text(folder, entry)
        if content is None or raw not in content:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            if wanted in line:
                yield f"{folder}/{entry.path}:{number}: {line.strip()[:HIT_CHARACTERS]}"


def _content(path: str) -> str:
    try:
        status = os.stat(path)  # noqa: PTH116 - text in, text out
    except OSError as error:
        raise ToolTrouble(f"cannot read '{path}': {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise ToolTrouble(f"'{path}' is a folder")
    folder, _, name = path.rpartition("/")
    content = read_text(folder, Entry(name, status.st_size, status.st_mtime_ns, status.st_ino))
    if content is None:
        raise ToolTrouble(f"'{path}' is no text file that can be shown, or is too big")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ToolTrouble(f"'{path}' is not UTF-8 text") from None


def _put(path: str, content: str) -> None:
    """Through no link, and into regular files only: what else has that name is left alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        raw = content.encode()  # before anything is touched
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ToolTrouble(f"'{path}' is no regular file")
            file.truncate()
            file.write(raw)
    except (OSError, UnicodeEncodeError) as error:
        raise ToolTrouble(f"cannot write '{path}': {error}") from None
