"""Tasks that came after the request, one a line, in a file of their own; the journal says where each is."""

import os
import zlib
from collections.abc import Iterable

import orjson

from dispatch_runner.errors import RecordError
from dispatch_runner.models import JsonObject
from dispatch_runner.records.folder import Folder, reason, write_all
from dispatch_runner.records.redaction import Redactor

ADDED_NAME = "added.ndjson"


class AddedTasks:
    """Writes them."""

    def __init__(self, folder: Folder, redactor: Redactor) -> None:
        self._folder = folder
        self._redactor = redactor
        self._places: dict[str, JsonObject] = {}
        self._offset = folder.size(ADDED_NAME)

    def append(self, task: JsonObject) -> None:
        """One more. Raises `RecordError`."""
        kept, text = self._redactor.redact_encoded(task)
        line = text + b"\n"
        try:
            if self._offset:
                flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = os.open(ADDED_NAME, flags, dir_fd=self._folder.fd)
            else:
                fd = self._folder.create(ADDED_NAME, os.O_APPEND)
            try:
                write_all(fd, line)
            finally:
                os.close(fd)
        except OSError as error:
            path = self._folder.path_of(ADDED_NAME)
            raise RecordError("append to", path, reason(error)) from error
        self._places[task["task_id"]] = {
            "offset": self._offset,
            "bytes": len(text),
            "task_crc": f"{zlib.crc32(text):08x}",
            "redacted": kept is not task,
        }
        self._offset += len(line)

    def place(self, task_id: str) -> JsonObject:
        """Where a task is, for its record; empty when it was never given."""
        return self._places.pop(task_id, {})


def added_tasks(folder: Folder, records: Iterable[JsonObject]) -> list[JsonObject]:
    """The tasks of `added` records, in their order.

    Raises:
        RecordError: one is not there as it was recorded, or lacks secrets.
    """
    path = folder.path_of(ADDED_NAME)
    try:
        text = folder.read(ADDED_NAME)
    except OSError as error:
        raise RecordError("read", path, reason(error)) from error
    found = []
    for record in records:
        start, size = record.get("offset", 0), record.get("bytes", -1)
        line = text[start : start + size]
        if size < 0 or f"{zlib.crc32(line):08x}" != record["task_crc"]:
            raise RecordError("read", path, f"task {record['task']!r} is damaged or missing there")
        if record["redacted"]:
            cause = f"task {record['task']!r} held secrets, which are not kept"
            raise RecordError("resume", path, cause)
        found.append(orjson.loads(line))
    return found
