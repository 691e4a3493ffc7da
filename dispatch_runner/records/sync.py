"""Group commit: records outlive a power failure, and nobody pays one sync per task for it.

One thread syncs whatever has been queued while its last sync ran: the files first, then the names
in their folders, then the journal. A record of the journal that outlives a power failure therefore
never speaks of a file that does not.
"""

import os
import threading
from collections.abc import Callable

from dispatch_runner.errors import RecordError
from dispatch_runner.records.folder import Folder, reason
from dispatch_runner.records.journal import Journal

FEW_FILES = 64
"""Up to here files are synced one by one. Beyond, one `syncfs` costs less (1,000 traces: 12 ms
instead of 140), although it also writes what other programs have left unwritten on that disk."""


class SyncThread:
    """Syncs in the background. Starts its thread when it is first given something."""

    def __init__(self, run_folder: Folder, journal: Journal) -> None:
        self._folder = run_folder
        self._journal = journal
        self._changed = threading.Condition()
        self._queue: list[tuple[Folder, str]] = []
        self._journal_dirty = False
        self._busy = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._syncfs: Callable[[int], int] | None = None
        self.failure: RecordError | None = None
        """The first sync that failed. It is never tried again: the kernel may have dropped what it
        could not write, so a second sync that succeeds proves nothing."""

    def request(self, *files: tuple[Folder, str]) -> None:
        """Have these files, and all that the journal holds now, synced. Returns at once."""
        with self._changed:
            self._queue.extend(files)
            self._journal_dirty = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="records-sync", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self) -> None:
        """Block until everything requested so far is safe.

        Raises:
            RecordError: something could not be synced.
        """
        with self._changed:
            while self.failure is None and (self._journal_dirty or self._busy):
                self._changed.wait()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """End the thread, after the sync that it is in; what is queued is left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            try:
                self._sync_files(batch)
                self._journal.sync()
            except RecordError as error:
                self._settle(error)
                return
            except OSError as error:
                self._settle(RecordError("sync records in", self._folder.path, reason(error)))
                return
            self._settle(None)

    def _take(self) -> list[tuple[Folder, str]] | None:
        with self._changed:
            while not self._journal_dirty and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            batch, self._queue = self._queue, []
            self._journal_dirty = False
            self._busy = True
            return batch

    def _settle(self, failure: RecordError | None) -> None:
        with self._changed:
            self._busy = False
            self.failure = failure
            self._changed.notify_all()

    def _sync_files(self, batch: list[tuple[Folder, str]]) -> None:
        if len(batch) > FEW_FILES and self._sync_file_system():
            return
        for folder, name in batch:
            folder.sync_file(name)
        for folder in {id(folder): folder for folder, _ in batch}.values():
            folder.sync()

    def _sync_file_system(self) -> bool:
        """Sync the whole file system of the run folder. False where that cannot be done."""
        if self._syncfs is None:
            import ctypes

            function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
            if function is None:
                return False
            self._syncfs = lambda fd: ctypes.get_errno() if function(fd) else 0
        error = self._syncfs(self._folder.fd)
        if error:
            raise OSError(error, os.strerror(error))
        return True
