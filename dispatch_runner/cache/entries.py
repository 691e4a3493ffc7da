"""What is kept of one result, and how it is written: a digest of the text, then the text."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from dispatch_runner.cache.produced import Produced
from dispatch_runner.models import JsonObject, Usage

DIGEST_LENGTH = 64


class Known(NamedTuple):
    """An earlier result of a task, by what it depended on."""

    key: str
    parts: dict[str, str]
    dispatch: str
    """Correlation id."""
    stored_at: str
    """UTC, RFC 3339 with `Z`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One result with everything that is needed to give it again."""

    key: str
    parts: dict[str, str]
    backend: str | None
    output: JsonObject
    warnings: list[str]
    files: list[Produced]
    usage: Usage | None
    """What it took then."""
    dispatch: str
    """Correlation id of the dispatch that made it."""
    stored_at: str
    """UTC, RFC 3339 with `Z`."""

    def known(self) -> Known:
        """What a later miss is explained by."""
        return Known(self.key, self.parts, self.dispatch, self.stored_at)


def write_entry(entry: Entry) -> bytes:
    """As bytes. Raises `ValueError` or `TypeError` for what is no JSON."""
    return _sealed({**asdict(entry), "files": [list(file) for file in entry.files]})


def read_entry(content: bytes, key: str) -> Entry | None:
    """The entry of that key, or null for one that is damaged or another's."""
    try:
        data = _unsealed(content)
        usage = data["usage"]
        entry = Entry(
            **{
                **data,
                "files": [Produced(*file) for file in data["files"]],
                "usage": None if usage is None else Usage(**usage),
            }
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entry if entry.key == key else None


def write_known(found: list[Known]) -> bytes:
    """As bytes."""
    return _sealed([list(each) for each in found])


def read_known(content: bytes) -> list[Known]:
    """What was written; empty when it is damaged."""
    try:
        return [Known(*each) for each in _unsealed(content)]
    except (ValueError, TypeError):
        return []


def _sealed(data: Any) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def _unsealed(content: bytes) -> Any:
    seal, text = content[:DIGEST_LENGTH], content[DIGEST_LENGTH + 1 :]
    if hashlib.sha256(text).hexdigest().encode() != seal:
        raise ValueError("damaged")
    return json.loads(text)
