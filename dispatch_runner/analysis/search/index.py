"""Search in one folder: brings the index up to date when that is due, and asks it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread

from dispatch_runner.analysis.search.files import Entry, list_files, look_at
from dispatch_runner.analysis.search.store import Found, SearchProblem, Store
from dispatch_runner.paths import temporary_folder

__all__ = ["Hit", "SearchIndex", "SearchProblem", "cache_folder"]

FRESH_SECONDS = 5.0
"""For so long nobody looks for new files. A file that is about to be shown is always looked at."""

BATCH_BYTES = 2_000_000
BATCH_FILES = 200


class Hit(NamedTuple):
    """A piece of a file that fits a query."""

    path: Path
    line_start: int
    line_end: int
    symbols: tuple[str, ...]
    text: str
    score: float
    """BM25, more is better; comparable within one query."""


class SearchIndex:
    """The index of a folder. One object serves any number of queries at once."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        """The index is kept in `cache`; null: `cache_folder()`. Nothing is read yet."""
        self.root = root.resolve()
        self._store = Store(self.root, cache or cache_folder())
        self._lock: anyio.Lock | None = None
        self._refreshed = -FRESH_SECONDS
        self.files = 0
        """In the folder, at the last look."""
        self.truncated = False
        """Whether there were more files than are indexed."""

    async def search(self, words: Sequence[str], most: int, *, within: str = "") -> list[Hit]:
        """The pieces that hold any of the words, the best first; of files with `within` in their path.

        What is returned stood in the files a moment before. Cancelled during a long indexing, the
        next call goes on where it was.

        Raises:
            SearchProblem: the index cannot be used.
        """
        if not words:
            return []
        await self.refresh(max_age_seconds=FRESH_SECONDS)
        found = await self._find(words, within, most)
        if not await anyio.to_thread.run_sync(self._all_unchanged, found):
            await self.refresh()
            found = await self._find(words, within, most)
        return [
            Hit(self.root / each.entry.path, *each[1:3], each.symbols, each.text, each.score)
            for each in found
        ]

    async def refresh(self, *, max_age_seconds: float = 0.0) -> None:
        """Brings the index up to date, unless that was done so shortly ago."""
        self._lock = self._lock or anyio.Lock()
        began = time.monotonic()
        async with self._lock:
            if self._refreshed > began - max_age_seconds:
                return
            listing = await list_files(self.root)
            known = await anyio.to_thread.run_sync(self._store.known)
            self.files, self.truncated = len(listing.entries), listing.truncated
            changed = [
                entry
                for entry in listing.entries
                if entry.path not in known or not known[entry.path].is_current(entry)
            ]
            gone = sorted(known.keys() - {entry.path for entry in listing.entries})
            if gone:
                await anyio.to_thread.run_sync(self._store.remove, gone)
            for batch in _batches(changed):
                await anyio.to_thread.run_sync(self._store.update, batch)
            self._refreshed = time.monotonic()

    async def _find(self, words: Sequence[str], within: str, most: int) -> list[Found]:
        return await anyio.to_thread.run_sync(self._store.find, words, within, most)

    def _all_unchanged(self, found: Sequence[Found]) -> bool:
        entries = {each.entry for each in found}
        return all(look_at(str(self.root), entry.path) == entry for entry in entries)


def _batches(entries: Sequence[Entry]) -> list[list[Entry]]:
    batches: list[list[Entry]] = []
    size = 0
    for entry in entries:
        if not batches or size > BATCH_BYTES or len(batches[-1]) == BATCH_FILES:
            batches.append([])
            size = 0
        batches[-1].append(entry)
        size += entry.size
    return batches


def cache_folder() -> Path:
    """Where indexes are kept: `dispatch-runner/search` in the user's cache folder; for a user without a
    home a folder of its own among the temporary ones."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # noqa: PTH117 - a text that may be empty
        base = os.path.expanduser("~/.cache")  # noqa: PTH111 - no home is no error
    if not os.path.isabs(base):  # noqa: PTH117
        base = f"{temporary_folder()}/cache-{os.geteuid()}"
    return Path(base) / "dispatch-runner" / "search"
