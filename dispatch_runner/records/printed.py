"""What programs printed: removes the secrets of a file that a program wrote by itself."""

import os
from collections.abc import Iterator
from typing import IO

from dispatch_runner.records.folder import READ, Folder
from dispatch_runner.records.redaction import Redactor

CHUNK = 256 * 1024
LONGEST_LINE = 1024 * 1024
"""A longer line is searched in parts, and a secret across two of them may be missed."""

SUFFIX = ".new"


def redact_file(folder: Folder, name: str, redactor: Redactor) -> None:
    """Replace a file by a copy without secrets, if it has any. Memory does not grow with its size.

    Raises:
        OSError: it cannot be read or replaced.
    """
    with open(os.open(name, READ, dir_fd=folder.fd), "rb") as source:
        done = 0
        for chunk in _chunks(source):
            text = chunk.decode("utf-8", "surrogateescape")
            redacted = redactor.redact_text(text)
            if redacted is not text:
                _rewrite(folder, name, source, done, redactor)
                return
            done += len(chunk)


def _rewrite(folder: Folder, name: str, source: IO[bytes], clean: int, redactor: Redactor) -> None:
    """Copy the first bytes, which are known to be clean, and the rest without its secrets."""
    temporary = f"{name}{SUFFIX}"
    try:
        with open(folder.create(temporary), "wb") as target:
            source.seek(0)
            while clean and (data := source.read(min(clean, CHUNK))):
                target.write(data)
                clean -= len(data)
            for chunk in _chunks(source):
                text = redactor.redact_text(chunk.decode("utf-8", "surrogateescape"))
                target.write(text.encode("utf-8", "surrogateescape"))
        os.rename(temporary, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
    except BaseException:
        folder.remove(temporary)
        raise


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, and whole private keys, about `CHUNK` bytes at a time."""
    while chunk := source.read(CHUNK):
        chunk += source.readline(LONGEST_LINE)
        begins, ends = chunk.rfind(b"-----BEGIN"), chunk.rfind(b"-----END")
        if begins > ends:
            chunk += source.read(CHUNK) + source.readline(LONGEST_LINE)
        yield chunk
