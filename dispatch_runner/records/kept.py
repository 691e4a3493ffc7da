"""Results that go on counting when a request was changed."""

import os
import zlib
from typing import NamedTuple

import orjson

from dispatch_runner.errors import RecordError
from dispatch_runner.models import JsonObject
from dispatch_runner.records.folder import Folder, reason
from dispatch_runner.records.names import OUTPUT_SUFFIX
from dispatch_runner.records.recorded import recorded_trace
from dispatch_runner.records.replay import RecordedTask

MEMBERS = (
    "status", "trace", "bytes", "trace_crc", "output_redacted", "output_bytes", "output_crc",
)  # fmt: skip


class Kept(NamedTuple):
    """What the journal says of a result."""

    attempt: int
    fields: JsonObject

    @classmethod
    def of(cls, task: RecordedTask) -> "Kept":
        """The same as its `finished` record, which it has."""
        record = task.finished or {}
        return cls(record["attempt"], {name: record[name] for name in MEMBERS if name in record})


def keep_under(run: Folder, task: RecordedTask, task_id: str, name: str) -> Kept:
    """The result under another id: a trace of its own, and its whole output, in files of that name.

    Raises:
        RecordError: they could not be written.
    """
    kept = Kept.of(task)
    trace = recorded_trace(run, task)
    if trace is None:
        raise RecordError("read", run.path_of(kept.fields["trace"]), "it was damaged just now")
    text = orjson.dumps({**trace, "task_id": task_id})
    if "output_bytes" in kept.fields:
        _copy_output(run, os.path.basename(kept.fields["trace"]), name)
    run.write(f"{name}.json", text)
    changed = {"trace": f"{name}.json", "bytes": len(text), "trace_crc": f"{zlib.crc32(text):08x}"}
    return Kept(kept.attempt, kept.fields | changed)


def _copy_output(run: Folder, trace: str, name: str) -> None:
    source = f"{trace.removesuffix('.json')}{OUTPUT_SUFFIX}.json"
    try:
        content = run.read(source)
    except OSError as error:
        raise RecordError("read", run.path_of(source), reason(error)) from error
    run.write(f"{name}{OUTPUT_SUFFIX}.json", content)
