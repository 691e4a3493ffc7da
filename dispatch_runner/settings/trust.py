"""Which project files the operator has said yes to.

A `dispatch.toml` that lies in a working directory starts programs, so a stranger's checkout must not
bring one into force. The yes is for one place and one content: a changed file asks again.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from dispatch_runner.errors import RecordError, SettingsError
from dispatch_runner.settings.file import parse, read


class TrustState(StrEnum):
    """What the operator has said of a file."""

    TRUSTED = "trusted"
    CHANGED = "changed"
    """Trusted once, with another content."""
    UNKNOWN = "unknown"


def trust(path: Path, environ: Mapping[str, str]) -> str:
    """Records a settings file as trusted with what it holds now, and returns its SHA-256.

    Raises `SettingsError` when the file cannot be read or is wrong, or there is no home to record it
    in, and `RecordError` when it cannot be written.
    """
    content = read(path, str(path))
    parse(content, str(path))
    record = _record_file(environ)
    if record is None:
        raise SettingsError(
            "no place to record that a file is trusted",
            source="environment HOME",
            hint="set HOME or XDG_STATE_HOME, or name the file with --config",
        )
    digest = _digest(content)
    try:
        _write(record, _recorded(record) | {_place(path): digest})
    except OSError as error:
        raise RecordError("write", record, error.strerror or str(error)) from error
    return digest


def trust_state(path: Path, environ: Mapping[str, str]) -> TrustState:
    """What the operator has said of a file as it is now."""
    return trusted_content(path, str(path), environ)[0]


def trusted_content(
    path: Path, source: str, environ: Mapping[str, str]
) -> tuple[TrustState, bytes | None]:
    """The state, and the content if it is trusted: what was judged is what is used.

    A file that was never trusted is not even opened.
    """
    record = _record_file(environ)
    digest = _recorded(record).get(_place(path)) if record else None
    if digest is None:
        return TrustState.UNKNOWN, None
    content = read(path, source)
    if _digest(content) != digest:
        return TrustState.CHANGED, None
    return TrustState.TRUSTED, content


def base_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """A base folder of the XDG specification, which says to ignore relative ones; null without HOME."""
    for folder in (environ.get(variable, ""), os.path.join(environ.get("HOME", ""), below_home)):  # noqa: PTH118
        if folder.startswith("/"):
            return Path(folder) / "dispatch-runner"
    return None


def _record_file(environ: Mapping[str, str]) -> Path | None:
    folder = base_folder(environ, "XDG_STATE_HOME", ".local/state")
    return folder / "trusted.json" if folder else None


def _place(path: Path) -> str:
    """Where a file lies. A link's own place, not its target's: its commands are relative to here."""
    return str(path.parent.resolve() / path.name)


def _digest(content: bytes) -> str:
    from hashlib import sha256

    return sha256(content).hexdigest()


def _recorded(record: Path) -> dict[str, str]:
    """Digests by place. What someone else may have written counts for nothing."""
    import json

    try:
        found = record.lstat()
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
        if not ours or found.st_mode & 0o022:
            return {}
        data = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    entries = data.get("trusted") if isinstance(data, dict) else None
    return entries if isinstance(entries, dict) else {}


def _write(record: Path, entries: Mapping[str, str]) -> None:
    """Replaces the record: the whole new one or the old one, readable by us alone."""
    import json

    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = record.with_name(f".{record.name}.{os.getpid()}")
    text = json.dumps({"version": 1, "trusted": dict(sorted(entries.items()))}, indent=2) + "\n"
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(record)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
