"""What is done behind the tasks: secrets leave what programs printed, and records become durable.

Group commit: one thread syncs whatever has been queued while its last sync ran: the files first,
then the names in their folders, then the journal. So nobody pays one sync per task. When `wait`
has returned, everything that was requested outlives a power failure.
"""

import os
import threading
from collections.abc import Callable, Sequence

from dispatch_runner.errors import RecordError
from dispatch_runner.records.folder import Folder, reason
from dispatch_runner.records.journal import Journal
from dispatch_runner.records.printed import redact_file
from dispatch_runner.records.redaction import Redactor

FEW_FILES = 64
"""Up to here files are synced one by one. Beyond, one `syncfs` costs less (1,000 traces: 12 ms
instead of 140), although it also writes what other programs have left unwritten on that disk."""


class Background:
    """Works in a thread, which starts when it is first given something."""

    def __init__(
        self, run_folder: Folder, journal: Journal, redactor: Redactor, *, durable: bool
    ) -> None:
        self.durable = durable
        """Whether files and journal are synced."""
        self._folder = run_folder
        self._journal = journal
        self._redactor = redactor
        self._changed = threading.Condition()
        self._queue: list[tuple[Folder, str]] = []
        self._printed: list[str] = []
        self._pending = False
        self._busy = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._syncfs: Callable[[int], int] | None = None
        self.failure: RecordError | None = None
        """The first failure. A sync is never tried again: the kernel may have dropped what it could
        not write, so a second sync that succeeds proves nothing."""

    def request(self, *files: tuple[Folder, str], printed: Sequence[str] = ()) -> None:
        """Have these files, and all that the journal holds now, synced. Returns at once.

        Args:
            files: as they are.
            printed: files in the run folder that programs wrote: without their secrets.
        """
        with self._changed:
            self._queue.extend(files)
            self._printed.extend(printed)
            self._pending = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="records", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def idle(self) -> bool:
        """Whether nothing is left to do."""
        with self._changed:
            return not self._pending and not self._busy

    def wait(self) -> None:
        """Block until everything requested so far is done.

        Raises:
            RecordError: something could not be done.
        """
        with self._changed:
            while self.failure is None and (self._pending or self._busy):
                self._changed.wait()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """End the thread, after what it is doing; what is queued is left."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (work := self._take()) is not None:
            try:
                self._do(*work)
            except RecordError as error:
                self._settle(error)
                return
            except OSError as error:
                self._settle(RecordError("secure records in", self._folder.path, reason(error)))
                return
            self._settle(None)

    def _take(self) -> tuple[list[tuple[Folder, str]], list[str]] | None:
        with self._changed:
            while not self._pending and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            work = self._queue, self._printed
            self._queue, self._printed = [], []
            self._pending = False
            self._busy = True
            return work

    def _do(self, files: list[tuple[Folder, str]], printed: list[str]) -> None:
        for name in printed:
            redact_file(self._folder, name, self._redactor)
        if self.durable:
            self._sync_files(files + [(self._folder, name) for name in printed])
            self._journal.sync()

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
            import ctypes  # only large dispatches come here

            function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
            if function is None:
                return False
            self._syncfs = lambda fd: ctypes.get_errno() if function(fd) else 0
        error = self._syncfs(self._folder.fd)
        if error:
            raise OSError(error, os.strerror(error))
        return True
