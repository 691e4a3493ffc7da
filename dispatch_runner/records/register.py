"""The dispatches of this user on this machine, whatever their trace folders: a link for each.

`$XDG_STATE_HOME/dispatch-runner/dispatches/NAME` is a symbolic link whose text is the path of the run
folder. It is only ever read, never followed, and one system call makes it, whole or not at all: `run`
pays less than 50 microseconds. It is a convenience: that it could not be written is no error.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from dispatch_runner.records.folder import OPEN_FOLDER, Folder
from dispatch_runner.records.run_folder import RUN_NAME
from dispatch_runner.settings.trust import base_folder

KEPT = 1_000
"""Links to so many of the newest dispatches are kept."""

TIDY_SUFFIX = "00"
"""One dispatch in 256, by the chance in its name, removes what is too old or gone."""


class Place(NamedTuple):
    """Where a dispatch keeps its records."""

    trace_dir: Path
    name: str

    @property
    def run_folder(self) -> Path:
        return self.trace_dir / self.name

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """The run folder, never through a link. Raises `OSError`."""
        with (
            Folder(str(self.trace_dir), os.open(self.trace_dir, OPEN_FOLDER)) as parent,
            parent.open_folder(self.name) as run,
        ):
            yield run


def register(run_folder: Path, environ: Mapping[str, str]) -> None:
    """Makes a dispatch known to the other processes of this user. Never raises."""
    folder = _folder(environ)
    if folder is None:
        return
    link = f"{folder}/{run_folder.name}"
    with suppress(OSError):
        try:
            os.symlink(run_folder, link)
        except FileNotFoundError:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            os.symlink(run_folder, link)
    if link.endswith(TIDY_SUFFIX):
        tidy(environ)


def is_registered(run_folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether other processes of this user can find the dispatch by its name."""
    folder = _folder(environ)
    return folder is not None and _place(folder, run_folder.name) == Place(
        run_folder.parent, run_folder.name
    )


def registered(environ: Mapping[str, str]) -> list[Place]:
    """Dispatches that were made known and are still there, newest first."""
    folder = _folder(environ)
    places = (_place(folder, name) for name in _names(folder)) if folder else ()
    return [place for place in places if place is not None and _is_there(place)]


def tidy(environ: Mapping[str, str], kept: int = KEPT) -> None:
    """Removes links to records that are gone, and all but the newest so many. Never raises."""
    folder = _folder(environ)
    if folder is None:
        return
    for number, name in enumerate(_names(folder)):
        place = _place(folder, name)
        if number >= kept or place is None or not _is_there(place):
            with suppress(OSError):
                os.unlink(f"{folder}/{name}")


def _folder(environ: Mapping[str, str]) -> str | None:
    base = base_folder(environ, "XDG_STATE_HOME", ".local/state")
    return f"{base}/dispatches" if base else None


def _names(folder: str) -> list[str]:
    """Names of dispatches, newest first. A folder that another user could write counts for nothing."""
    try:
        found = os.stat(folder)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            return []
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(filter(RUN_NAME.fullmatch, names), reverse=True)


def _place(folder: str, name: str) -> Place | None:
    try:
        target = Path(os.readlink(f"{folder}/{name}"))
    except OSError:
        return None
    return Place(target.parent, name) if target.is_absolute() and target.name == name else None


def _is_there(place: Place) -> bool:
    return os.path.lexists(f"{place.run_folder}.json")
