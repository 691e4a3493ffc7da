"""The index of one folder on disk: an SQLite file that any number of processes may use at once.

Everything here blocks: call it in a thread. Each operation opens the file, holds a lock of the operating
system on a file beside it, and closes it again, so that a broken index can be replaced at any time.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple, TypeVar

from dispatch_runner.analysis.search.chunks import Chunk, chunks
from dispatch_runner.analysis.search.files import Entry, read_text
from dispatch_runner.analysis.search.words import camel_words

FORMAT = 1
LOCK_SECONDS = 10.0
LOCK_POLL_SECONDS = 0.005
RACY_NS = 2_000_000_000
"""A file that was changed so shortly before it was read may change again within its time stamp."""

MOST_RANKED = 5_000
"""Pieces that are ranked in some 8 ms."""

PROSE = (".md", ".mdx", ".markdown", ".rst", ".txt")
_SCHEMA = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, size INTEGER, mtime_ns INTEGER, inode INTEGER,
    hash TEXT, checked_ns INTEGER
);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL, line_start INTEGER, line_end INTEGER
);
CREATE INDEX chunks_of_file ON chunks (file);
CREATE VIRTUAL TABLE texts USING fts5 (
    path, symbols, words, body, tokenize = "porter unicode61 remove_diacritics 2"
);
INSERT INTO texts (texts, rank) VALUES ('rank', 'bm25(2.0, 4.0, 1.0, 1.0)');
"""
_RANKED = "SELECT rowid, rank AS score FROM texts WHERE texts MATCH :match"
_FIND = """
SELECT files.path, size, mtime_ns, inode, line_start, line_end, symbols, body, score
FROM ({} ORDER BY rank LIMIT :most) AS ranked
JOIN texts ON texts.rowid = ranked.rowid
JOIN chunks ON chunks.id = ranked.rowid JOIN files ON files.id = chunks.file ORDER BY score
"""
_FIND_ANYWHERE = _FIND.format(_RANKED)
_FIND_WITHIN = _FIND.format(f"{_RANKED} AND instr(path, :within)")
"""Slower: the path of everything that fits is read."""

_PARTS = "\n\n"
"""Between the names in a column and the words that they are made of."""

Answer = TypeVar("Answer")


class SearchProblem(Exception):
    """The index cannot be used. The message says why."""


class Found(NamedTuple):
    """A piece of a file that fits."""

    entry: Entry
    """The file as it was when it was read."""
    line_start: int
    line_end: int
    symbols: tuple[str, ...]
    text: str
    score: float
    """More is better."""


class Known(NamedTuple):
    """What is in the index about a file."""

    entry: Entry
    checked_ns: int

    def is_current(self, entry: Entry) -> bool:
        """Whether the file has surely not changed since it was read."""
        return self.entry == entry and entry.mtime_ns < self.checked_ns - RACY_NS


class Store:
    """The index of one folder, which is given without links."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root = root
        name = sha256(os.fsencode(root)).hexdigest()[:24]
        self._cache = cache
        self.file = cache / f"{name}.sqlite"
        self._lock_file = cache / f"{name}.lock"

    def known(self) -> dict[str, Known]:
        """All files of the index by their paths."""

        def read(database: sqlite3.Connection) -> dict[str, Known]:
            rows = database.execute("SELECT path, size, mtime_ns, inode, checked_ns FROM files")
            return {row[0]: Known(Entry(*row[:4]), row[4]) for row in rows}

        return self._use(read)

    def update(self, entries: Sequence[Entry]) -> None:
        """Reads these files again, and puts what has changed into the index."""
        read = [self._read(entry) for entry in entries]

        def write(database: sqlite3.Connection) -> None:
            for each in read:
                _put(database, *each)

        self._use(write)

    def _read(self, entry: Entry) -> tuple[Entry, int, str, list[Chunk]]:
        checked = time.time_ns()
        content = read_text(str(self.root), entry)
        if content is None:
            return entry, checked, "", []
        text = content.decode("utf-8", "replace").replace("\r\n", "\n")
        is_prose = entry.path.endswith(PROSE)
        return entry, checked, sha256(content).hexdigest(), list(chunks(text, is_prose=is_prose))

    def remove(self, paths: Sequence[str]) -> None:
        """Forgets files."""

        def write(database: sqlite3.Connection) -> None:
            for path in paths:
                _forget(database, path)

        self._use(write)

    def find(self, words: Sequence[str], within: str, most: int) -> list[Found]:
        """The pieces with any of the words and `within` in their path, the best first."""

        def read(database: sqlite3.Connection) -> list[Found]:
            counts = {word: _count(database, word) for word in words}
            found = _ask(database, expression(counts), within, most)
            return found or _ask(database, expression(counts, sys.maxsize), within, most)

        return self._use(read)

    def _use(self, action: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Does something in one transaction. An index that is broken is made anew, once.

        Raises:
            SearchProblem: there is no place for the index, or others hold it for too long.
        """
        try:
            with self._locked():
                try:
                    return self._transaction(action)
                except sqlite3.DatabaseError:
                    self._discard()
                    return self._transaction(action)
        except (OSError, sqlite3.Error) as error:
            raise SearchProblem(f"cannot use the index {str(self.file)!r}: {error}") from error

    def _transaction(self, action: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with closing(self._connect()) as database:
            database.execute("BEGIN IMMEDIATE")
            answer = action(database)
            database.execute("COMMIT")
            return answer

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.file, isolation_level=None)
        try:
            _prepare(database)
        except BaseException:
            database.close()
            raise
        return database

    def _discard(self) -> None:
        for path in (self.file, Path(f"{self.file}-journal")):
            path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_private(self._cache)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._lock_file, flags, 0o600)
        try:
            _wait_for_lock(descriptor)
            os.close(os.open(self.file, flags, 0o600))
            yield
        finally:
            os.close(descriptor)


def _ask(database: sqlite3.Connection, match: str, within: str, most: int) -> list[Found]:
    values = {"match": match, "within": within, "most": most}
    rows = database.execute(_FIND_WITHIN if within else _FIND_ANYWHERE, values)
    return [_found(*row) for row in rows]


def _count(database: sqlite3.Connection, word: str) -> int:
    """How many pieces hold a word."""
    count = "SELECT count(*) FROM texts WHERE texts MATCH ?"
    return int(database.execute(count, (_quoted(word),)).fetchone()[0])


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def expression(counts: Mapping[str, int], most_ranked: int = MOST_RANKED) -> str:
    """What to ask FTS5 for, given how many pieces hold each word.

    Any word will do, as long as not many more pieces than `most_ranked` have to be ranked. Words that
    are too common select pieces only where they stand together; for the ranking they all count.
    """
    words = sorted(counts, key=lambda word: counts[word])
    sums = accumulate(counts[word] for word in words)
    telling = sum(total <= most_ranked for total in sums)
    if len(words) - telling == 1 and not any(counts[word] for word in words[:telling]):
        telling += 1
    common = list(map(_quoted, words[telling:]))
    every = " OR ".join(map(_quoted, words))
    if not common:
        return every
    parts = list(map(_quoted, words[:telling]))
    if len(common) > 1:
        parts.append(f"({' AND '.join(common)})")
    return f"({' OR '.join(parts)}) AND ({every})"


def _found(
    path: str,
    size: int,
    mtime: int,
    inode: int,
    start: int,
    end: int,
    names: str,
    text: str,
    rank: float,
) -> Found:
    symbols = tuple(filter(None, names.partition(_PARTS)[0].split("\n")))
    return Found(Entry(path, size, mtime, inode), start, end, symbols, text, -rank)


def _prepare(database: sqlite3.Connection) -> None:
    # a cache: after a crash of the machine it is made anew
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -32000")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == FORMAT:
        return
    if database.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
        raise sqlite3.DatabaseError("it has another format")
    database.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {FORMAT};COMMIT;")


def make_private(folder: Path) -> None:
    """Makes sure that a folder is there and is ours alone.

    Raises:
        OSError: it cannot be made, or is a link or somebody else's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise OSError(f"'{folder}' is not a folder of this user")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _wait_for_lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TimeoutError("another process holds it for too long") from error
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return


def _put(
    database: sqlite3.Connection, entry: Entry, checked: int, digest: str, pieces: list[Chunk]
) -> None:
    row = database.execute("SELECT id, hash FROM files WHERE path = ?", (entry.path,)).fetchone()
    state = (entry.size, entry.mtime_ns, entry.inode, checked)
    if row is not None and row[1] == digest:
        change = "UPDATE files SET size = ?, mtime_ns = ?, inode = ?, checked_ns = ? WHERE id = ?"
        database.execute(change, (*state, row[0]))
        return
    _forget(database, entry.path)
    new = "INSERT INTO files (size, mtime_ns, inode, checked_ns, path, hash) VALUES (?, ?, ?, ?, ?, ?)"
    file = database.execute(new, (*state, entry.path, digest)).lastrowid
    for each in pieces:
        place = "INSERT INTO chunks (file, line_start, line_end) VALUES (?, ?, ?)"
        chunk = database.execute(place, (file, each.line_start, each.line_end)).lastrowid
        text = "INSERT INTO texts (rowid, path, symbols, words, body) VALUES (?, ?, ?, ?, ?)"
        words = camel_words(f"{entry.path}\n{each.body}")
        names = "\n".join(each.symbols)
        symbols = f"{names}{_PARTS}{camel_words(names)}"
        database.execute(text, (chunk, entry.path, symbols, words, each.body))


def _forget(database: sqlite3.Connection, path: str) -> None:
    row = database.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
    if row is not None:
        of_file = "(SELECT id FROM chunks WHERE file = ?)"
        database.execute(f"DELETE FROM texts WHERE rowid IN {of_file}", row)  # noqa: S608 - a constant
        database.execute("DELETE FROM chunks WHERE file = ?", row)
        database.execute("DELETE FROM files WHERE id = ?", row)
