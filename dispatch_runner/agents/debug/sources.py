"""The affected files as text, whatever they really are."""

from __future__ import annotations

import io
import os
import stat
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal[
    "analysed", "missing", "not_a_file", "too_large", "binary", "unreadable", "not_assessed"
]

LARGEST = 2_000_000
"""Bytes; a longer file is generated or data."""

LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "typescript",
    ".java": "java",
    ".kt": "kotlin",
    ".kts": "kotlin",
    ".go": "go",
    ".rs": "rust",
    ".cs": "csharp",
    ".php": "php",
    ".rb": "ruby",
    ".dart": "dart",
}


@dataclass(frozen=True, slots=True)
class Source:
    """One affected file. `lines` is empty unless `status` is `analysed`."""

    path: str
    status: Status
    language: str
    lines: tuple[str, ...] = ()
    note: str | None = None

    def line(self, number: int) -> str:
        """A line by its number from 1; empty when there is none."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def read_source(path: str) -> Source:
    """The file as text, or why it cannot be analysed. Blocking: call it in a thread."""
    try:
        data = _read(path)
    except FileNotFoundError:
        return _failed(path, "missing", "the file does not exist")
    except (OSError, ValueError) as error:
        return _failed(path, "unreadable", f"the file cannot be read: {_reason(error)}")
    if isinstance(data, Source):
        return data
    if b"\0" in data[:8192]:
        return _failed(path, "binary", "the file is not text")
    text, note = _decoded(data, python=_language(path) == "python")
    return Source(path, "analysed", _language(path), _split(text), note)


def _read(path: str) -> bytes | Source:
    """The bytes. Opened without waiting, so that a named pipe cannot hold us up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a special file"
            return _failed(path, "not_a_file", f"it is {kind}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        size = max(status.st_size, len(data))
        return _failed(path, "too_large", f"{size:,} bytes are more than the limit of {LARGEST:,}")
    return data


def _decoded(data: bytes, *, python: bool) -> tuple[str, str | None]:
    encoding = "utf-8-sig"
    if python:
        try:
            encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except SyntaxError as error:
            note = f"its encoding is not valid for Python: {error.msg}"
            return data.decode("utf-8", errors="replace"), note
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError as error:
        note = f"not valid {encoding} at byte {error.start}; such bytes were replaced"
        return data.decode(encoding, errors="replace"), note


def _split(text: str) -> tuple[str, ...]:
    """Lines as Python and every traceback count them: not at form feeds or Unicode separators."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)


def _language(path: str) -> str:
    return LANGUAGES.get(Path(path).suffix.lower(), "")


def unread_source(path: str, why: str) -> Source:
    """A file that is not looked at."""
    return _failed(path, "not_assessed", why)


def _failed(path: str, status: Status, note: str) -> Source:
    return Source(path, status, _language(path), note=note)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
