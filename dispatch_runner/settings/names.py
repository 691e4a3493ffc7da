"""Names that an operator may write, and what is said of one that there is not."""

from collections.abc import Iterable

BACKENDS = ("offline", "command")
"""The backends of this version."""


def backend_problem(name: str) -> tuple[str, str] | None:
    """Message and hint for a backend that there is not, or null."""
    if name in BACKENDS:
        return None
    return f"backend '{name}' is not available in this version", suggestion(name, BACKENDS)


def suggestion(name: str, known: Iterable[str], label: str = "available", most: int = 20) -> str:
    """`did you mean 'x'?` when one is close, else what there is."""
    from difflib import get_close_matches

    names = list(known)
    if close := get_close_matches(name, names, n=1):
        return f"did you mean '{close[0]}'?"
    return f"{label}: {', '.join(names[:most])}" + (", ..." if len(names) > most else "")
