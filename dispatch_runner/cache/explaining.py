"""Says why a task's result was not found: what is other than when it was kept."""

from collections.abc import Sequence

from dispatch_runner.cache.entries import Known
from dispatch_runner.cache.keys import Parts

MOST_NAMED = 8


def why_missed(parts: Parts, key: str, known: Sequence[Known]) -> str:
    """Compares with the earlier result of the same task that is nearest."""
    if not known:
        return "no result of this task is in the cache"
    nearest = min(known, key=lambda each: len(_differences(parts, each.parts)))
    when = f"dispatch {nearest.dispatch} of {nearest.stored_at}"
    if nearest.key == key:
        return f"the result of {when} is not in the cache any more"
    named = _differences(parts, nearest.parts)
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"differs from {when} in {', '.join(named[:MOST_NAMED])}{more}"


def _differences(now: Parts, then: Parts) -> list[str]:
    """Names of the parts that differ, those first that are in both."""
    changed = [name for name in now if name in then and now[name] != then[name]]
    new = [f"{name} (new)" for name in now if name not in then]
    return [*changed, *new, *(f"{name} (gone)" for name in then if name not in now)]
