"""`cache`: what it holds, and taking things out of it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dispatch_runner.cache.folder import CacheUnusableError
from dispatch_runner.cache.store import Removed, Store
from dispatch_runner.cli import amounts
from dispatch_runner.cli.answers import answer_settings, answer_usage, print_document
from dispatch_runner.cli.channel import Channel
from dispatch_runner.cli.run import working_directory
from dispatch_runner.clock import utc_text
from dispatch_runner.errors import SettingsError
from dispatch_runner.settings import Flags, load

_MIB = 1 << 20


def show_cache(config: Path | None, channel: Channel) -> int:
    """Prints where it is, and how much of what there is."""

    def info(store: Store, max_bytes: int) -> dict[str, Any]:
        found = store.info()
        first = found.used_first
        return {
            "folder": str(store.folder),
            "entries": found.entries,
            "files": found.files,
            "bytes": found.bytes,
            "max_bytes": max_bytes,
            "used_first": None if first is None else utc_text(first),
        }

    return _with_store(config, channel, info)


def prune(
    config: Path | None, older_than: str | None, max_size: str | None, channel: Channel
) -> int:
    """Removes what the flags say, and prints how much that was."""
    if older_than is None and max_size is None:
        hint = "give --older-than or --max-size"
        return answer_usage(channel, "nothing says what to remove", hint)
    try:
        seconds = None if older_than is None else amounts.age(older_than)
        most = None if max_size is None else amounts.size(max_size)
    except ValueError as error:
        return answer_usage(channel, str(error), None)
    return _with_store(config, channel, lambda store, _: _told(store.prune(most, seconds)))


def clear(config: Path | None, channel: Channel) -> int:
    """Removes everything, and prints how much that was."""
    return _with_store(config, channel, lambda store, _: _told(store.prune(max_bytes=0)))


def _told(removed: Removed) -> dict[str, Any]:
    return {"removed_files": removed.files, "removed_bytes": removed.bytes}


def _with_store(
    config: Path | None, channel: Channel, act: Callable[[Store, int], dict[str, Any]]
) -> int:
    try:
        settings = load(Flags(config=config), os.environ, working_directory())
        if settings.cache_folder is None:
            hint = "set HOME, XDG_CACHE_HOME or DISPATCH_RUNNER_CACHE_DIR"
            return answer_usage(channel, "there is no place for a cache", hint)
        max_bytes = settings.cache_max_mb * _MIB
        store = Store(Path(settings.cache_folder), max_bytes)
    except SettingsError as error:
        return answer_settings(channel, error)
    except CacheUnusableError as error:
        return answer_usage(channel, str(error), None)
    try:
        print_document(channel, act(store, max_bytes))
    except OSError as error:
        message = f"cannot use the cache in '{store.folder}': {error.strerror}"
        return answer_usage(channel, message, None)
    finally:
        store.close()
    return 0
